//! When passes are due.

use std::rc::Rc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::base::types::VolumeId;
use crate::runtime::KeyLocks;
use crate::runtime::op::DirId;

/// Time by which the wall clock may have been ahead when a pass was recorded (nanoseconds): a day. What was
/// recorded further in the future does not count.
const CLOCK_AHEAD_NS: u64 = 86_400_000_000_000;

/// How a volume is scrubbed.
#[derive(Clone)]
pub struct ScrubPlan {
    /// Time from the begin of a pass to the begin of the next one (nanoseconds); 0: only on request.
    pub interval_ns: u64,
    /// Held during a pass: one volume of the shard at a time in each data directory.
    pub turns: Rc<KeyLocks<DirId>>,
    /// Called when a pass has ended, and when something was found.
    pub on_end: Rc<dyn Fn()>,
}

impl ScrubPlan {
    /// Returns when the next pass over a volume is due (nanoseconds since 1970); `None`: only on request.
    /// `known` are times at which everything in it was right. Passes begin at fixed times, which are drawn
    /// from the ids of store and volume: they do not move with the starts of the daemon, and two replicas
    /// do not scrub at the same time.
    #[must_use]
    pub fn due_at(
        &self,
        store: [u8; 16],
        volume: VolumeId,
        known: &[u64],
        now: u64,
    ) -> Option<u64> {
        if self.interval_ns == 0 {
            return None;
        }
        let latest = now.saturating_add(CLOCK_AHEAD_NS);
        let possible = known.iter().copied().filter(|time| *time <= latest);
        let last = possible.max().unwrap_or(0);
        let phase = xxh3_64_with_seed(&store, volume.0.into()) % self.interval_ns;
        let since = last.saturating_sub(phase) / self.interval_ns;
        let number = since + u64::from(last >= phase);
        Some(phase.saturating_add(number.saturating_mul(self.interval_ns)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::Runtime;
    use crate::runtime::buffer::{Pool, Region};
    use crate::runtime::sim::World;
    use crate::runtime::sim::disk::Image;

    const DAY: u64 = 86_400_000_000_000;

    fn plan(interval_ns: u64) -> ScrubPlan {
        let driver = World::new(1, &Image::default()).driver();
        let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
        let runtime = Runtime::new(&driver, pool, || 7);
        let turns = Rc::new(KeyLocks::new(runtime.handle()));
        ScrubPlan { interval_ns, turns, on_end: Rc::new(|| ()) }
    }

    proptest! {
        #[test]
        fn passes_begin_at_fixed_times_that_are_an_interval_apart(
            (store, volume) in (any::<[u8; 16]>(), any::<u32>()),
            (interval, last) in (1u64..100, 0u64..30_000),
        ) {
            let (plan, volume, last) = (plan(interval * DAY), VolumeId(volume), last * DAY);
            let due = |last| plan.due_at(store, volume, &[0, last], last + DAY).unwrap();
            let next = due(last);
            prop_assert!(next > last && next <= last + interval * DAY, "{} after {}", next, last);
            prop_assert_eq!(due(next), next + interval * DAY);
            prop_assert_eq!(due(next + DAY / 2 * u64::from(interval > 1)), next + interval * DAY);
            prop_assert_eq!(due(next - 1), next);
        }
    }

    #[test]
    fn times_of_a_clock_that_was_far_ahead_do_not_count() {
        let (plan, volume) = (plan(24 * DAY), VolumeId(3));
        let now = 20_000 * DAY;
        let due = |known: &[u64]| plan.due_at([1; 16], volume, known, now).unwrap();
        assert!(due(&[now + 2 * DAY]) <= 24 * DAY, "it is not known when it was right");
        assert!(due(&[now + DAY]) > now);
        let soon = due(&[now]);
        assert!(soon > now, "a pass that was made now counts beside a time in the future");
        assert_eq!(due(&[now, now + 2 * DAY]), soon);
    }

    #[test]
    fn the_last_time_of_the_clock_is_possible() {
        let plan = plan(3650 * DAY);
        for now in [0, u64::MAX - DAY, u64::MAX] {
            for last in [0, now, u64::MAX] {
                assert!(plan.due_at([1; 16], VolumeId(1), &[last], now).is_some());
            }
        }
    }

    #[test]
    fn volumes_begin_at_different_times_and_without_an_interval_never() {
        let due = |volume| {
            plan(24 * DAY).due_at([1; 16], VolumeId(volume), &[20_000 * DAY], 20_000 * DAY)
        };
        let mut times: Vec<_> = (0..100).map(due).collect();
        times.sort_unstable();
        times.dedup();
        assert!(times.len() > 90, "{} different times", times.len());
        assert_eq!(plan(0).due_at([1; 16], VolumeId(1), &[], 20_000 * DAY), None);
    }
}
