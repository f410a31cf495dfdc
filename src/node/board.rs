//! The board: the state of the node that the program decides on.
//!
//! Every field has one writer, which its description names; any thread may read.
//!
//! | reader | decides |
//! | --- | --- |
//! | shards | the volume of a `POST /`, the shard of a new connection, whether to take more requests |
//! | main thread | readiness and keep-alives, the reasons to stop, which volumes to compact or create |
//! | control plane | `/healthz`, `/readyz`; what a cluster is told of its volumes |
//!
//! Metrics and `/status` show the same values. A value that nothing decides on is a metric
//! ([`crate::node::metrics`]).
//!
//! All accesses are relaxed loads and plain stores, without messages: the board can be read while a shard
//! hangs, which is when it matters most. A reader may see one field ahead of another.

use crate::base::types::{ShardId, VolumeId};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use super::label::label_enum;

mod cell;
mod cluster;
mod compaction;
mod copies;
mod health;
mod replica;
mod scrub;

pub use cell::{Level, StateCell};
pub use cluster::ClusterBoard;
pub use compaction::{CompactionBoard, CompactionEnd, CompactionOutcome, ShownCompaction};
pub use copies::{CopiesBoard, Peer, VolumeCopies, VolumeCopy};
pub use health::HealthBoard;
pub use replica::ReplicaBoard;
pub use scrub::ScrubBoard;

label_enum! {
    /// State of a data directory.
    pub enum DiskState: "state" {
        /// Mounted, locked and in use.
        Ok = "ok",
        /// Configured, but absent or not a data directory.
        Missing = "missing",
        /// Failed: its disk returns errors, or it was removed, replaced or unmounted.
        Failed = "failed",
    }
}

/// A data directory on the board. The thread that monitors the disks is the only writer.
#[derive(Debug)]
pub struct DiskBoard {
    /// Path as configured.
    pub path: String,
    /// Present state.
    pub state: StateCell<DiskState>,
    /// Size of its file system (bytes).
    pub size_bytes: Level,
    /// Free space of its file system for new volumes (bytes).
    pub free_bytes: Level,
    /// Part of it that the creation of volumes leaves for compactions (bytes); all as long as it is not
    /// known. Written by the main thread.
    pub reserve_bytes: Level,
    /// 99th percentile of the time that reads have taken lately (nanoseconds); 0 if there were few. Written
    /// by the main thread.
    pub read_p99_ns: Level,
    /// 1 if reads have taken too long for five minutes, or one hangs. Written by the main thread.
    pub slow: Level,
}

impl DiskBoard {
    /// Creates a data directory in this state, with sizes of 0.
    #[must_use]
    pub fn new(path: impl Into<String>, state: DiskState) -> Self {
        let reserve_bytes = Level::default();
        reserve_bytes.set(u64::MAX);
        Self {
            path: path.into(),
            state: StateCell::new(state),
            size_bytes: Level::default(),
            free_bytes: Level::default(),
            reserve_bytes,
            read_p99_ns: Level::default(),
            slow: Level::default(),
        }
    }
}

/// Constant properties of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardInfo {
    /// The shard; its position in [`Board::shards`].
    pub id: ShardId,
    /// The core that it is pinned to.
    pub core: u32,
    /// Its own TCP port, if shards listen on ports of their own.
    pub port: Option<u16>,
}

/// A shard on the board. The shard is the only writer.
///
/// Aligned to two cache lines, since the adjacent-line prefetcher works on pairs: two shards must not write
/// to the same pair of cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub struct ShardBoard {
    /// Constant properties.
    pub info: ShardInfo,
    /// CLOCK_MONOTONIC of the last event loop iteration in nanoseconds; 0 before the first.
    last_turn_ns: Level,
    /// Number of open connections.
    pub connections: Level,
    /// 1 while its compactions are paused.
    pub background_paused: Level,
}

impl ShardBoard {
    fn new(info: ShardInfo) -> Self {
        Self {
            info,
            last_turn_ns: Level::default(),
            connections: Level::default(),
            background_paused: Level::default(),
        }
    }

    /// Records an event loop iteration at `now_ns` (CLOCK_MONOTONIC).
    #[inline]
    pub fn turn(&self, now_ns: u64) {
        self.last_turn_ns.set(now_ns);
    }

    /// Whether its event loop has run.
    #[must_use]
    pub fn has_turned(&self) -> bool {
        self.last_turn_ns.get() > 0
    }

