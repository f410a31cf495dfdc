//! Compactions that have ended.

use std::rc::Rc;

use super::now::Now;
use super::queue::RunningJob;
use crate::base::size::rounded;
use crate::node::board::{CompactionEnd, CompactionOutcome, VolumeBoard};
use crate::node::daemon::manager::ManagerState;

impl ManagerState {
    /// Takes over the results of the compactions that have ended since the last call.
    pub(super) async fn collect_ends(self: &Rc<Self>) {
        let running = self.compaction.queue.borrow().all_running();
        for one in running.iter().filter(|running| running.is_begun) {
            let id = one.job.volume;
            let Some(board) = self.shared.board.volume(id) else {
                self.compaction.queue.borrow_mut().remove(id);
                continue;
            };
            if board.compaction.ended() <= one.ended_before {
                continue;
            }
            let end = board.compaction.last_end().expect("an end is recorded before it is counted");
            self.compaction.queue.borrow_mut().remove(id);
            self.take_over(one, &board, &end, (self.compaction.clock)());
            self.compaction.shown.set_job(id, None);
            if end.outcome == CompactionOutcome::Done && one.job.source != one.job.target {
                // The shards that have volumes on a disk share its operations.
                self.route(id, Some(board.info.shard)).await;
            }
        }
    }

    fn take_over(&self, one: &RunningJob, board: &VolumeBoard, end: &CompactionEnd, now: Now) {
        let (id, state) = (one.job.volume, &self.compaction);
        match end.outcome {
            CompactionOutcome::Done => self.take_over_file(one, board, now),
            CompactionOutcome::Cancelled => {
                state.with_history(id, now.monotonic_ns, |history| {
                    history.cancelled(now.monotonic_ns);
                });
            }
            CompactionOutcome::Failed => {
                state.with_history(id, now.monotonic_ns, |history| {
                    history.failed(now.monotonic_ns);
                });
            }
        }
        log(one, end);
    }

    /// Takes over the new file of a volume.
    fn take_over_file(&self, one: &RunningJob, board: &VolumeBoard, now: Now) {
        let (id, target) = (one.job.volume, one.job.target);
        let generation = board.generation.get();
        self.placement.borrow_mut().renew(id, target, generation);
        // What is dead now could not be removed, or died meanwhile.
        board.kept_bytes.set(board.dead_bytes.get());
        let keep_ns = self.config.compaction.tombstone_keep.nanos();
        let (began, used) = (board.compaction.began_ns.get(), board.used_bytes.get());
        self.compaction.with_history(id, now.monotonic_ns, |history| {
            history.compacted(began, used, keep_ns, now.monotonic_ns);
        });
    }
}

fn log(one: &RunningJob, end: &CompactionEnd) {
    let volume = one.job.volume.0;
    let CompactionEnd { outcome, reason, read_bytes, written_bytes, gained_bytes, .. } = end;
    match outcome {
        CompactionOutcome::Done => tracing::info!(
            volume,
            "compacted in {} s: {} read, {} written, {} freed; writes waited for {} ms at most",
            end.duration_ns / 1_000_000_000,
            rounded(*read_bytes),
            rounded(*written_bytes),
            rounded(*gained_bytes),
            end.gate_closed_max_ns / 1_000_000
        ),
        CompactionOutcome::Cancelled => {
            tracing::info!(
                volume,
                "the compaction was cancelled, the volume is as before: {reason}"
            );
        }
        CompactionOutcome::Failed => {
            tracing::error!(volume, "the compaction failed, the volume is as before: {reason}");
        }
    }
}
