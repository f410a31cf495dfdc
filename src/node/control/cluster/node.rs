//! What the node says about itself in its cluster.

use crate::base::host_port::HostPort;

/// What the node says about itself in its cluster. Constant while the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNode {
    /// Addresses of the masters, at least one.
    pub masters: Vec<HostPort>,
    /// IP address under which other machines of the cluster reach the node.
    pub ip: String,
    /// Port of the data API at that address.
    pub port: u16,
    /// Port on which the orders of the cluster arrive.
    pub grpc_port: u16,
    /// `HOST:PORT` of the data API for clients outside the cluster.
    pub public_url: String,
    /// Name of the data center; empty for the default one.
    pub data_center: String,
    /// Name of the rack; empty for the default one.
    pub rack: String,
    /// Largest number of volumes of the cluster; `None`: as many as there is free space for.
    pub volumes_max: Option<u32>,
    /// A name for each data directory in use that no other one has. The master refuses a node that has one of
    /// another node.
    pub directories: Vec<String>,
}

impl ClusterNode {
    /// Name of the node in the cluster: `IP:PORT`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.ip, self.port)
    }
}
