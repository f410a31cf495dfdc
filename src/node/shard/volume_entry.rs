//! A volume in the table of a shard, and the publication of its metrics.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::cluster_figures;
use super::compaction_progress::show;
use super::health_figures;
use super::replica_figures;
use super::rising_total::RisingTotal;
use super::scrub_progress;
use crate::base::limits::TRAILER;
use crate::node::board::{ShownWriteState, VolumeState};
use crate::node::metrics::VolumeMetrics;
use crate::volume::{FenceReason, GenerationFile, Slot, Volume, WriteState};

/// State of a volume of this shard.
#[derive(Clone)]
pub enum EntryState {
    /// The log is being read.
    Recovering,
    /// It serves.
    Open(Rc<Slot>),
    /// The file is being removed.
    Deleting(Rc<Slot>),
    /// It could not be opened, for this reason.
    Failed(String),
    /// It could not be opened, for this reason, and its file has lost its name since.
    FailedAndLost(String),
}

/// A volume of this shard, with what was published and logged about it.
pub struct VolumeEntry {
    /// State.
    pub state: EntryState,
    /// Files of the volume that are there, or may be, beside the file of the open generation, by ascending
    /// generation. Of a volume that is not open, all its files. While it is not empty, an open volume must
    /// not be compacted.
    pub files: Vec<GenerationFile>,
    /// Number of commits when the metrics were published last.
    pub published_commits: Cell<u64>,
    /// Whether it is logged that the volume is full, or that an upload did not fit.
    pub is_full_logged: Cell<bool>,
    /// Counts over all generations: steps of the index, checkpoints written, failed and discarded, damage.
    pub totals: [RisingTotal; 5],
    /// Metrics.
    pub metrics: Arc<VolumeMetrics>,
}

impl VolumeEntry {
    /// Publishes the metrics of the volume.
    pub fn publish(&self) {
        let (metrics, board) = (&self.metrics, &self.metrics.board);
        let volume = match &self.state {
            EntryState::Open(slot) => slot.volume(),
            EntryState::Failed(_) | EntryState::FailedAndLost(_) => {
                board.state.set(VolumeState::Failed);
                return;
            }
            EntryState::Recovering | EntryState::Deleting(_) => return,
        };
        self.published_commits.set(volume.stats().commits.get());
        if let EntryState::Open(slot) = &self.state {
            show(slot.compaction_progress(), &board.compaction);
            scrub_progress::show(slot, &board.scrub);
            health_figures::show(slot, &board.health);
            replica_figures::show(slot, &board.replica);
        }
        cluster_figures::show(&volume, &board.cluster);
        let figures = volume.figures();
        board.size_bytes.set(figures.size);
        board.used_bytes.set(figures.used);
        board.unavailable_bytes.set(figures.unavailable);
        board.unreserved_bytes.set(figures.unreserved);
        board.live_bytes.set(figures.live);
        board.dead_bytes.set(figures.dead);
        board.expired_bytes.set(figures.expired);
        board.droppable_bytes.set(volume.expired_by(board.drop_expired_before_ns.get()));
        // Only that of the file that was opened: a compaction begins a log that is empty.
        let found = volume.open_report().end.version;
        board.newest_found_ns.set(board.newest_found_ns.get().max(found));
        board.newest_ns.set(board.newest_ns.get().max(volume.newest_version()));
        board.generation.set(volume.generation());
        board.oldest_dead_ns.set(figures.oldest_dead_ns.unwrap_or(0));
        metrics.oldest_dead_seconds.set(figures.oldest_dead_ns.map_or(0, timestamp));
        metrics.needles.set(figures.needles);
        metrics.extents.set(figures.extents);
        metrics.index_bytes.set(figures.index);
        metrics.index_slots.set(figures.index_slots);
        metrics.index_overflow.set(figures.index_overflow);
        let [steps, written, failed, discarded, damage] = &self.totals;
        let generation = volume.generation();
        metrics.index_steps.raise_to(steps.with(generation, figures.index_steps));
        metrics.index_step_max.set(figures.index_step_max);
        metrics.tail_bytes.set(figures.used - TRAILER);
        let checkpoint = figures.checkpoint;
        metrics.open_read_bytes.set(checkpoint.opened_read);
        metrics.checkpoint_tail_bytes.set(checkpoint.tail);
        metrics.checkpoint_age_bytes.set(checkpoint.age);
        metrics.checkpoint_ms.set(checkpoint.last_ns / 1_000_000);
        for (counter, total) in [
            (&metrics.checkpoints, written.with(generation, checkpoint.written)),
            (&metrics.checkpoint_failures, failed.with(generation, checkpoint.failed)),
            (&metrics.checkpoint_discards, discarded.with(generation, checkpoint.discarded)),
        ] {
            counter.raise_to(total);
        }
        let known = damage.with(generation, figures.damaged);
        metrics.damaged_records.raise_to(known + volume.stats().damaged_reads.get());
        let write_state = volume.write_state();
        board.write_state.set(shown(write_state));
        board.state.set(match write_state {
            WriteState::Fenced(FenceReason::FileLost) => VolumeState::Lost,
            WriteState::Poisoned(_) | WriteState::StateUnknown(_) => VolumeState::Poisoned,
            _ if volume.writable() => VolumeState::Writable,
            _ => VolumeState::ReadOnly,
        });
        let is_full = volume.is_full();
        board.full.set(u64::from(is_full));
        if is_full && volume.writable() {
            self.log_full(&volume, "the volume is full");
        }
    }

    /// Returns whether the file of the volume has lost its name.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        match &self.state {
            EntryState::Open(slot) | EntryState::Deleting(slot) => {
                slot.volume().write_state() == WriteState::Fenced(FenceReason::FileLost)
            }
            EntryState::FailedAndLost(_) => true,
            EntryState::Recovering | EntryState::Failed(_) => false,
        }
    }

    /// Logs once that a volume is full or that an upload did not fit.
    pub fn log_full(&self, volume: &Volume, what: &str) {
        if !self.is_full_logged.replace(true) {
            let figures = volume.figures();
            let advice = match figures.unavailable {
                0 => "Make another volume (hayloft volume create)",
                _ => "The disk has no space for the rest of the file: free some",
            };
            tracing::warn!(
                volume = volume.id().0,
                "{what}: {} of {} bytes are used; uploads that do not fit are answered with 507. {advice}",
                figures.used,
                figures.size
            );
        }
    }
}

/// Returns a time in nanoseconds as one in seconds that is not 0.
fn timestamp(ns: u64) -> u64 {
    (ns / 1_000_000_000).max(1)
}

/// Returns a write state as it is published, without its reason.
fn shown(state: WriteState) -> ShownWriteState {
    match state {
        WriteState::Writable => ShownWriteState::Writable,
        WriteState::Full => ShownWriteState::Full,
        WriteState::ReadOnly(_) => ShownWriteState::ReadOnly,
        WriteState::Fenced(_) => ShownWriteState::Fenced,
        WriteState::Poisoned(_) => ShownWriteState::Poisoned,
        WriteState::StateUnknown(_) => ShownWriteState::Unknown,
        WriteState::Closing => ShownWriteState::Closing,
        // A generation that is being built is not served, and one that is superseded no longer.
        WriteState::Closed | WriteState::Building | WriteState::Superseded => {
            ShownWriteState::Closed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_seconds_is_0_only_when_there_is_none() {
        assert_eq!(timestamp(1_700_000_000_999_999_999), 1_700_000_000);
        assert_eq!((timestamp(999_999_999), timestamp(1)), (1, 1));
    }
}
