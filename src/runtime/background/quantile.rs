//! An estimate of a high quantile of a stream of times.

use std::sync::atomic::{AtomicU64, Ordering};

/// The 99th percentile of a stream of times (nanoseconds), estimated by stochastic approximation (Robbins and
/// Monro, 1951): a time above the estimate raises it by 99 small steps, one below lowers it by one. It
/// follows changes within some hundred times, and takes 8 bytes. One thread adds times; any may read.
#[derive(Debug, Default)]
pub struct Percentile99 {
    estimate: AtomicU64,
}

/// Fraction of the estimate that 100 small steps are: 1 in this number.
const STEPS: u64 = 8;

impl Percentile99 {
    /// Adds a time (nanoseconds). To be called by one thread only.
    pub fn add(&self, ns: u64) {
        let estimate = self.get();
        let step = (estimate / STEPS / 100).max(1);
        let next = match estimate {
            0 => ns,
            _ if ns > estimate => estimate.saturating_add(99 * step),
            _ => estimate.saturating_sub(step).max(1),
        };
        self.estimate.store(next, Ordering::Relaxed);
    }

    /// Returns the estimate (nanoseconds); 0 before the first time.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.estimate.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::split_mix;

    #[test]
    fn estimate_approaches_the_quantile_and_follows_a_change() {
        let (p99, mut state) = (Percentile99::default(), 7);
        let mut run = |scale: u64| {
            let (mut above, total) = (0, 40_000);
            for n in 0..total {
                let ns = (1 + split_mix(&mut state) % 1000) * scale;
                above += u64::from(n >= total / 2 && ns > p99.get());
                p99.add(ns);
            }
            (p99.get() / scale, above * 1000 / (total / 2))
        };
        for scale in [1000, 9000, 100] {
            let (estimate, above) = run(scale);
            assert!((900..1100).contains(&estimate), "{estimate} of 1000");
            assert!((5..20).contains(&above), "{above} of 1000 times are above");
        }
    }

    /// 0 would say that there was no time yet.
    #[test]
    fn estimate_of_shortest_times_is_one_nanosecond() {
        let p99 = Percentile99::default();
        assert_eq!(p99.get(), 0);
        (0..3).for_each(|_| p99.add(1));
        assert_eq!(p99.get(), 1);
    }
}
