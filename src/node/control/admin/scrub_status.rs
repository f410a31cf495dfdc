//! The scrubs of a volume as JSON, in the state of the volume. Times are in seconds since 1970.

use serde::Serialize;

use crate::node::board::ScrubBoard;

/// A scrub that waits or runs.
#[derive(Debug, Serialize)]
pub struct ScrubStatus {
    /// `waiting` or `running`.
    pub phase: &'static str,
    /// Bytes of the log that it has verified.
    pub done: u64,
    /// Bytes of the log that it has to verify.
    pub to_do: u64,
}

impl ScrubStatus {
    /// Returns the scrub of a volume, if one waits or runs.
    pub(super) fn of(board: &ScrubBoard) -> Option<Self> {
        let (is_running, is_requested) =
            (board.is_running.get() != 0, board.is_requested.get() != 0);
        match (is_running, is_requested) {
            (true, _) => Some(Self {
                phase: "running",
                done: board.done_bytes.get(),
                to_do: board.to_do_bytes.get(),
            }),
            (false, true) => Some(Self { phase: "waiting", done: 0, to_do: 0 }),
            (false, false) => None,
        }
    }
}

/// The last scrub of a volume that was completed since the daemon started.
#[derive(Debug, Serialize)]
pub struct LastScrub {
    /// When it began.
    pub began: u64,
    /// Bytes that it has read.
    pub read: u64,
    /// Live needles and tombstones that it has verified.
    pub needles: u64,
    /// Parts of large photos that it has verified.
    pub parts: u64,
    /// Errors that it has met and that went away.
    pub healed: u64,
    /// Whether it has compared the index with the log.
    pub index_compared: bool,
}

impl LastScrub {
    pub(super) fn of(board: &ScrubBoard) -> Option<Self> {
        (board.passes.get() > 0).then(|| Self {
            began: board.last_began_ns.get() / 1_000_000_000,
            read: board.last_read_bytes.get(),
            needles: board.last_needles.get(),
            parts: board.last_parts.get(),
            healed: board.last_healed.get(),
            index_compared: board.is_index_compared.get() != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrub_is_shown_while_it_waits_and_while_it_runs() {
        let board = ScrubBoard::default();
        assert!(ScrubStatus::of(&board).is_none() && LastScrub::of(&board).is_none());
        board.is_requested.set(1);
        board.done_bytes.set(7);
        let shown = ScrubStatus::of(&board).unwrap();
        assert_eq!((shown.phase, shown.done), ("waiting", 0), "figures are those of the last one");
        board.is_running.set(1);
        let shown = ScrubStatus::of(&board).unwrap();
        assert_eq!((shown.phase, shown.done), ("running", 7));
        board.passes.set(1);
        board.last_began_ns.set(3_999_999_999);
        assert_eq!(LastScrub::of(&board).unwrap().began, 3);
    }
}
