//! Counters of the daemon, and their export.
//!
//! This is the one exception to share-nothing (docs/ARCHITECTURE.md): a shard writes
//! its own numbers with relaxed stores, and the admin thread reads them with relaxed loads. It sends
//! no message for it, so that the numbers can be read exactly when they matter, while a shard hangs.
//!
//! | file | holds |
//! | --- | --- |
//! | `counter` | [`Counter`], [`Gauge`]: single writer, many readers |
//! | `histogram` | [`Histogram`]: latencies in fixed buckets |
//! | `label` | closed label sets and arrays indexed by them |
//! | `responses` | answers by status |
//! | `shard`, `volume` | what a shard and a volume count |
//! | `table` | the one list of exported metrics: name, type, labels, help, where the value comes from |
//! | `export` | that list as Prometheus text |
//! | `reference` | that list as `docs/METRICS.md` |

mod counter;
mod export;
mod histogram;
mod label;
mod reference;
mod responses;
mod shard;
mod table;
mod volume;

#[cfg(test)]
pub(crate) mod exposition;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

pub use counter::{Counter, Gauge};
pub use export::{Exporter, Format};
pub use histogram::{BOUNDS_NS, BUCKETS, Histogram, Snapshot};
use label::label_enum;
pub use label::{CounterBy, HistogramBy, Label, StateCell};
pub use reference::markdown;
pub use responses::{Responses, STATUSES, StatusClass};
pub use shard::{GetPhase, Method, MethodGroup, Refusal, ShardInfo, ShardMetrics, TimeoutKind};
pub use volume::{VolumeInfo, VolumeMetrics, VolumeState};

label_enum! {
    /// What a data directory can do.
    pub enum DiskState: "state" {
        /// Mounted, locked and in use.
        Ok = "ok",
        /// Configured, but not there or not a data directory.
        Missing = "missing",
        /// There, but it fails.
        Failed = "failed",
    }
}

/// One data directory.
#[derive(Debug)]
pub struct DiskInfo {
    /// Its path as configured.
    pub path: String,
    /// What it can do now. Written by the thread that watches the disks only, like the others.
    pub state: StateCell<DiskState>,
    /// Size of the file system it is on (bytes).
    pub size_bytes: Gauge,
    /// What of it is free for new volumes (bytes).
    pub free_bytes: Gauge,
}

impl DiskInfo {
    /// A data directory in the given state.
    #[must_use]
    pub fn new(path: impl Into<String>, state: DiskState) -> Self {
        Self {
            path: path.into(),
            state: StateCell::new(state),
            size_bytes: Gauge::new(),
            free_bytes: Gauge::new(),
        }
    }
}

/// What [`Metrics`] must know from the start.
#[derive(Debug, Default)]
pub struct NodeInfo {
    /// A random number that this start of the daemon drew: the data API and the admin API tell it, so that
    /// somebody who has an address of each knows whether they belong together.
    pub instance: u64,
    /// The daemon's version, as exported.
    pub version: String,
    /// CLOCK_MONOTONIC at the start of the daemon, in nanoseconds.
    pub started_ns: u64,
    /// Wall clock at the start of the daemon, in seconds since 1970.
    pub started_unix_seconds: u64,
    /// False with `--buffered`: answers promise nothing.
    pub durable: bool,
    /// Where the data API is: `IP:PORT` or `unix:/path`.
    pub listen: Vec<String>,
    /// Largest body of a photo (bytes).
    pub largest_body: u64,
    /// Largest batch (bytes).
    pub largest_batch: u64,
    /// Log lines that were lost; the log counts them.
    pub log_lines_dropped: Arc<AtomicU64>,
}

/// All numbers of a daemon, shared as an `Arc` by its shards, its main thread and the admin thread.
#[derive(Debug)]
pub struct Metrics {
    /// What was known from the start.
    pub node: NodeInfo,
    /// One entry per shard; shard `k` writes entry `k` and no other.
    pub shards: Vec<ShardMetrics>,
    /// The data directories.
    pub disks: Vec<DiskInfo>,
    /// Open volumes by id. **Never locked on the data path**: only when a volume is registered or
    /// removed, and by the admin thread to copy the list. A shard keeps the `Arc` it registered and
    /// writes through that.
    volumes: RwLock<BTreeMap<u32, Arc<VolumeMetrics>>>,
    draining: AtomicBool,
    registered_buffers: AtomicBool,
}

