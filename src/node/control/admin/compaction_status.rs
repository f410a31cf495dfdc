//! The compaction of a volume as JSON, in the state of the volume. Sizes are in bytes.

use serde::Serialize;

use crate::base::types::VolumeId;
use crate::node::board::{CompactionOutcome, VolumeBoard};
use crate::node::control::{CompactionJob, Compactions};
use crate::node::label::Label;

/// Name of the phase of a compaction that has not begun.
const WAITING: &str = "waiting";

/// A compaction that waits or runs.
#[derive(Debug, Serialize)]
pub struct CompactionStatus {
    /// `waiting`, `copying`, `catching_up`, `verifying`, `swapping` or `removing`.
    pub phase: &'static str,
    /// Who asked for it: `operator` or `policy`.
    pub by: &'static str,
    /// The volume whose compaction must end first; null if none must.
    pub behind: Option<VolumeId>,
    /// Position of the data directory of the new file.
    pub disk: u32,
    /// Size of the new file.
    pub size: u64,
    /// Bytes of the old file that were read, or skipped as gaps.
    pub read: u64,
    /// Bytes to read in total, as far as known.
    pub to_read: u64,
    /// Bytes written to the new file.
    pub written: u64,
    /// Bytes read per second since it began.
    pub rate: u64,
    /// Bytes that it is expected to free inside the file.
    pub expected_gain: u64,
    /// Seconds since it began.
    pub seconds: u64,
}

impl CompactionStatus {
    /// Returns the compaction of a volume at `wall_ns` (nanoseconds since 1970), if one waits or runs.
    pub(super) fn of(compactions: &Compactions, board: &VolumeBoard, wall_ns: u64) -> Option<Self> {
        let job = compactions.job(board.info.id)?;
        let shown = &board.compaction;
        let phase = match job.is_begun {
            false => return Some(Self::waiting(&job)),
            // It has ended, which the main thread will notice soon.
            true if !shown.is_running() => return None,
            true => shown.phase.get().name(),
        };
        let ns = wall_ns.saturating_sub(shown.began_ns.get());
        let read = shown.read_bytes.get();
        let rate = u128::from(read) * 1_000_000_000 / u128::from(ns.max(1));
        Some(Self {
            phase,
            read,
            to_read: shown.to_read_bytes.get(),
            written: shown.written_bytes.get(),
            rate: u64::try_from(rate).unwrap_or(u64::MAX),
            seconds: ns / 1_000_000_000,
            ..Self::waiting(&job)
        })
    }

    fn waiting(job: &CompactionJob) -> Self {
        Self {
            phase: WAITING,
            by: job.origin.name(),
            behind: job.waits_for,
            disk: job.disk,
            size: job.size,
            read: 0,
            to_read: 0,
            written: 0,
            rate: 0,
            expected_gain: job.expected_gain,
            seconds: 0,
        }
    }
}

/// The last compaction of a volume that ended since the daemon started.
#[derive(Debug, Serialize)]
pub struct LastCompaction {
    /// `done`, `cancelled` or `failed`.
    pub outcome: &'static str,
    /// Why it was cancelled or failed, as one sentence; empty if it is done.
    pub reason: String,
    /// Bytes read from the old file.
    pub read: u64,
    /// Bytes written to the new file.
    pub written: u64,
    /// Bytes freed inside the file.
    pub gained: u64,
    /// Duration (seconds).
    pub seconds: f64,
    /// Longest time that writes to the volume had to wait for it (milliseconds).
    pub gate_closed_ms: f64,
}

