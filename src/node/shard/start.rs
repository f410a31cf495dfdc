//! Launch parameters of a shard.

use std::collections::HashMap;
use std::sync::Arc;

use super::assignment::Assignment;
use super::config::ShardConfig;
use super::listener::Listener;
use super::shared::Shared;

/// Launch parameters of a shard.
pub struct Start {
    /// Shard number, from 0.
    pub id: u16,
    /// Configuration.
    pub config: ShardConfig,
    /// State shared with the other shards.
    pub shared: Arc<Shared>,
    /// Volumes to open.
    pub assignments: Vec<Assignment>,
    /// Owning shard of each volume of the daemon.
    pub owners: HashMap<u32, u16>,
    /// Listening sockets.
    pub listeners: Vec<Listener>,
}
