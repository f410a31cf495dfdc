//! A volume in the table of a shard, and the publication of its metrics.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::base::limits::TRAILER;
use crate::node::board::VolumeState;
use crate::node::metrics::VolumeMetrics;
use crate::runtime::op::DirId;
use crate::volume::Volume;

/// State of a volume of this shard.
#[derive(Clone)]
pub enum EntryState {
    /// The log is being read.
    Recovering,
    /// It serves.
    Open(Rc<Volume>),
    /// The file is being removed.
    Deleting(Rc<Volume>),
    /// It could not be opened, for this reason.
    Failed(String),
}

/// A volume of this shard, with what was published and logged about it.
pub struct VolumeEntry {
    /// State.
    pub state: EntryState,
    /// Data directory.
    pub dir: DirId,
    /// Generation of the file.
    pub generation: u64,
    /// Whether the volume is fenced because its file is no longer at its path.
    pub is_lost: bool,
    /// Number of commits when the metrics were published last.
    pub published_commits: Cell<u64>,
    /// Whether it is logged that the volume is full, or that an upload did not fit.
    pub is_full_logged: Cell<bool>,
    /// Metrics.
    pub metrics: Arc<VolumeMetrics>,
}

impl VolumeEntry {
    /// Publishes the metrics of the volume.
    pub fn publish(&self) {
        let (metrics, board) = (&self.metrics, &self.metrics.board);
        let volume = match &self.state {
            EntryState::Open(volume) => volume,
            EntryState::Failed(_) => {
                board.state.set(VolumeState::Failed);
                return;
            }
            EntryState::Recovering | EntryState::Deleting(_) => return,
        };
        self.published_commits.set(volume.stats().commits.get());
        let figures = volume.figures();
        board.size_bytes.set(figures.size);
        board.used_bytes.set(figures.used);
        metrics.live_bytes.set(figures.live);
        metrics.dead_bytes.set(figures.dead);
        metrics.needles.set(figures.needles);
        metrics.extents.set(figures.extents);
        metrics.index_bytes.set(figures.index);
        metrics.index_slots.set(figures.index_slots);
        metrics.index_overflow.set(figures.index_overflow);
        metrics.index_steps.raise_to(figures.index_steps);
        metrics.index_step_max.set(figures.index_step_max);
        metrics.tail_bytes.set(figures.used - TRAILER);
        let checkpoint = figures.checkpoint;
        metrics.open_read_bytes.set(checkpoint.opened_read);
        metrics.checkpoint_tail_bytes.set(checkpoint.tail);
        metrics.checkpoint_age_bytes.set(checkpoint.age);
        metrics.checkpoint_ms.set(checkpoint.last_ns / 1_000_000);
        for (counter, total) in [
            (&metrics.checkpoints, checkpoint.written),
            (&metrics.checkpoint_failures, checkpoint.failed),
            (&metrics.checkpoint_discards, checkpoint.discarded),
        ] {
            counter.raise_to(total);
        }
        let damaged = figures.damaged + volume.stats().damaged_reads.get();
        metrics.damaged_records.raise_to(damaged);
        board.state.set(if self.is_lost {
            VolumeState::Lost
        } else if volume.poisoned() {
            VolumeState::Poisoned
        } else if volume.writable() {
            VolumeState::Writable
        } else {
            VolumeState::ReadOnly
        });
        let is_full = volume.is_full();
        board.full.set(u64::from(is_full));
        if is_full && volume.writable() {
            self.log_full(volume, "the volume is full");
        }
    }

    /// Logs once that a volume is full or that an upload did not fit.
    pub fn log_full(&self, volume: &Volume, what: &str) {
        if !self.is_full_logged.replace(true) {
            let figures = volume.figures();
            tracing::warn!(
                volume = volume.id().0,
                "{what}: {} of {} bytes are used; uploads that do not fit are answered with 507. Make \
                 another volume (hayloft volume create)",
                figures.used,
                figures.size
            );
        }
    }
}
