//! Numbers of one volume.

use std::sync::Arc;

use super::counter::Counter;
use super::gauge::Gauge;
use crate::node::board::{VolumeBoard, VolumeState};

/// The numbers of one volume. Its shard is the only writer; any thread may read.
#[derive(Debug)]
#[repr(align(128))]
pub struct VolumeMetrics {
    /// Its state, sizes and compaction: what the program decides on.
    pub board: Arc<VolumeBoard>,
    /// Time since which something in the log is dead (seconds since 1970); 0 when nothing is.
    pub oldest_dead_seconds: Gauge,
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
    /// Creates a volume with all numbers at zero.
    #[must_use]
    pub fn new(board: Arc<VolumeBoard>) -> Self {
        Self {
            board,
            oldest_dead_seconds: Gauge::new(),
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
        ratio(self.index_bytes.value(), self.needles.value())
    }

    /// Duration of opening it (seconds).
    #[must_use]
    pub fn open_seconds(&self) -> f64 {
        ratio(self.open_ms.value(), 1000)
    }

    /// Duration of the last checkpoint (seconds).
    #[must_use]
    pub fn checkpoint_seconds(&self) -> f64 {
        ratio(self.checkpoint_ms.value(), 1000)
    }

    /// Used part of the slots of the index, 0 to 1; 0 without slots.
    #[must_use]
    pub fn index_load(&self) -> f64 {
        let placed = self.needles.value().saturating_sub(self.index_overflow.value());
        ratio(placed, self.index_slots.value())
    }
}

impl VolumeMetrics {
    /// Part of the log read by recovery, 0 to 1; `None` unless the volume recovers.
    #[must_use]
    pub fn recovery(&self) -> Option<f64> {
        let recovers = self.board.state.get() == VolumeState::Recovering;
        recovers
            .then(|| ratio(self.recovered_bytes.value(), self.to_recover_bytes.value()).min(1.0))
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53, and for display only")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::{ShardId, VolumeId};
    use crate::node::board::VolumeInfo;

    #[test]
    fn durations_are_converted_to_seconds() {
        let info =
            VolumeInfo { id: VolumeId(1), shard: ShardId::from_index(0), disk: 0, durable: true };
        let volume = VolumeMetrics::new(Arc::new(VolumeBoard::new(info, VolumeState::Writable)));
        volume.open_ms.set(1500);
        volume.checkpoint_ms.set(20);
        assert!((volume.open_seconds() - 1.5).abs() < 1e-9);
        assert!((volume.checkpoint_seconds() - 0.02).abs() < 1e-9);
    }
}