/// Returns the number of compactions of a volume that have ended since the daemon started, and the last one.
pub(super) fn ended(
    compactions: &Compactions,
    board: &VolumeBoard,
) -> (u64, Option<LastCompaction>) {
    let (not_begun, last_not_begun) = compactions.not_begun(board.info.id);
    // The number first: the end that is returned is at least as new.
    let begun = board.compaction.ended();
    let (count, end) = (begun + not_begun, board.compaction.last_end());
    if let Some(last) = last_not_begun.filter(|last| last.after >= begun) {
        return (count, Some(unbegun(last.outcome, last.reason)));
    }
    let last = end.map(|end| LastCompaction {
        outcome: end.outcome.name(),
        reason: end.reason,
        read: end.read_bytes,
        written: end.written_bytes,
        gained: end.gained_bytes,
        seconds: end.duration_ns as f64 / 1e9,
        gate_closed_ms: end.gate_closed_max_ns as f64 / 1e6,
    });
    (count, last)
}

fn unbegun(outcome: CompactionOutcome, reason: String) -> LastCompaction {
    let outcome = outcome.name();
    let (read, written, gained) = (0, 0, 0);
    LastCompaction { outcome, reason, read, written, gained, seconds: 0.0, gate_closed_ms: 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::ShardId;
    use crate::node::board::{CompactionEnd, ShownCompaction, VolumeInfo, VolumeState};
    use crate::node::control::{CompactionOrigin, NotBegun};

    const ID: VolumeId = VolumeId(3);
    const SECOND: u64 = 1_000_000_000;

    fn board() -> VolumeBoard {
        let info = VolumeInfo { id: ID, shard: ShardId::from_index(0), disk: 0, durable: true };
        VolumeBoard::new(info, VolumeState::Writable)
    }

    fn job(is_begun: bool) -> CompactionJob {
        CompactionJob {
            origin: CompactionOrigin::Policy,
            is_begun,
            waits_for: (!is_begun).then_some(VolumeId(1)),
            disk: 1,
            size: 9,
            expected_gain: 5,
        }
    }

    #[test]
    fn compaction_waits_runs_and_ends() {
        let (compactions, board) = (Compactions::default(), board());
        let now = |seconds: u64| CompactionStatus::of(&compactions, &board, seconds * SECOND);
        assert!(now(100).is_none());
        compactions.set_job(ID, Some(job(false)));
        let waiting = now(100).expect("it waits");
        assert_eq!(
            (waiting.phase, waiting.by, waiting.behind),
            ("waiting", "policy", Some(VolumeId(1)))
        );
        compactions.set_job(ID, Some(job(true)));
        board.compaction.begin(100 * SECOND, 1000);
        board.compaction.read_bytes.set(400);
        board.compaction.phase.set(ShownCompaction::CatchingUp);
        let running = now(102).expect("it runs");
        assert_eq!((running.phase, running.behind, running.disk), ("catching_up", None, 1));
        assert_eq!((running.read, running.to_read, running.rate), (400, 1000, 200));
        assert_eq!((running.seconds, running.expected_gain), (2, 5));
        assert_eq!(now(0).map(|it| it.seconds), Some(0), "the clock was set back");
        board.compaction.phase.set(ShownCompaction::None);
        assert!(now(103).is_none(), "it has ended");
    }

    #[test]
    fn last_end_is_the_latest_of_both_kinds() {
        let (compactions, board) = (Compactions::default(), board());
        let outcome = || {
            let (count, last) = ended(&compactions, &board);
            (count, last.map(|last| (last.outcome, last.reason)))
        };
        assert_eq!(outcome(), (0, None));
        let end = |outcome| CompactionEnd {
            outcome,
            reason: String::new(),
            read_bytes: 0,
            written_bytes: 0,
            gained_bytes: 0,
            duration_ns: 0,
            gate_closed_ns: 0,
            gate_closed_max_ns: 0,
        };
        board.compaction.end(end(CompactionOutcome::Done));
        assert_eq!(outcome(), (1, Some(("done", String::new()))));
        let refused = NotBegun {
            outcome: CompactionOutcome::Failed,
            reason: "No room.".to_owned(),
            after: board.compaction.ended(),
        };
        compactions.end_unbegun(ID, refused);
        assert_eq!(outcome(), (2, Some(("failed", "No room.".to_owned()))));
        board.compaction.end(end(CompactionOutcome::Cancelled));
        assert_eq!(outcome(), (3, Some(("cancelled", String::new()))));
    }
}
