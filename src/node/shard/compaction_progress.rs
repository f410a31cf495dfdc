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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phase_and_bytes_are_shown_until_the_compaction_has_ended() {
        let board = CompactionBoard::default();
        board.begin(1, 10);
        let phase = CompactionPhase::CatchingUp;
        let progress = CompactionProgress {
            phase,
            done: 20,
            total: 30,
            read: 25,
            written: 5,
            ..Default::default()
        };
        let shown = || {
            let bytes = [&board.read_bytes, &board.to_read_bytes, &board.written_bytes];
            (board.phase.get(), bytes.map(|level| level.get()))
        };
        show(progress, &board);
        assert_eq!(shown(), (ShownCompaction::CatchingUp, [20, 30, 5]));
        show(CompactionProgress::default(), &board);
        assert_eq!(shown(), (ShownCompaction::CatchingUp, [20, 30, 5]), "its task shows the end");
    }
}