    /// Nanoseconds since the last event loop iteration. Before the first one, since `started_ns`, the start
    /// of the daemon, so that a shard that hangs while it starts is detected too.
    #[must_use]
    pub fn silence_ns(&self, now_ns: u64, started_ns: u64) -> u64 {
        // The shard may record an iteration after `now_ns` was read: saturate.
        now_ns.saturating_sub(self.last_turn_ns.get().max(started_ns))
    }
}

label_enum! {
    /// State of a volume.
    pub enum VolumeState: "state" {
        /// Its log is being read; it serves no requests yet.
        Recovering = "recovering",
        /// Serves reads and writes.
        Writable = "writable",
        /// Serves reads; takes no writes, because it was made read-only or is sealed.
        ReadOnly = "read_only",
        /// Serves reads; takes no writes until a restart, because a write or flush failed.
        Poisoned = "poisoned",
        /// Serves reads; takes no writes, because its file was removed, replaced or unmounted.
        Lost = "lost",
        /// Serves no requests, because it could not be opened or recovered.
        Failed = "failed",
    }
}

impl VolumeState {
    /// True if GETs are answered from this volume.
    #[must_use]
    pub fn serves(self) -> bool {
        match self {
            Self::Writable | Self::ReadOnly | Self::Poisoned | Self::Lost => true,
            Self::Recovering | Self::Failed => false,
        }
    }
}

label_enum! {
    /// Whether a volume may be written, and why not: the write state of the engine without its reasons.
    pub enum ShownWriteState: "write_state" {
        /// It is not open: it is being recovered, or could not be opened.
        NotOpen = "not_open",
        /// Takes all writes.
        Writable = "writable",
        /// Takes deletes, and photos that are short enough.
        Full = "full",
        /// Takes no writes by intention.
        ReadOnly = "read_only",
        /// Takes no writes, because a restart would not find them: its file is no longer at its path.
        Fenced = "fenced",
        /// Takes no writes until a restart, because one failed.
        Poisoned = "poisoned",
        /// Takes no writes until a restart, because changing its state failed.
        Unknown = "unknown",
        /// Is being closed: what was admitted is written.
        Closing = "closing",
        /// Its log is closed.
        Closed = "closed",
    }
}

/// Properties of a volume at its registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeInfo {
    /// The id in the URL.
    pub id: VolumeId,
    /// The shard that owns it.
    pub shard: ShardId,
    /// Data directory of its newest file when it was registered, as a position in [`Board::disks`]; the
    /// present one is [`VolumeBoard::disk`].
    pub disk: u32,
    /// False if writes go through the page cache (`--buffered`) and may not survive a power cut.
    pub durable: bool,
}

/// A volume on the board. Its shard is the only writer, except for the fields that name the main thread.
#[derive(Debug)]
#[repr(align(128))]
pub struct VolumeBoard {
    /// Constant properties, except for the data directory.
    pub info: VolumeInfo,
    /// Data directory of the open file, as a position in [`Board::disks`]; before the volume is open, of its
    /// newest file.
    pub disk: Level,
    /// Present state.
    pub state: StateCell<VolumeState>,
    /// Whether it may be written, and why not.
    pub write_state: StateCell<ShownWriteState>,
    /// 1 if it is full: a photo of 1 MiB does not fit.
    pub full: Level,
    /// Size of the file in bytes.
    pub size_bytes: Level,
    /// Bytes of the file that hold commits, dead needles included.
    pub used_bytes: Level,
    /// Bytes of the file that cannot be used now, because the file system has no space for them.
    pub unavailable_bytes: Level,
    /// Bytes of the file whose blocks are not reserved yet: they are as the volume fills.
    pub unreserved_bytes: Level,
    /// Bytes of live needles.
    pub live_bytes: Level,
    /// Bytes of superseded and deleted needles, of tombstones, and of commit records and padding.
    pub dead_bytes: Level,
    /// Wall clock of the oldest deletion or replacement whose bytes are still in the file (nanoseconds since
    /// 1970); 0 if there is none, or it is not known.
    pub oldest_dead_ns: Level,
    /// Bytes of `live_bytes` that belong to photos whose day of expiry is over.
    pub expired_bytes: Level,
    /// Part of it that a compaction would leave out: by `drop_expired_before_ns`.
    pub droppable_bytes: Level,
    /// Highest version found when the volume was opened: a time of the wall clock (nanoseconds since 1970); 0
    /// if the log was empty.
    pub newest_found_ns: Level,
    /// Highest version: the time of the last write, by the wall clock (nanoseconds since 1970); 0 if nothing
    /// was written.
    pub newest_ns: Level,
    /// Generation of the file.
    pub generation: Level,
    /// Its compaction.
    pub compaction: CompactionBoard,
    /// Its scrubs.
    pub scrub: ScrubBoard,
    /// Its errors.
    pub health: HealthBoard,
    /// Whose copy it is.
    pub replica: ReplicaBoard,
    /// What its cluster says about it.
    pub cluster: ClusterBoard,
    /// Dead bytes that the last compaction could not remove, such as tombstones that are kept. Written by the
    /// main thread.
    pub kept_bytes: Level,
    /// Photos that expired before this may be left out by compactions (nanoseconds since 1970); 0 for none.
    /// Written by the main thread.
    pub drop_expired_before_ns: Level,
    /// 1 if bytes have been dead for longer than `compaction.erase_within`. Written by the main thread.
    pub erase_overdue: Level,
}

