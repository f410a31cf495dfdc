//! Flags of `hayloft serve` for a SeaweedFS cluster.

use std::net::{IpAddr, SocketAddr};

use clap::Args;

use crate::base::host_port::HostPort;
use crate::node::config::{ConfigDraft, OrWord, parse_tcp_address};

/// Flags for a SeaweedFS cluster whose volume server the daemon is.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterArgs {
    /// Master of a SeaweedFS cluster whose volume server this is, HOST:PORT; repeatable, one for each master
    /// [default: none]
    #[arg(long, value_name = "ADDR")]
    pub master: Vec<HostPort>,

    /// IP address under which the cluster reaches this machine [default: that of the first TCP --listen]
    #[arg(long, value_name = "IP")]
    pub cluster_ip: Option<IpAddr>,

    /// Address on which orders of the cluster arrive, without a password [default: --cluster-ip, and the port
    /// of the data API + 10000]
    #[arg(long, value_name = "ADDR", value_parser = parse_tcp_address)]
    pub cluster_grpc: Option<SocketAddr>,

    /// Data center of this machine, for the cluster [default: its default one]
    #[arg(long, value_name = "NAME")]
    pub data_center: Option<String>,

    /// Rack of this machine, for the cluster [default: its default one]
    #[arg(long, value_name = "NAME")]
    pub rack: Option<String>,
}

impl ClusterArgs {
    /// Sets what the flags name.
    pub(super) fn apply(self, draft: &mut ConfigDraft) {
        if !self.master.is_empty() {
            draft.config.cluster.master = self.master;
            draft.overridden("cluster.master", "--master");
        }
        if let Some(ip) = self.cluster_ip {
            draft.config.cluster.ip = OrWord::of(ip);
            draft.overridden("cluster.ip", "--cluster-ip");
        }
        if let Some(grpc) = self.cluster_grpc {
            draft.config.cluster.grpc = OrWord::of(grpc);
            draft.overridden("cluster.grpc", "--cluster-grpc");
        }
        if let Some(data_center) = self.data_center {
            draft.config.cluster.data_center = data_center;
            draft.overridden("cluster.data_center", "--data-center");
        }
        if let Some(rack) = self.rack {
            draft.config.cluster.rack = rack;
            draft.overridden("cluster.rack", "--rack");
        }
    }
}
