//! The numbers of the whole node: its constants, its shards and its volumes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use super::cluster::ClusterMetrics;
use super::shard::ShardMetrics;
use super::volume::VolumeMetrics;
use crate::base::types::VolumeId;
use crate::node::board::{Board, VolumeInfo, VolumeState};

/// Constant properties of the daemon.
#[derive(Debug, Default)]
pub struct NodeInfo {
    /// Random id of this start of the daemon. The data API and the admin API return it, so that a client of
    /// both can check that they belong to the same daemon.
    pub instance: u64,
    /// Version of the daemon, as exported.
    pub version: String,
    /// CLOCK_MONOTONIC at the start of the daemon, in nanoseconds.
    pub started_ns: u64,
    /// Wall clock at the start of the daemon, in seconds since 1970.
    pub started_unix_seconds: u64,
    /// False with `--buffered`: acknowledged writes may not survive a power cut.
    pub durable: bool,
    /// Addresses of the data API: `IP:PORT` or `unix:/path`.
    pub listen: Vec<String>,
    /// Largest body of a photo (bytes).
    pub largest_body: u64,
    /// Largest body of a batch put (bytes).
    pub largest_batch: u64,
    /// Number of lost log lines, written by the log.
    pub log_lines_dropped: Arc<AtomicU64>,
}

/// All numbers of a daemon, shared as an `Arc` by its shards, its main thread and the admin thread.
#[derive(Debug)]
pub struct Metrics {
    /// Constant properties of the daemon.
    pub node: NodeInfo,
    /// What the program decides on; exported with the numbers here.
    pub board: Arc<Board>,
    /// One entry per shard; shard `k` writes entry `k` and no other.
    pub shards: Vec<ShardMetrics>,
    /// The numbers of the node in its cluster.
    pub cluster: ClusterMetrics,
    /// Open volumes by id. **Never locked on the data path**: only when a volume is registered or
    /// removed, and by the admin thread to copy the list. A shard keeps the `Arc` it registered and
    /// writes through that.
    volumes: RwLock<BTreeMap<VolumeId, Arc<VolumeMetrics>>>,
    registered_buffers: AtomicBool,
}

impl Metrics {
    /// Creates the numbers of a daemon with this board, all at zero.
    #[must_use]
    pub fn new(node: NodeInfo, board: Arc<Board>) -> Arc<Self> {
        Arc::new(Self {
            node,
            shards: board.shards.iter().map(|shard| ShardMetrics::new(shard.info)).collect(),
            board,
            cluster: ClusterMetrics::default(),
            volumes: RwLock::new(BTreeMap::new()),
            registered_buffers: AtomicBool::new(false),
        })
    }

    /// Adds a volume, here and on the board, and returns its numbers, for its shard to write. Replaces a
    /// volume with the same id (a new generation of the file).
    ///
    /// Every volume found on disk must be registered as recovering *before* the first one recovers and before
    /// the admin listener starts: `/readyz` cannot wait for a volume that is not registered.
    pub fn register_volume(&self, info: VolumeInfo, state: VolumeState) -> Arc<VolumeMetrics> {
        let volume = Arc::new(VolumeMetrics::new(self.board.register_volume(info, state)));
        self.volumes
            .write()
            // A panic under this lock cannot leave an incomplete entry, and the numbers must stay readable
            // after a panic.
            .unwrap_or_else(PoisonError::into_inner)
            .insert(info.id, Arc::clone(&volume));
        volume
    }

    /// Removes a volume, here and from the board; returns it if it was registered.
    pub fn remove_volume(&self, id: VolumeId) -> Option<Arc<VolumeMetrics>> {
        self.board.remove_volume(id);
        self.volumes.write().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }

    /// Returns the volume with this id.
    #[must_use]
    pub fn volume(&self, id: VolumeId) -> Option<Arc<VolumeMetrics>> {
        self.volumes.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Returns all volumes by ascending id: a copy of the list, so that the lock is held only briefly.
    #[must_use]
    pub fn volumes(&self) -> Vec<Arc<VolumeMetrics>> {
        self.volumes.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Number of log lines lost so far.
    #[must_use]
    pub fn log_lines_dropped(&self) -> u64 {
        self.node.log_lines_dropped.load(Relaxed)
    }

    /// True if the buffers are registered with the kernel.
    #[must_use]
    pub fn registered_buffers(&self) -> bool {
        self.registered_buffers.load(Relaxed)
    }

    /// Records whether the buffers are registered with the kernel.
    pub fn set_registered_buffers(&self, registered: bool) {
        self.registered_buffers.store(registered, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::ShardId;

    fn node() -> NodeInfo {
        NodeInfo { version: "0".into(), durable: true, ..NodeInfo::default() }
    }

    fn volume(id: u32) -> VolumeInfo {
        VolumeInfo { id: VolumeId(id), shard: ShardId::from_index(0), disk: 0, durable: true }
    }

    #[test]
    fn volumes_are_registered_by_id_and_removed() {
        let m = Metrics::new(node(), Board::new(&[], vec![]));
        m.register_volume(volume(7), VolumeState::Writable);
        let three = m.register_volume(volume(3), VolumeState::Writable);
        three.needles.set(5);
        let ids = |m: &Metrics| m.volumes().iter().map(|v| v.board.info.id.0).collect::<Vec<_>>();
        assert_eq!(ids(&m), [3, 7], "by rising id");
        assert_eq!(m.volume(VolumeId(3)).map(|v| v.needles.value()), Some(5), "the same numbers");
        assert!(m.remove_volume(VolumeId(3)).is_some());
        assert!(m.remove_volume(VolumeId(3)).is_none());
        assert_eq!(ids(&m), [7]);
    }

    #[test]
    fn panic_under_the_lock_does_not_hide_the_metrics() {
        let m = Metrics::new(node(), Board::new(&[], vec![]));
        m.register_volume(volume(1), VolumeState::Writable);
        let other = Arc::clone(&m);
        let panicked = std::thread::spawn(move || {
            let _guard = other.volumes.write();
            panic!("on purpose");
        })
        .join();
        assert!(panicked.is_err() && m.volumes.is_poisoned());
        assert_eq!(m.volumes().len(), 1);
        m.register_volume(volume(2), VolumeState::Writable);
        assert!(m.volume(VolumeId(2)).is_some());
    }
}
