//! Disks whose reads take too long.

use std::sync::Arc;

use super::disk_speed::{SIBLINGS_RATIO, Slow, slowness};
use crate::node::board::VolumeBoard;
use crate::node::daemon::manager::ManagerState;

/// Time after which a read of a random needle hangs (nanoseconds).
const HANGS_NS: u64 = 10_000_000_000;

impl ManagerState {
    /// Looks at how long the reads of the disks take.
    pub(super) fn look_at_speed(&self, volumes: &[Arc<VolumeBoard>], now: u64) {
        let mut disks = self.health.disks.borrow_mut();
        for (number, disk) in disks.iter_mut().enumerate() {
            disk.speed.add(now, self.shared.read_p99_ns(number, now));
        }
        let p99s: Vec<Option<u64>> = disks.iter().map(|disk| disk.speed.p99()).collect();
        let hangs = |number: usize| {
            let there = volumes.iter().filter(|volume| volume.disk_position() == number);
            let mut began = there.map(|volume| volume.health.probe_began_ns.get());
            began.any(|began| began > 0 && now.saturating_sub(began) > HANGS_NS)
        };
        let bound = self.config.health.slow_read_ns();
        for (number, board) in self.shared.board.disks.iter().enumerate() {
            board.read_p99_ns.set(p99s[number].unwrap_or(0));
            let why = slowness(&p99s, number, bound, hangs(number));
            let was_slow = board.slow.get() != 0;
            board.slow.set(u64::from(why.is_some()));
            match why {
                Some(why) if !was_slow => {
                    let ms = p99s[number].unwrap_or(0) / 1_000_000;
                    let what = match why {
                        Slow::Hangs => "a read has not ended for 10 s".to_owned(),
                        Slow::BeyondBound => format!(
                            "1 of 100 reads takes more than {ms} ms, over five minutes; the bound is {} ms \
                             (health.slow_read_ms)",
                            self.config.health.slow_read_ms
                        ),
                        Slow::BeyondSiblings => format!(
                            "1 of 100 reads takes more than {ms} ms, over five minutes: {SIBLINGS_RATIO} \
                             times as long as on the other disks"
                        ),
                    };
                    tracing::error!("the disk of {} is slow: {what}", board.path);
                }
                None if was_slow => {
                    tracing::info!("the disk of {} is not slow any more", board.path)
                }
                _ => {}
            }
        }
    }
}
