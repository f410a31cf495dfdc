//! State and numbers of one volume.

use super::counter::Counter;
use super::gauge::Gauge;
use super::label::{StateCell, label_enum};

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

/// Constant properties of an open volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeInfo {
    /// The id in the URL.
    pub id: u32,
    /// Number of the shard that owns it.
    pub shard: u32,
    /// Its data directory, as a position in [`Metrics::disks`](super::Metrics::disks).
    pub disk: u32,
    /// False if writes go through the page cache (`--buffered`) and may not survive a power cut.
    pub durable: bool,
}

/// The numbers of one volume. Its shard is the only writer; any thread may read.
#[derive(Debug)]
#[repr(align(128))]
pub struct VolumeMetrics {
    /// Constant properties.
    pub info: VolumeInfo,
    /// Present state.
    pub state: StateCell<VolumeState>,
    /// 1 if it is full: a photo of 1 MiB does not fit.
    pub full: Gauge,
    /// Size of the file in bytes.
    pub size_bytes: Gauge,
    /// Bytes of the file that hold commits, dead needles included.
    pub used_bytes: Gauge,
    /// Bytes of live needles.
    pub live_bytes: Gauge,
    /// Bytes of superseded and deleted needles, and of tombstones.
    pub dead_bytes: Gauge,
    /// Number of live needles.
    pub needles: Gauge,
    /// Number of extents of the file; a high number means that the file system fragmented it.
    pub extents: Gauge,
    /// Memory of the index in bytes.
    pub index_bytes: Gauge,
    /// Number of slots of the index. A used slot holds one needle.
    pub index_slots: Gauge,
    /// Number of needles outside the slots of the index.
    pub index_overflow: Gauge,
    /// Number of growth steps of the index.
    pub index_steps: Counter,
    /// Largest number of needles moved by one growth step.
    pub index_step_max: Gauge,
    /// Records found damaged since the daemon started.
    pub damaged_records: Counter,
    /// Offset in bytes at which the next commit starts.
    pub tail_bytes: Gauge,
    /// During recovery: bytes of the log read so far.
    pub recovered_bytes: Gauge,
    /// During recovery: bytes of the log to read in total, as far as known.
    pub to_recover_bytes: Gauge,
    /// Duration of opening it (milliseconds).
    pub open_ms: Gauge,
    /// Bytes of the log read to open it.
    pub open_read_bytes: Gauge,
    /// Offset in bytes up to which the checkpoint covers the log; 0 without a checkpoint.
    pub checkpoint_tail_bytes: Gauge,
    /// Bytes of the log after `checkpoint_tail_bytes`.
    pub checkpoint_age_bytes: Gauge,
    /// Duration of the last checkpoint (milliseconds).
    pub checkpoint_ms: Gauge,
    /// Number of checkpoints written.
    pub checkpoints: Counter,
    /// Number of checkpoints that failed.
    pub checkpoint_failures: Counter,
    /// Number of checkpoints found at the start that could not be used.
    pub checkpoint_discards: Counter,
}

impl VolumeMetrics {
    /// Creates a volume in this state, with all numbers at zero.
    #[must_use]
    pub fn new(info: VolumeInfo, state: VolumeState) -> Self {
        Self {
            info,
            state: StateCell::new(state),
            full: Gauge::new(),
            size_bytes: Gauge::new(),
            used_bytes: Gauge::new(),
            live_bytes: Gauge::new(),
            dead_bytes: Gauge::new(),
            needles: Gauge::new(),
            extents: Gauge::new(),
            index_bytes: Gauge::new(),
            index_slots: Gauge::new(),
            index_overflow: Gauge::new(),
            index_steps: Counter::new(),
            index_step_max: Gauge::new(),
            damaged_records: Counter::new(),
            tail_bytes: Gauge::new(),
            recovered_bytes: Gauge::new(),
            to_recover_bytes: Gauge::new(),
            open_ms: Gauge::new(),
            open_read_bytes: Gauge::new(),
            checkpoint_tail_bytes: Gauge::new(),
            checkpoint_age_bytes: Gauge::new(),
            checkpoint_ms: Gauge::new(),
            checkpoints: Counter::new(),
            checkpoint_failures: Counter::new(),
            checkpoint_discards: Counter::new(),
        }
    }
}

impl VolumeMetrics {
    /// Memory of the index per live needle (bytes); 0 without needles.
    #[must_use]
    pub fn index_bytes_per_needle(&self) -> f64 {
        ratio(self.index_bytes.get(), self.needles.get())
    }

    /// Duration of opening it (seconds).
    #[must_use]
    pub fn open_seconds(&self) -> f64 {
        ratio(self.open_ms.get(), 1000)
    }

    /// Duration of the last checkpoint (seconds).
    #[must_use]
    pub fn checkpoint_seconds(&self) -> f64 {
        ratio(self.checkpoint_ms.get(), 1000)
    }

    /// Used part of the slots of the index, 0 to 1; 0 without slots.
    #[must_use]
    pub fn index_load(&self) -> f64 {
        let placed = self.needles.get().saturating_sub(self.index_overflow.get());
        ratio(placed, self.index_slots.get())
    }
}

impl VolumeMetrics {
    /// Part of the log read by recovery, 0 to 1; `None` unless the volume recovers.
    #[must_use]
    pub fn recovery(&self) -> Option<f64> {
        let recovers = self.state.get() == VolumeState::Recovering;
        recovers.then(|| ratio(self.recovered_bytes.get(), self.to_recover_bytes.get()).min(1.0))
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53, and for display only")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::metrics::Label;

    #[test]
    fn durations_are_seconds() {
        let info = VolumeInfo { id: 1, shard: 0, disk: 0, durable: true };
        let volume = VolumeMetrics::new(info, VolumeState::Writable);
        volume.open_ms.set(1500);
        volume.checkpoint_ms.set(20);
        assert!((volume.open_seconds() - 1.5).abs() < 1e-9);
        assert!((volume.checkpoint_seconds() - 0.02).abs() < 1e-9);
    }

    #[test]
    fn poisoned_and_lost_volumes_still_serve_and_failed_ones_do_not() {
        let serving: Vec<_> =
            VolumeState::ALL.iter().filter(|s| s.serves()).map(|s| s.name()).collect();
        assert_eq!(serving, ["writable", "read_only", "poisoned", "lost"]);
    }
}
