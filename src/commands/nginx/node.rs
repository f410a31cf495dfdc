//! What the configuration needs of the daemon's `/status`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Deserialize;

use crate::base::size::ByteSize;
use crate::base::types::VolumeId;
use crate::node::config::Listen;

/// The fields of the daemon's `/status` that the configuration needs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Node {
    /// Version of the daemon.
    pub version: String,
    /// Addresses of its data API: `IP:PORT` or `unix:/path`.
    pub listen: Vec<String>,
    /// Limits of its data API.
    pub limits: NodeLimits,
    /// The shards.
    pub shards: Vec<NodeShard>,
    /// The volumes.
    pub volumes: Vec<NodeVolume>,
}

impl Node {
    /// Returns the address at which this host reaches its data API: the first that it listens on. If that
    /// means all addresses of its host, the one at which the admin API was reached, or 127.0.0.1.
    #[must_use]
    pub fn data_address(&self, admin: Option<IpAddr>) -> Option<Listen> {
        let listen: Listen = self.listen.first()?.parse().ok()?;
        Some(match listen {
            Listen::Tcp(tcp) if tcp.ip().is_unspecified() => {
                let ip = admin.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
                Listen::Tcp(SocketAddr::new(ip, tcp.port()))
            }
            listen => listen,
        })
    }

    /// Returns the size of the largest body that it takes, of a photo or a batch.
    #[must_use]
    pub fn largest_body(&self) -> ByteSize {
        ByteSize(self.limits.largest_body.max(self.limits.largest_batch))
    }

    /// Returns the shards that have a port of their own, each with its port.
    pub(super) fn own_ports(&self) -> impl Iterator<Item = (u32, u16)> {
        self.shards.iter().filter_map(|shard| Some((shard.id, shard.port?)))
    }
}

/// Limits of [`Node`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NodeLimits {
    /// Largest body of a photo (bytes).
    pub largest_body: u64,
    /// Largest batch (bytes).
    pub largest_batch: u64,
}

/// A shard of [`Node`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NodeShard {
    /// Number of the shard.
    pub id: u32,
    /// TCP port of the shard, if it has one of its own.
    pub port: Option<u16>,
}

/// A volume of [`Node`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NodeVolume {
    /// The id in the URL.
    pub id: VolumeId,
    /// The shard that owns it; `None` while it is being created.
    pub shard: Option<u32>,
}