impl VolumeBoard {
    /// Creates a volume in this state, with sizes of 0.
    #[must_use]
    pub fn new(info: VolumeInfo, state: VolumeState) -> Self {
        let disk = Level::default();
        disk.set(info.disk.into());
        Self {
            info,
            disk,
            state: StateCell::new(state),
            write_state: StateCell::new(ShownWriteState::NotOpen),
            full: Level::default(),
            size_bytes: Level::default(),
            used_bytes: Level::default(),
            unavailable_bytes: Level::default(),
            unreserved_bytes: Level::default(),
            live_bytes: Level::default(),
            dead_bytes: Level::default(),
            oldest_dead_ns: Level::default(),
            expired_bytes: Level::default(),
            droppable_bytes: Level::default(),
            newest_found_ns: Level::default(),
            newest_ns: Level::default(),
            generation: Level::default(),
            compaction: CompactionBoard::default(),
            scrub: ScrubBoard::default(),
            health: HealthBoard::default(),
            replica: ReplicaBoard::default(),
            cluster: ClusterBoard::default(),
            kept_bytes: Level::default(),
            drop_expired_before_ns: Level::default(),
            erase_overdue: Level::default(),
        }
    }

    /// Data directory of the volume, as a position in [`Board::disks`].
    ///
    /// # Panics
    /// Never: a position in a list fits.
    #[must_use]
    pub fn disk_position(&self) -> usize {
        usize::try_from(self.disk.get()).expect("a position in a list")
    }

    /// Bytes of the file that are left for commits.
    #[must_use]
    pub fn room(&self) -> u64 {
        let taken = self.used_bytes.get() + self.unavailable_bytes.get();
        self.size_bytes.get().saturating_sub(taken)
    }

    /// Bytes that a compaction would free inside the file.
    #[must_use]
    pub fn reclaimable_bytes(&self) -> u64 {
        let dead = self.dead_bytes.get().saturating_sub(self.kept_bytes.get());
        dead.saturating_add(self.droppable_bytes.get())
    }
}

/// The board of a daemon, shared as an `Arc` by its shards, its main thread and the control plane.
#[derive(Debug)]
pub struct Board {
    /// One entry per shard; shard `k` writes entry `k` and no other.
    pub shards: Vec<ShardBoard>,
    /// The data directories, by position in the configuration.
    pub disks: Vec<DiskBoard>,
    /// Open volumes by id. The main thread writes the list. It is locked only while it is changed or copied:
    /// a GET or PUT of a named volume never locks it. A shard keeps the `Arc` of each of its volumes and
    /// writes through that.
    volumes: RwLock<BTreeMap<VolumeId, Arc<VolumeBoard>>>,
    /// Copies of the cluster's volumes on other nodes. Written by the control plane.
    pub copies: CopiesBoard,
    /// Written by the main thread, once.
    draining: AtomicBool,
}

impl Board {
    /// Creates the board of a daemon with these shards and data directories, and no volume.
    ///
    /// # Panics
    /// If the id of a shard is not its position, by which shards are indexed.
    #[must_use]
    pub fn new(shards: &[ShardInfo], disks: Vec<DiskBoard>) -> Arc<Self> {
        for (position, shard) in shards.iter().enumerate() {
            assert_eq!(shard.id.index(), position, "a shard's id is its position");
        }
        Arc::new(Self {
            shards: shards.iter().copied().map(ShardBoard::new).collect(),
            disks,
            volumes: RwLock::new(BTreeMap::new()),
            copies: CopiesBoard::default(),
            draining: AtomicBool::new(false),
        })
    }

