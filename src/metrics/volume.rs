//! What is known about one volume.

use super::counter::{Counter, Gauge};
use super::label::{StateCell, label_enum};

label_enum! {
    /// What a volume can do now.
    pub enum VolumeState: "state" {
        /// Its log is being read; it serves nothing yet.
        Recovering = "recovering",
        /// Serves reads and writes.
        Writable = "writable",
        /// Serves reads; takes no writes because it was told so or is sealed.
        ReadOnly = "read_only",
        /// Serves reads; takes no writes until a restart, because a write or flush failed.
        Poisoned = "poisoned",
        /// Serves reads; takes no writes, because its file is no longer where it was.
        Lost = "lost",
        /// Serves nothing: it could not be opened or recovered.
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

/// What is fixed about a volume while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeInfo {
    /// The id in the URL.
    pub id: u32,
    /// The shard it is pinned to.
    pub shard: u32,
    /// The data directory it lies in, as a position in [`Metrics::disks`](super::Metrics::disks).
    pub disk: u32,
    /// False if writes go through the page cache (`--buffered`) and answers promise nothing.
    pub durable: bool,
}

/// The numbers of one volume. Its shard is the only writer; any thread may read.
#[derive(Debug)]
#[repr(align(128))]
pub struct VolumeMetrics {
    /// Which volume this is.
    pub info: VolumeInfo,
    /// What it can do now.
    pub state: StateCell<VolumeState>,
    /// 1 if it is full: a photo of 1 MiB does not fit any more.
    pub full: Gauge,
    /// Size of the file in bytes.
    pub size_bytes: Gauge,
    /// Bytes of the file that hold commits, dead needles included.
    pub used_bytes: Gauge,
    /// Bytes of needles that can be read.
    pub live_bytes: Gauge,
    /// Bytes of needles that were replaced or deleted, and of tombstones.
    pub dead_bytes: Gauge,
    /// Needles that can be read.
    pub needles: Gauge,
    /// Extents of the file; many mean that the file system split it.
    pub extents: Gauge,
    /// Memory of the index in bytes.
    pub index_bytes: Gauge,
    /// Slots of the index; full ones are needles.
    pub index_slots: Gauge,
    /// Needles that found no slot.
    pub index_overflow: Gauge,
    /// Steps in which the index grew.
    pub index_steps: Counter,
    /// Needles that such a step moved at most.
    pub index_step_max: Gauge,
    /// Records found damaged since the daemon started.
    pub damaged_records: Counter,
    /// Offset in bytes at which the next commit starts.
    pub tail_bytes: Gauge,
    /// While it recovers: bytes of the log that were read.
    pub recovered_bytes: Gauge,
    /// While it recovers: bytes of the log that are to be read, as far as is known.
    pub to_recover_bytes: Gauge,
    /// How long opening it took (milliseconds).
    pub open_ms: Gauge,
    /// Bytes of the log that opening it read.
    pub open_read_bytes: Gauge,
    /// Offset in bytes up to which its checkpoint saves reading the log; 0 without one.
    pub checkpoint_tail_bytes: Gauge,
    /// Bytes of log since then.
    pub checkpoint_age_bytes: Gauge,
    /// How long the last checkpoint took (milliseconds).
    pub checkpoint_ms: Gauge,
    /// Checkpoints written.
    pub checkpoints: Counter,
    /// Checkpoints that could not be written.
    pub checkpoint_failures: Counter,
    /// Checkpoints that could not be used at the start.
    pub checkpoint_discards: Counter,
}

impl VolumeMetrics {
    /// A volume in this state; all numbers at zero.
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
    /// Memory of the index for each needle; 0 when there are none (bytes).
    #[must_use]
    pub fn index_bytes_per_needle(&self) -> f64 {
        ratio(self.index_bytes.get(), self.needles.get())
    }

    /// How long opening it took (seconds).
    #[must_use]
    pub fn open_seconds(&self) -> f64 {
        ratio(self.open_ms.get(), 1000)
    }

    /// How long the last checkpoint took (seconds).
    #[must_use]
    pub fn checkpoint_seconds(&self) -> f64 {
        ratio(self.checkpoint_ms.get(), 1000)
    }

    /// What part of the index's slots is full; 0 when there are none.
    #[must_use]
    pub fn index_load(&self) -> f64 {
        let placed = self.needles.get().saturating_sub(self.index_overflow.get());
        ratio(placed, self.index_slots.get())
    }
}

impl VolumeMetrics {
    /// What part of the log is read; nothing when it does not recover.
    #[must_use]
    pub fn recovery(&self) -> Option<f64> {
        let recovers = self.state.get() == VolumeState::Recovering;
        recovers.then(|| ratio(self.recovered_bytes.get(), self.to_recover_bytes.get()).min(1.0))
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53, and only looked at")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Label;

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