impl Metrics {
    /// Fresh numbers for a daemon with these shards and data directories.
    ///
    /// # Panics
    /// If a shard's id is not its position: everything that indexes by shard would be wrong.
    #[must_use]
    pub fn new(node: NodeInfo, shards: &[ShardInfo], disks: Vec<DiskInfo>) -> Arc<Self> {
        for (position, shard) in shards.iter().enumerate() {
            assert_eq!(shard.id as usize, position, "a shard's id is its position");
        }
        Arc::new(Self {
            node,
            shards: shards.iter().copied().map(ShardMetrics::new).collect(),
            disks,
            volumes: RwLock::new(BTreeMap::new()),
            draining: AtomicBool::new(false),
            registered_buffers: AtomicBool::new(false),
        })
    }

    /// Adds a volume and gives the numbers for its shard to write. A volume of the same id is
    /// replaced (a new generation of the file).
    ///
    /// Register every volume found on disk as recovering, *before* the first one recovers and before
    /// the admin listener starts: `/readyz` cannot wait for a volume it has not heard of.
    pub fn register_volume(&self, info: VolumeInfo, state: VolumeState) -> Arc<VolumeMetrics> {
        let volume = Arc::new(VolumeMetrics::new(info, state));
        self.volumes
            .write()
            // A panic elsewhere under this lock cannot leave half an entry, and the numbers must
            // stay readable after a panic above all.
            .unwrap_or_else(PoisonError::into_inner)
            .insert(info.id, Arc::clone(&volume));
        volume
    }

    /// Forgets a volume; gives it back if it was known.
    pub fn remove_volume(&self, id: u32) -> Option<Arc<VolumeMetrics>> {
        self.volumes.write().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }

    /// The volume with this id.
    #[must_use]
    pub fn volume(&self, id: u32) -> Option<Arc<VolumeMetrics>> {
        self.volumes.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// All volumes by rising id: a copy, so that nothing is formatted while the lock is held.
    #[must_use]
    pub fn volumes(&self) -> Vec<Arc<VolumeMetrics>> {
        self.volumes.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// True once the daemon drains: it finishes what it has and takes nothing new.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Says that the daemon drains. There is no way back.
    pub fn set_draining(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Log lines that were lost so far.
    #[must_use]
    pub fn log_lines_dropped(&self) -> u64 {
        self.node.log_lines_dropped.load(Relaxed)
    }

    /// True if the buffers are registered with the kernel.
    #[must_use]
    pub fn registered_buffers(&self) -> bool {
        self.registered_buffers.load(Relaxed)
    }

    /// Says whether the buffers are registered with the kernel.
    pub fn set_registered_buffers(&self, registered: bool) {
        self.registered_buffers.store(registered, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeInfo {
        NodeInfo { version: "0".into(), durable: true, ..NodeInfo::default() }
    }

    fn volume(id: u32) -> VolumeInfo {
        VolumeInfo { id, shard: 0, disk: 0, durable: true }
    }

    #[test]
    fn volumes_come_and_go() {
        let m = Metrics::new(node(), &[], vec![]);
        m.register_volume(volume(7), VolumeState::Writable);
        let three = m.register_volume(volume(3), VolumeState::Writable);
        three.needles.set(5);
        let ids = |m: &Metrics| m.volumes().iter().map(|v| v.info.id).collect::<Vec<_>>();
        assert_eq!(ids(&m), [3, 7], "by rising id");
        assert_eq!(m.volume(3).map(|v| v.needles.get()), Some(5), "the same numbers");
        assert!(m.remove_volume(3).is_some());
        assert!(m.remove_volume(3).is_none());
        assert_eq!(ids(&m), [7]);
    }

    #[test]
    fn a_panic_under_the_lock_does_not_hide_the_numbers() {
        let m = Metrics::new(node(), &[], vec![]);
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
        assert!(m.volume(2).is_some());
    }

    #[test]
    #[should_panic(expected = "a shard's id is its position")]
    fn a_shard_out_of_place_is_refused() {
        let _ = Metrics::new(node(), &[ShardInfo { id: 1, core: 0, port: None }], vec![]);
    }
}
