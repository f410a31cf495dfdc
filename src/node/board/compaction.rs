//! The compaction of a volume on the board.

use std::sync::{Mutex, PoisonError};

use super::cell::{Level, StateCell};
use crate::node::label::label_enum;

label_enum! {
    /// Phase of the compaction of a volume.
    pub enum ShownCompaction: "phase" {
        /// The volume is not being compacted.
        None = "none",
        /// What lives is copied into the next generation of the file.
        Copying = "copying",
        /// What was written since is copied.
        CatchingUp = "catching_up",
        /// The new file is read back.
        Verifying = "verifying",
        /// Writes wait, and the new file takes the place of the old one.
        Swapping = "swapping",
        /// The old file is removed.
        Removing = "removing",
    }
}

label_enum! {
    /// How a compaction ended.
    pub enum CompactionOutcome: "outcome" {
        /// The new file has taken the place of the old one.
        Done = "done",
        /// An operator, a deletion of the volume or the end of the daemon ended it: the volume is as before.
        Cancelled = "cancelled",
        /// It could not be completed: the volume is as before.
        Failed = "failed",
    }
}

/// The end of a compaction. Bytes and nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionEnd {
    /// How it ended.
    pub outcome: CompactionOutcome,
    /// Why it was cancelled or failed, as one sentence; empty if it is done.
    pub reason: String,
    /// Bytes read from the old file.
    pub read_bytes: u64,
    /// Bytes written to the new file.
    pub written_bytes: u64,
    /// Bytes of the log that the new file needs less than the old one.
    pub gained_bytes: u64,
    /// Time from its begin to its end.
    pub duration_ns: u64,
    /// Time that writes had to wait at the gate, in all attempts to swap.
    pub gate_closed_ns: u64,
    /// The longest of these times.
    pub gate_closed_max_ns: u64,
}

/// The compaction of a volume. The volume's shard is the only writer.
#[derive(Debug)]
pub struct CompactionBoard {
    /// Present phase.
    pub phase: StateCell<ShownCompaction>,
    /// Bytes of the old file that were read, or skipped as gaps.
    pub read_bytes: Level,
    /// Bytes to read in total, as far as known.
    pub to_read_bytes: Level,
    /// Bytes written to the new file.
    pub written_bytes: Level,
    /// Wall clock of its begin (nanoseconds since 1970).
    pub began_ns: Level,
    /// Number of compactions of the volume that have ended since the daemon started.
    ended: Level,
    last_end: Mutex<Option<CompactionEnd>>,
}

impl Default for CompactionBoard {
    fn default() -> Self {
        Self {
            phase: StateCell::new(ShownCompaction::None),
            read_bytes: Level::default(),
            to_read_bytes: Level::default(),
            written_bytes: Level::default(),
            began_ns: Level::default(),
            ended: Level::default(),
            last_end: Mutex::default(),
        }
    }
}

impl CompactionBoard {
    /// Whether the volume is being compacted.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.phase.get() != ShownCompaction::None
    }

    /// Records the begin of a compaction at `wall_ns` (nanoseconds since 1970) that has `to_read` bytes to
    /// read.
    pub fn begin(&self, wall_ns: u64, to_read: u64) {
        self.read_bytes.set(0);
        self.to_read_bytes.set(to_read);
        self.written_bytes.set(0);
        self.began_ns.set(wall_ns);
        self.phase.set(ShownCompaction::Copying);
    }

    /// Records the end of a compaction. Everything else that it changed on the board must be set before.
    pub fn end(&self, end: CompactionEnd) {
        // A panic under this lock cannot leave an incomplete record.
        let mut last = self.last_end.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(end);
        self.phase.set(ShownCompaction::None);
        // Under the lock: whoever sees the new number gets the new record.
        self.ended.set(self.ended.get() + 1);
    }

    /// Number of compactions of the volume that have ended since the daemon started.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended.get()
    }

    /// The last end, if there was one since the daemon started.
    #[must_use]
    pub fn last_end(&self) -> Option<CompactionEnd> {
        self.last_end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_counted_and_the_last_one_kept() {
        let board = CompactionBoard::default();
        assert_eq!((board.is_running(), board.ended(), board.last_end()), (false, 0, None));
        let mut end = CompactionEnd {
            outcome: CompactionOutcome::Done,
            reason: String::new(),
            read_bytes: 30,
            written_bytes: 10,
            gained_bytes: 20,
            duration_ns: 5,
            gate_closed_ns: 3,
            gate_closed_max_ns: 2,
        };
        for ended in 1..=2 {
            board.begin(77, 30);
            board.read_bytes.set(4);
            assert_eq!((board.phase.get(), board.began_ns.get()), (ShownCompaction::Copying, 77));
            end.read_bytes += 1;
            board.end(end.clone());
            assert_eq!((board.is_running(), board.ended()), (false, ended));
            assert_eq!(board.last_end().as_ref(), Some(&end));
        }
        board.begin(78, 40);
        assert_eq!((board.read_bytes.get(), board.to_read_bytes.get()), (0, 40));
        assert_eq!(board.ended(), 2, "the number stays while one runs");
    }
}
