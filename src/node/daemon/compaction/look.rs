//! The regular look at the volumes: compactions that have ended or may begin, and the policy.

use std::rc::Rc;

use super::now::Now;
use super::policy::{DiskFigures, PolicyRules, VolumeFigures};
use crate::base::types::VolumeId;
use crate::node::board::{CompactionOutcome, DiskBoard, VolumeBoard, VolumeState};
use crate::node::config::{CompactionPolicy, TimeSpan};
use crate::node::control::{CompactionOrigin, WantedCompaction};
use crate::node::daemon::manager::ManagerState;

/// Interval between two evaluations of the policy (nanoseconds); also the time from the start of the daemon
/// to the first one.
const EVALUATE_EVERY_NS: u64 = 60_000_000_000;

impl ManagerState {
    /// Looks at the volumes: takes over compactions that have ended, begins those that waited for them, and
    /// evaluates the policy when it is time. Does nothing while another look is under way.
    pub(in crate::node::daemon) async fn look(self: Rc<Self>) {
        if self.compaction.is_looking.replace(true) {
            return;
        }
        let now = (self.compaction.clock)();
        self.show_reserves();
        self.collect_ends().await;
        self.begin_waiting().await;
        let due = self.compaction.evaluate_at.get();
        if due.is_none_or(|due| now.monotonic_ns >= due) {
            self.compaction.evaluate_at.set(Some(now.monotonic_ns + EVALUATE_EVERY_NS));
        }
        if due.is_some_and(|due| now.monotonic_ns >= due) && !self.shared.board.draining() {
            self.evaluate(now).await;
            self.create_ahead(now);
        }
        self.compaction.is_looking.set(false);
    }

    /// Begins all compactions that wait for nothing any more.
    async fn begin_waiting(&self) {
        let waiting = self.compaction.queue.borrow().all_waiting();
        for job in waiting {
            let (id, queue) = (job.volume, &self.compaction.queue);
            let is_free = {
                let queue = queue.borrow();
                // It may have been cancelled while another one began.
                queue.waiting(id).is_some() && queue.blocker(&job).is_none()
            };
            if self.compaction.is_paused.get() || !is_free {
                if queue.borrow().waiting(id).is_some() {
                    self.show_compaction(&job, false);
                }
                continue;
            }
            if let Err(refused) = self.begin_compaction(id).await {
                tracing::warn!(volume = id.0, "{refused}");
                self.end_unbegun(id, CompactionOutcome::Failed, refused.to_string());
            }
        }
    }

    /// Evaluates the policy, and begins what it wants as far as the data directories are free. The rest is
    /// decided anew next time.
    async fn evaluate(self: &Rc<Self>, now: Now) {
        let rules = self.policy_rules(now);
        let (volumes, disks) = (self.volume_figures(now), self.disk_figures());
        for volume in &volumes {
            if let Some(board) = self.shared.board.volume(volume.id) {
                board.erase_overdue.set(u64::from(rules.is_overdue(volume)));
            }
        }
        let is_on = self.config.compaction.policy == CompactionPolicy::Auto;
        if !is_on || self.compaction.is_paused.get() {
            return;
        }
        for id in rules.candidates(&volumes, &disks) {
            if !self.begin_by_policy(id).await {
                self.compaction.with_history(id, now.monotonic_ns, |history| {
                    history.failed(now.monotonic_ns);
                });
            }
        }
    }

    /// Begins a compaction that the policy wants, if its data directory is free. Returns false if it was
    /// refused.
    async fn begin_by_policy(&self, id: VolumeId) -> bool {
        let wanted = WantedCompaction::default();
        let Ok(job) = self.compaction_job(id, wanted, CompactionOrigin::Policy) else {
            return false;
        };
        {
            let mut queue = self.compaction.queue.borrow_mut();
            // An operator may have requested it since the figures were read.
            if queue.has(id) || queue.blocker(&job).is_some() {
                return true;
            }
            queue.add(job);
        }
        self.show_compaction(&job, false);
        match self.begin_compaction(id).await {
            Ok(()) => true,
            Err(refused) => {
                tracing::warn!(volume = id.0, "not compacted by the policy: {refused}");
                false
            }
        }
    }

    fn policy_rules(&self, now: Now) -> PolicyRules {
        let config = &self.config.compaction;
        let hours = config.hours.value();
        PolicyRules {
            share: config.garbage_share.fraction(),
            share_when_full: config.garbage_share_when_full.fraction(),
            erase_within_ns: config.erase_within.value().map(TimeSpan::nanos),
            is_open: hours.is_none_or(|hours| hours.contains(now.wall_ns / 1_000_000_000)),
            wall_ns: now.wall_ns,
        }
    }

    fn volume_figures(&self, now: Now) -> Vec<VolumeFigures> {
        let drop_before = self.drop_expired_before(now);
        let boards = self.shared.board.volumes();
        boards
            .iter()
            .map(|board| {
                // The shard counts by it from now on.
                board.drop_expired_before_ns.set(drop_before);
                self.figures_of(board, now)
            })
            .collect()
    }

    fn figures_of(&self, board: &VolumeBoard, now: Now) -> VolumeFigures {
        let id = board.info.id;
        let is_busy =
            self.compaction.queue.borrow().has(id) || self.changing.borrow().contains(&id);
        let used = board.used_bytes.get();
        let monotonic = now.monotonic_ns;
        let (idle_ns, is_paused, compacted_ns, is_kept_over) =
            self.compaction.with_history(id, monotonic, |history| {
                let idle_ns = history.observe(used, monotonic);
                let is_paused = history.is_paused(monotonic);
                (idle_ns, is_paused, history.compacted_wall_ns, history.is_kept_over(monotonic))
            });
        if is_kept_over {
            board.kept_bytes.set(0);
        }
        VolumeFigures {
            id,
            disk: usize::try_from(board.disk.get()).expect("a position in a list"),
            state: board.state.get(),
            size: board.size_bytes.get(),
            live: board.live_bytes.get(),
            dead: board.dead_bytes.get(),
            reclaimable: board.reclaimable_bytes(),
            oldest_dead_ns: board.oldest_dead_ns.get(),
            compacted_ns,
            idle_ns,
            is_blocked: is_busy || is_paused || board.health.suspect.get() != 0,
        }
    }

    fn disk_figures(&self) -> Vec<DiskFigures> {
        let board = &self.shared.board;
        let volumes = board.volumes();
        let figures = |(position, disk): (usize, &DiskBoard)| {
            let there = volumes.iter().filter(|volume| {
                volume.disk.get() == position as u64 && volume.state.get() == VolumeState::Writable
            });
            let room = there.map(|volume| volume.room()).sum();
            DiskFigures { size: disk.size_bytes.get(), free: disk.free_bytes.get(), room }
        };
        board.disks.iter().enumerate().map(figures).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::daemon::bench::with_stores;

    #[test]
    fn room_of_a_disk_is_that_of_its_writable_volumes() {
        with_stores(
            2,
            &[(1, 0), (2, 0), (3, 1)],
            |_| (),
            async |bench| {
                for (id, size) in [(1, 100), (2, 30), (3, 7)] {
                    bench.board(id).size_bytes.set(size);
                }
                let rooms = || -> Vec<u64> {
                    bench.state.disk_figures().iter().map(|disk| disk.room).collect()
                };
                assert_eq!(rooms(), [130, 7]);
                bench.board(2).state.set(VolumeState::ReadOnly);
                assert_eq!(rooms(), [100, 7]);
                bench.board(1).disk.set(1);
                assert_eq!(rooms(), [0, 107]);
            },
        );
    }
}
