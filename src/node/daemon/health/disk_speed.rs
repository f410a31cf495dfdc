//! How long the reads of a disk take, and whether that is too long.

use std::collections::VecDeque;

/// Time over which the reads of a disk are judged (nanoseconds).
const WINDOW_NS: u64 = 300_000_000_000;
/// Seconds of this time in which there must have been reads.
const SAMPLES_MIN: usize = 60;
/// How many times as long as on the other disks of the node the reads of a disk take if it is slow.
pub(super) const SIBLINGS_RATIO: u64 = 5;
/// Time up to which reads are not slow, however fast the other disks are (nanoseconds).
const FAST_NS: u64 = 20_000_000;

/// How long the reads of a disk have taken within five minutes: the 99th percentile, once a second.
#[derive(Debug, Default)]
pub(super) struct DiskSpeed {
    /// Time of each sample, and its value (both in nanoseconds).
    samples: VecDeque<(u64, u64)>,
}

impl DiskSpeed {
    /// Adds a sample at `now`; `None` if there were no reads.
    pub fn add(&mut self, now: u64, p99: Option<u64>) {
        let is_old = |(time, _): &(u64, u64)| now.saturating_sub(*time) > WINDOW_NS;
        while self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
        self.samples.extend(p99.map(|p99| (now, p99)));
    }

    /// Returns the median of the samples (nanoseconds); `None` if there were too few reads.
    pub fn p99(&self) -> Option<u64> {
        if self.samples.len() < SAMPLES_MIN {
            return None;
        }
        let mut times: Vec<u64> = self.samples.iter().map(|(_, p99)| *p99).collect();
        let middle = times.len() / 2;
        Some(*times.select_nth_unstable(middle).1)
    }
}

/// Why a disk is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slow {
    /// A read does not end.
    Hangs,
    /// Its reads take longer than the configuration permits.
    BeyondBound,
    /// Its reads take much longer than those of the other disks.
    BeyondSiblings,
}

/// Returns why a disk is slow, if it is. `p99s` are the times of all disks (nanoseconds).
pub(super) fn slowness(
    p99s: &[Option<u64>],
    disk: usize,
    bound: Option<u64>,
    hangs: bool,
) -> Option<Slow> {
    if hangs {
        return Some(Slow::Hangs);
    }
    let own = p99s[disk]?;
    if bound.is_some_and(|bound| own > bound) {
        return Some(Slow::BeyondBound);
    }
    let others = p99s.iter().enumerate().filter(|(number, _)| *number != disk);
    let mut others: Vec<u64> = others.filter_map(|(_, p99)| *p99).collect();
    others.sort_unstable();
    let typical = *others.get(others.len() / 2)?;
    let is_beyond = own > FAST_NS && own > typical.saturating_mul(SIBLINGS_RATIO);
    is_beyond.then_some(Slow::BeyondSiblings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MS;

    #[test]
    fn speed_is_the_median_over_five_minutes_of_enough_samples() {
        let mut speed = DiskSpeed::default();
        for n in 0..59 {
            speed.add(n * SECOND, Some(MS));
            speed.add(n * SECOND, None);
        }
        assert_eq!(speed.p99(), None);
        speed.add(59 * SECOND, Some(MS));
        assert_eq!(speed.p99(), Some(MS));
        for n in 60..121 {
            speed.add(n * SECOND, Some(7 * MS));
        }
        assert_eq!(speed.p99(), Some(7 * MS));
        speed.add(500 * SECOND, Some(9 * MS));
        assert_eq!(speed.p99(), None, "the others are long past");
    }

    #[test]
    fn disk_is_slow_beyond_the_bound_or_beyond_its_siblings() {
        let slow = |p99s: &[u64], bound| {
            let p99s: Vec<_> = p99s.iter().map(|ms| Some(ms * MS)).collect();
            slowness(&p99s, 0, bound, false)
        };
        assert_eq!(slow(&[100], Some(100 * MS)), None);
        assert_eq!(slow(&[101], Some(100 * MS)), Some(Slow::BeyondBound));
        assert_eq!(slow(&[101], None), None, "without siblings");
        assert_eq!(slow(&[101, 20], None), Some(Slow::BeyondSiblings));
        assert_eq!(slow(&[100, 20], None), None);
        assert_eq!(slow(&[20, 1], None), None, "20 ms are not slow");
        assert_eq!(slow(&[101, 1, 30, 40], None), None, "one fast sibling does not count");
        assert_eq!(slowness(&[None, Some(MS)], 0, Some(1), false), None);
        assert_eq!(slowness(&[None], 0, None, true), Some(Slow::Hangs));
    }
}
