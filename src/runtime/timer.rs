//! A hashed timing wheel (Varghese and Lauck, SOSP 1987). Arming and disarming take constant time however
//! many timers there are; nearly every timer here is disarmed before it fires.

use std::collections::VecDeque;

use slab::Slab;

/// Width of a tick (nanoseconds, a power of two). Timers fire up to one tick late and never early.
const TICK_NS: u64 = 1 << 22;
const BUCKETS: usize = 1024;
const NONE: u32 = u32::MAX;

/// Identifies a timer, also after it fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerKey {
    index: u32,
    serial: u64,
}

struct Entry<T> {
    serial: u64,
    tick: u64,
    prev: u32,
    next: u32,
    target: T,
}

/// Timers, each with a target that is returned when it fires.
pub struct Wheel<T> {
    entries: Slab<Entry<T>>,
    heads: Box<[u32; BUCKETS]>,
    occupied: [u64; BUCKETS / 64],
    /// Last tick that was processed.
    done: u64,
    armed: u64,
}

impl<T: Copy> Wheel<T> {
    /// Creates an empty wheel at time `now` (nanoseconds).
    pub fn new(now: u64) -> Self {
        Self {
            entries: Slab::new(),
            heads: Box::new([NONE; BUCKETS]),
            occupied: [0; BUCKETS / 64],
            done: now / TICK_NS,
            armed: 0,
        }
    }

    fn bucket(tick: u64) -> usize {
        usize::try_from(tick % BUCKETS as u64).expect("below the number of buckets")
    }

    /// Arms a timer for `deadline` (nanoseconds). A deadline in the past fires with the next tick.
    pub fn arm(&mut self, deadline: u64, target: T) -> TimerKey {
        let tick = deadline.div_ceil(TICK_NS).max(self.done + 1);
        let bucket = Self::bucket(tick);
        let next = self.heads[bucket];
        self.armed += 1;
        let serial = self.armed;
        let entry = Entry { serial, tick, prev: NONE, next, target };
        let index = u32::try_from(self.entries.insert(entry)).expect("fewer than 2^32 timers");
        if next != NONE {
            self.entries[next as usize].prev = index;
        }
        self.heads[bucket] = index;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
        TimerKey { index, serial }
    }

    /// Disarms a timer; does nothing when it has fired.
    pub fn disarm(&mut self, key: TimerKey) {
        let index = key.index as usize;
        if self.entries.get(index).is_some_and(|entry| entry.serial == key.serial) {
            self.unlink(index);
        }
    }

    fn unlink(&mut self, index: usize) {
        let entry = self.entries.remove(index);
        if entry.next != NONE {
            self.entries[entry.next as usize].prev = entry.prev;
        }
        if entry.prev == NONE {
            let bucket = Self::bucket(entry.tick);
            self.heads[bucket] = entry.next;
            if entry.next == NONE {
                self.occupied[bucket / 64] &= !(1 << (bucket % 64));
            }
        } else {
            self.entries[entry.prev as usize].next = entry.next;
        }
    }

    /// Advances the time to `now` (nanoseconds) and appends the targets of all due timers to `fired`.
    pub fn advance(&mut self, now: u64, fired: &mut VecDeque<T>) {
        let current = now / TICK_NS;
        let first = current.saturating_sub(BUCKETS as u64 - 1).max(self.done + 1);
        for tick in first..=current {
            let mut index = self.heads[Self::bucket(tick)];
            while index != NONE {
                let entry = &self.entries[index as usize];
                let (next, due, target) = (entry.next, entry.tick <= current, entry.target);
                if due {
                    fired.push_back(target);
                    self.unlink(index as usize);
                }
                index = next;
            }
        }
        self.done = self.done.max(current);
    }

