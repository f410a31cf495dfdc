//! The node in its cluster as JSON, in `/status`. Points in time are in seconds since 1970.

use serde::Serialize;

use crate::node::control::cluster::{ClusterLink, ClusterNode, ClusterState};

/// The node in its cluster.
#[derive(Debug, Serialize)]
pub struct LinkStatus {
    /// Name of the node in the cluster: `IP:PORT` of its data API.
    pub node: String,
    /// Port on which the orders of the cluster arrive, by gRPC.
    pub grpc_port: u16,
    /// Data center; empty for the default one.
    pub data_center: String,
    /// Rack; empty for the default one.
    pub rack: String,
    /// Addresses of the masters in the configuration.
    pub masters: Vec<String>,
    /// Address of the leader that the node is registered with; null while it is with none.
    pub master: Option<String>,
    /// Since when it is registered with this one, or with none.
    pub since: u64,
    /// The last error of the connection to a master since the daemon started.
    pub last_error: Option<LinkErrorStatus>,
    /// Size at which the master takes a volume for full (bytes); null as long as none has said it.
    pub volume_size_limit: Option<u64>,
}

/// An error of the connection to a master.
#[derive(Debug, Serialize)]
pub struct LinkErrorStatus {
    /// What failed, as one sentence.
    pub error: String,
    /// When.
    pub at: u64,
}

impl LinkStatus {
    pub(super) fn of(node: &ClusterNode, state: &ClusterState) -> Self {
        let ClusterLink { master, since, last_error, volume_size_limit } = state.link();
        Self {
            node: node.name(),
            grpc_port: node.grpc_port,
            data_center: node.data_center.clone(),
            rack: node.rack.clone(),
            masters: node.masters.iter().map(ToString::to_string).collect(),
            master,
            since,
            last_error: last_error.map(|it| LinkErrorStatus { error: it.what, at: it.at }),
            volume_size_limit,
        }
    }
}
