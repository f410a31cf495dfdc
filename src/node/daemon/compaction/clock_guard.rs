//! Which photos that have expired compactions may leave out. A clock that jumps ahead lets everything expire
//! at once, and must not destroy anything: it has to agree with the newest write that was found at the start.

use std::cell::Cell;

use super::now::Now;
use crate::base::sabotage::{Sabotage, chosen};
use crate::node::board::{Board, VolumeState};

/// What is known of the time apart from the wall clock.
pub struct ClockGuard {
    /// Start of the daemon.
    start: Now,
    /// Newest write found so far in a volume that was opened (nanoseconds since 1970); 0 for none.
    newest_found_ns: Cell<u64>,
    /// Wall clock at the start according to the newest write; 0 if it is not known.
    base_ns: Cell<u64>,
    /// Whether it is logged that the clock is ahead.
    is_logged: Cell<bool>,
}

impl ClockGuard {
    /// Creates a guard at the start of the daemon.
    pub fn new(start: Now) -> Self {
        Self {
            start,
            newest_found_ns: Cell::new(0),
            base_ns: Cell::new(0),
            is_logged: Cell::new(false),
        }
    }

    /// Returns the time before which a photo must have expired to be left out (nanoseconds since 1970); 0 for
    /// none, while the clock is further ahead than `grace_ns` (nanoseconds).
    pub fn drop_before(&self, board: &Board, now: Now, grace_ns: u64) -> u64 {
        self.observe(board, now);
        let elapsed_ns = now.monotonic_ns.saturating_sub(self.start.monotonic_ns);
        let is_plausible = match self.base_ns(board) {
            Some(base_ns) => {
                let latest = base_ns.saturating_add(elapsed_ns).saturating_add(grace_ns);
                now.wall_ns <= latest || chosen(Sabotage::TrustAnyClock)
            }
            None => return 0,
        };
        if !is_plausible && !self.is_logged.replace(true) {
            tracing::warn!(
                "the clock is ahead of the newest write found at the start by more than \
                 compaction.expiry_grace: compactions drop no photos that have expired; if the clock is \
                 right, restart the daemon once there are new writes"
            );
        }
        if is_plausible { now.wall_ns.saturating_sub(grace_ns) } else { 0 }
    }

    /// Takes note of the volumes that are open.
    fn observe(&self, board: &Board, now: Now) {
        let volumes = board.volumes();
        let newest = volumes.iter().map(|volume| volume.newest_found_ns.get()).max().unwrap_or(0);
        if newest > self.newest_found_ns.get() {
            self.newest_found_ns.set(newest);
            let elapsed_ns = now.monotonic_ns.saturating_sub(self.start.monotonic_ns);
            self.base_ns.set(self.base_ns.get().max(newest.saturating_sub(elapsed_ns)));
        }
    }

    /// Wall clock at the start, by the newest write. If all volumes were empty, by the clock: there was
    /// nothing that it could destroy. `None` while that is not known.
    fn base_ns(&self, board: &Board) -> Option<u64> {
        if self.base_ns.get() > 0 {
            return Some(self.base_ns.get());
        }
        let is_open = |state| !matches!(state, VolumeState::Recovering | VolumeState::Failed);
        let are_open = board.volumes().iter().all(|volume| is_open(volume.state.get()));
        are_open.then_some(self.start.wall_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::{ShardId, VolumeId};
    use crate::node::board::VolumeInfo;

    const HOUR: u64 = 3600 * 1_000_000_000;
    const DAY: u64 = 24 * HOUR;
    const WALL: u64 = 1_800_000_000_000_000_000;
    const START: Now = Now { monotonic_ns: 77, wall_ns: WALL };

    fn after(monotonic_ns: u64, wall_ns: u64) -> Now {
        Now { monotonic_ns: START.monotonic_ns + monotonic_ns, wall_ns }
    }

    /// A board with open volumes in which these newest writes were found.
    fn board(newest: &[u64]) -> std::sync::Arc<Board> {
        let board = Board::new(&[], Vec::new());
        for (n, newest) in newest.iter().enumerate() {
            let id = VolumeId(u32::try_from(n).unwrap());
            let info = VolumeInfo { id, shard: ShardId::from_index(0), disk: 0, durable: true };
            board.register_volume(info, VolumeState::Writable).newest_found_ns.set(*newest);
        }
        board
    }

    #[test]
    fn photos_are_dropped_after_the_grace() {
        let (guard, board) = (ClockGuard::new(START), board(&[WALL - 5 * DAY, WALL - HOUR, 0]));
        assert_eq!(guard.drop_before(&board, START, DAY), WALL - DAY);
        let later = after(100 * DAY, WALL + 100 * DAY);
        assert_eq!(guard.drop_before(&board, later, DAY), WALL + 99 * DAY);
        assert_eq!(guard.drop_before(&board, after(DAY, 5), DAY), 0, "the clock went back");
    }

    #[test]
    fn clock_that_is_ahead_of_the_newest_write_drops_nothing() {
        let (guard, board) = (ClockGuard::new(START), board(&[WALL - HOUR]));
        let ahead = |elapsed: u64, by: u64| after(elapsed, WALL - HOUR + elapsed + by);
        for elapsed in [0, HOUR, 50 * DAY] {
            assert_ne!(guard.drop_before(&board, ahead(elapsed, DAY), DAY), 0);
            assert_eq!(guard.drop_before(&board, ahead(elapsed, DAY + 1), DAY), 0);
            assert_eq!(guard.drop_before(&board, after(elapsed, u64::MAX), DAY), 0);
        }
        // New writes carry the time of the same clock.
        board.volumes()[0].newest_found_ns.set(WALL - HOUR);
        assert_eq!(guard.drop_before(&board, ahead(0, 2 * DAY), DAY), 0);
    }

    #[test]
    fn clock_that_is_ahead_at_the_start_drops_nothing() {
        let (guard, board) = (ClockGuard::new(START), board(&[WALL - 2 * DAY]));
        assert_eq!(guard.drop_before(&board, START, DAY), 0);
        assert_eq!(guard.drop_before(&board, after(9 * DAY, WALL + 9 * DAY), DAY), 0);
    }

    #[test]
    fn volume_opened_later_counts_from_then_on() {
        let (guard, board) = (ClockGuard::new(START), board(&[WALL - 2 * DAY, 0]));
        assert_eq!(guard.drop_before(&board, START, DAY), 0);
        board.volumes()[1].newest_found_ns.set(WALL - HOUR);
        let now = after(HOUR, WALL + HOUR);
        assert_ne!(guard.drop_before(&board, now, DAY), 0);
        assert_eq!(guard.drop_before(&board, after(HOUR, WALL + DAY + 1), DAY), 0);
    }

    #[test]
    fn clock_at_the_start_counts_only_if_all_volumes_were_empty() {
        let (guard, board) = (ClockGuard::new(START), board(&[0, 0]));
        let first = board.volumes()[0].clone();
        for state in [VolumeState::Recovering, VolumeState::Failed] {
            first.state.set(state);
            assert_eq!(guard.drop_before(&board, START, DAY), 0);
        }
        first.state.set(VolumeState::ReadOnly);
        assert_eq!(guard.drop_before(&board, after(DAY, WALL + DAY), DAY), WALL);
        assert_eq!(guard.drop_before(&board, after(DAY, WALL + 3 * DAY), DAY), 0);
    }
}