    /// Adds a volume and returns its part of the board, for its shard to write. Replaces a volume with the
    /// same id (a new generation of the file). Called by
    /// [`Metrics::register_volume`](super::metrics::Metrics::register_volume), which adds its numbers.
    pub fn register_volume(&self, info: VolumeInfo, state: VolumeState) -> Arc<VolumeBoard> {
        let volume = Arc::new(VolumeBoard::new(info, state));
        self.volumes
            .write()
            // A panic under this lock cannot leave an incomplete entry, and the board must stay readable
            // after a panic.
            .unwrap_or_else(PoisonError::into_inner)
            .insert(info.id, Arc::clone(&volume));
        volume
    }

    /// Removes a volume, if it was registered. Called by
    /// [`Metrics::remove_volume`](super::metrics::Metrics::remove_volume).
    pub fn remove_volume(&self, id: VolumeId) {
        self.volumes.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Returns the volume with this id.
    #[must_use]
    pub fn volume(&self, id: VolumeId) -> Option<Arc<VolumeBoard>> {
        self.volumes.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Returns all volumes by ascending id: a copy of the list, so that the lock is held only briefly.
    #[must_use]
    pub fn volumes(&self) -> Vec<Arc<VolumeBoard>> {
        self.volumes.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// True once the daemon drains: it finishes requests under way and accepts no new ones.
    #[inline]
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Records that the daemon drains. This cannot be undone.
    pub fn set_draining(&self) {
        self.draining.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::label::Label;

    fn shard(index: usize) -> ShardInfo {
        ShardInfo { id: ShardId::from_index(index), core: 0, port: None }
    }

    fn volume(id: u32) -> VolumeInfo {
        VolumeInfo { id: VolumeId(id), shard: ShardId::from_index(0), disk: 0, durable: true }
    }

    #[test]
    fn poisoned_and_lost_volumes_serve_and_failed_ones_do_not() {
        let serving: Vec<_> =
            VolumeState::ALL.iter().filter(|s| s.serves()).map(|s| s.name()).collect();
        assert_eq!(serving, ["writable", "read_only", "poisoned", "lost"]);
    }

    #[test]
    fn shard_boards_share_no_pair_of_cache_lines() {
        assert_eq!(align_of::<ShardBoard>(), 128);
        assert_eq!(size_of::<ShardBoard>() % 128, 0);
    }

    #[test]
    fn silence_counts_from_the_last_iteration_or_the_start() {
        let shard = ShardBoard::new(shard(0));
        assert!(!shard.has_turned());
        assert_eq!(shard.silence_ns(1_000, 400), 600, "no iteration: since the start");
        shard.turn(900);
        assert!(shard.has_turned());
        assert_eq!(shard.silence_ns(1_000, 400), 100);
        assert_eq!(shard.silence_ns(800, 400), 0, "an iteration in the reader's future");
    }

    #[test]
    fn volumes_are_registered_by_id_and_removed() {
        let board = Board::new(&[], vec![]);
        board.register_volume(volume(7), VolumeState::Writable);
        let three = board.register_volume(volume(3), VolumeState::Writable);
        three.size_bytes.set(50);
        three.used_bytes.set(20);
        let ids = || board.volumes().iter().map(|v| v.info.id.0).collect::<Vec<_>>();
        assert_eq!(ids(), [3, 7], "sorted by id");
        let room = || board.volume(VolumeId(3)).map(|v| v.room());
        assert_eq!(room(), Some(30), "the same numbers");
        three.unavailable_bytes.set(29);
        assert_eq!(room(), Some(1), "without what the disk has no space for");
        three.dead_bytes.set(12);
        three.kept_bytes.set(5);
        assert_eq!(three.reclaimable_bytes(), 7);
        three.kept_bytes.set(20);
        assert_eq!(three.reclaimable_bytes(), 0, "less than was kept is dead now");
        board.remove_volume(VolumeId(3));
        assert!(board.volume(VolumeId(3)).is_none());
        assert_eq!(ids(), [7]);
    }

    #[test]
    fn panic_under_the_lock_does_not_hide_the_volumes() {
        let board = Board::new(&[], vec![]);
        board.register_volume(volume(1), VolumeState::Writable);
        let other = Arc::clone(&board);
        let panicked = std::thread::spawn(move || {
            let _guard = other.volumes.write();
            panic!("on purpose");
        })
        .join();
        assert!(panicked.is_err() && board.volumes.is_poisoned());
        assert_eq!(board.volumes().len(), 1);
        board.register_volume(volume(2), VolumeState::Writable);
        assert!(board.volume(VolumeId(2)).is_some());
    }

    #[test]
    #[should_panic(expected = "a shard's id is its position")]
    fn shard_id_that_is_not_its_position_panics() {
        let _ = Board::new(&[shard(1)], vec![]);
    }
}
