//! The progress of a compaction on the board.

use crate::node::board::{CompactionBoard, ShownCompaction};
use crate::volume::{CompactionPhase, CompactionProgress};

/// Shows the progress of a compaction on the board.
pub fn show(progress: CompactionProgress, board: &CompactionBoard) {
    let phase = match progress.phase {
        // The end is recorded by the task itself.
        CompactionPhase::None => return,
        CompactionPhase::Copying => ShownCompaction::Copying,
        CompactionPhase::CatchingUp => ShownCompaction::CatchingUp,
        CompactionPhase::Verifying => ShownCompaction::Verifying,
        CompactionPhase::Swapping => ShownCompaction::Swapping,
        CompactionPhase::Removing => ShownCompaction::Removing,
    };
    board.phase.set(phase);
    board.read_bytes.set(progress.done);
    board.to_read_bytes.set(progress.total);
    board.written_bytes.set(progress.written);
}
