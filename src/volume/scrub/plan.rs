//! When passes are due.

use std::rc::Rc;

use xxhash_rust::xxh3::xxh3_64;

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
    /// Returns when the next pass over a volume is due (nanoseconds since 1970), whose last one began at
    /// `last`; `None`: only on request. Passes begin at fixed times, which are drawn from the ids of store
    /// and volume: they do not move with the starts of the daemon, and two replicas do not scrub at the
    /// same time.
    #[must_use]
    pub fn due_at(&self, store: [u8; 16], volume: VolumeId, last: u64, now: u64) -> Option<u64> {
        if self.interval_ns == 0 {
            return None;
        }
        if last > now.saturating_add(CLOCK_AHEAD_NS) {
            return Some(now);
        }
        let mut drawn = [0; 20];
        drawn[..16].copy_from_slice(&store);
        drawn[16..].copy_from_slice(&volume.0.to_le_bytes());
        let phase = xxh3_64(&drawn) % self.interval_ns;
        let since = last.saturating_sub(phase) / self.interval_ns;
        let next = phase + (since + u64::from(last >= phase)) * self.interval_ns;
        Some(next)
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
            let due = |last| plan.due_at(store, volume, last, last + DAY).unwrap();
            let next = due(last);
            prop_assert!(next > last && next <= last + interval * DAY, "{} after {}", next, last);
            prop_assert_eq!(due(next), next + interval * DAY);
            prop_assert_eq!(due(next + DAY / 2 * u64::from(interval > 1)), next + interval * DAY);
            prop_assert_eq!(due(next - 1), next);
        }
    }

    #[test]
    fn clock_that_was_far_ahead_does_not_put_the_next_pass_off() {
        let (plan, volume) = (plan(24 * DAY), VolumeId(3));
        let now = 20_000 * DAY;
        assert_eq!(plan.due_at([1; 16], volume, now + 2 * DAY, now), Some(now));
        assert!(plan.due_at([1; 16], volume, now + DAY, now) > Some(now));
    }

    #[test]
    fn volumes_begin_at_different_times_and_without_an_interval_never() {
        let due =
            |volume| plan(24 * DAY).due_at([1; 16], VolumeId(volume), 20_000 * DAY, 20_000 * DAY);
        let mut times: Vec<_> = (0..100).map(due).collect();
        times.sort_unstable();
        times.dedup();
        assert!(times.len() > 90, "{} different times", times.len());
        assert_eq!(plan(0).due_at([1; 16], VolumeId(1), 0, 20_000 * DAY), None);
    }
}
