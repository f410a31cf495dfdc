//! Launch parameters of a shard.

use crate::base::types::{ShardId, VolumeId};
use std::collections::HashMap;
use std::sync::Arc;

use super::assignment::Assignment;
use super::config::ShardConfig;
use super::listener::Listener;
use super::shared::Shared;

/// Launch parameters of a shard.
pub struct Start {
    /// The shard's number.
    pub id: ShardId,
    /// Configuration.
    pub config: ShardConfig,
    /// State shared with the other shards.
    pub shared: Arc<Shared>,
    /// Volumes to open.
    pub assignments: Vec<Assignment>,
    /// Owning shard of each volume of the daemon.
    pub owners: HashMap<VolumeId, ShardId>,
    /// Listening sockets.
    pub listeners: Vec<Listener>,
}

#[cfg(test)]
impl Start {
    /// Of shard `id` of `count` shards, without volumes and listeners.
    pub(super) fn empty(id: ShardId, count: usize) -> Self {
        use super::config::ReadPlans;
        use crate::http::conn::Deadlines;
        use crate::node::board::{Board, ShardInfo};
        use crate::node::metrics::{Metrics, NodeInfo};
        use crate::runtime::background::PaceLimits;

        let infos: Vec<ShardInfo> =
            ShardId::all(count).map(|id| ShardInfo { id, core: 0, port: None }).collect();
        let metrics = Metrics::new(NodeInfo::default(), Board::new(&infos, Vec::new()));
        let second = 1_000_000_000;
        let deadlines = Deadlines {
            head: 5 * second,
            idle: 75 * second,
            body: 5 * second,
            send: 10 * second,
            rate: 16 << 10,
            linger: second,
        };
        let config = ShardConfig {
            deadlines,
            dialects: crate::http::head::Dialects::Own,
            keys: super::config::FidKeys::default(),
            cache_control: String::new(),
            body_max: 8 << 20,
            batch_max: 4 << 20,
            connections_max: 100,
            refusals_max: 10,
            drain_ns: 30 * second,
            disk_missing: false,
            audit_log: false,
            background: PaceLimits::default(),
            reads: ReadPlans::default(),
        };
        Self {
            id,
            config,
            shared: Arc::new(Shared::new(metrics, count)),
            assignments: Vec::new(),
            owners: HashMap::new(),
            listeners: Vec::new(),
        }
    }
}