    /// Time before which no timer fires (nanoseconds); `None` without timers. Exact within a revolution of
    /// the wheel.
    pub fn next(&self) -> Option<u64> {
        if self.entries.is_empty() {
            return None;
        }
        let first = Self::bucket(self.done + 1);
        let words = self.occupied.len();
        // The first word is checked twice: its lower bits come last.
        let distance = (0..=words).find_map(|n| {
            let index = (first / 64 + n) % words;
            let word = match n {
                0 => self.occupied[index] & (u64::MAX << (first % 64)),
                _ => self.occupied[index],
            };
            let bucket = index * 64 + word.trailing_zeros() as usize;
            (word != 0).then(|| (bucket + BUCKETS - first) % BUCKETS)
        })?;
        Some((self.done + 1 + distance as u64) * TICK_NS)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_timer_fires_once_and_never_early(
            deadlines in prop::collection::vec(0..200_000_000_000u64, 1..60),
            disarm in prop::collection::vec(any::<bool>(), 60),
            steps in prop::collection::vec(1..30_000_000_000u64, 1..40),
        ) {
            let mut wheel = Wheel::new(0);
            let keys: Vec<_> = deadlines.iter().enumerate().map(|(n, &d)| wheel.arm(d, n)).collect();
            let mut open: Vec<bool> = vec![true; deadlines.len()];
            for (n, key) in keys.iter().enumerate() {
                if disarm[n] {
                    wheel.disarm(*key);
                    open[n] = false;
                }
            }
            let mut now = 0;
            for step in steps.into_iter().chain([400_000_000_000]) {
                now += step;
                let mut fired = VecDeque::new();
                wheel.advance(now, &mut fired);
                for n in fired {
                    prop_assert!(open[n], "fired twice or after disarm");
                    prop_assert!(deadlines[n] <= now);
                    open[n] = false;
                }
                for (n, &open) in open.iter().enumerate() {
                    prop_assert!(!open || deadlines[n] + TICK_NS > now, "overdue");
                }
                if let Some(next) = wheel.next() {
                    prop_assert!(next > now);
                }
            }
            prop_assert_eq!(wheel.len(), 0);
            prop_assert_eq!(wheel.next(), None);
        }

        #[test]
        fn next_deadline_is_exact_within_a_wheel_revolution(
            start in 0..3 * BUCKETS as u64 * TICK_NS,
            delays in prop::collection::vec(1..(BUCKETS as u64 - 1) * TICK_NS, 1..20),
        ) {
            let mut wheel = Wheel::new(start);
            for delay in &delays {
                wheel.arm(start + delay, ());
            }
            let mut ticks: Vec<u64> =
                delays.iter().map(|delay| (start + delay).div_ceil(TICK_NS)).collect();
            ticks.sort_unstable();
            ticks.dedup();
            for tick in ticks {
                prop_assert_eq!(wheel.next(), Some(tick * TICK_NS));
                let mut fired = VecDeque::new();
                wheel.advance(tick * TICK_NS - 1, &mut fired);
                prop_assert!(fired.is_empty(), "too early");
                wheel.advance(tick * TICK_NS, &mut fired);
                prop_assert!(!fired.is_empty(), "too late");
            }
            prop_assert_eq!(wheel.next(), None);
        }
    }

    #[test]
    fn timers_of_a_bucket_are_disarmed_in_any_order() {
        // The timers after the first are in the same bucket, one or more revolutions of the wheel later.
        let turn = BUCKETS as u64 * TICK_NS;
        for first in 0..5 {
            for second in (0..5).filter(|second| *second != first) {
                let mut wheel = Wheel::new(0);
                let keys: Vec<_> = (0..5).map(|n| wheel.arm(5 * TICK_NS + n * turn, n)).collect();
                wheel.disarm(keys[first]);
                wheel.disarm(keys[second]);
                wheel.disarm(keys[first]);
                assert_eq!((wheel.len(), wheel.next()), (3, Some(5 * TICK_NS)));
                let mut fired = VecDeque::new();
                for n in 0..5 {
                    wheel.advance(5 * TICK_NS + n * turn, &mut fired);
                }
                let left = (0..5).filter(|n| *n != first as u64 && *n != second as u64);
                assert!(fired.iter().copied().eq(left), "{fired:?} without {first} and {second}");
                assert_eq!((wheel.len(), wheel.next()), (0, None));
            }
        }
    }

    #[test]
    fn stale_key_does_not_disarm_another_timer() {
        let mut wheel = Wheel::new(0);
        let old = wheel.arm(TICK_NS, 1);
        wheel.disarm(old);
        let new = wheel.arm(TICK_NS, 2);
        wheel.disarm(old);
        assert_eq!(wheel.len(), 1, "another timer uses the slot");
        wheel.disarm(new);
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn deadline_in_the_past_fires_at_the_next_tick() {
        let mut wheel = Wheel::new(10 * TICK_NS);
        wheel.arm(3 * TICK_NS, ());
        assert_eq!(wheel.next(), Some(11 * TICK_NS));
        let mut fired = VecDeque::new();
        wheel.advance(5 * TICK_NS, &mut fired);
        assert_eq!(wheel.next(), Some(11 * TICK_NS), "time does not go back");
        // Much later than a revolution of the wheel.
        wheel.advance(5000 * TICK_NS, &mut fired);
        assert_eq!(fired.len(), 1);
    }
}
