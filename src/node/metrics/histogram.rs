//! Latency histograms with fixed, log-spaced buckets.
//!
//! With fixed bounds, recording is a search in a constant array and two relaxed stores: no allocation, no
//! resizing, and the buckets of all shards can be added. Five bounds per decade (the R5 series) keep the
//! error of a quantile read from a graph within 60 %, from 25 us, the latency of a fast device, to 10 s, the
//! longest default timeout within a request.

use super::counter::Counter;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

/// Upper bounds of the buckets in nanoseconds, inclusive. One more bucket counts longer durations.
#[rustfmt::skip]
pub const BOUNDS_NS: [u64; 29] = [
    25 * US,  40 * US,  63 * US,
    100 * US, 160 * US, 250 * US, 400 * US, 630 * US,
    MS,       1600 * US, 2500 * US, 4 * MS, 6300 * US,
    10 * MS,  16 * MS,  25 * MS,  40 * MS,  63 * MS,
    100 * MS, 160 * MS, 250 * MS, 400 * MS, 630 * MS,
    S,        1600 * MS, 2500 * MS, 4 * S,  6300 * MS,
    10 * S,
];

/// Number of buckets of a histogram: one for each bound and the unbounded one.
pub const BUCKETS: usize = BOUNDS_NS.len() + 1;

// `record` uses a binary search, which needs ascending bounds.
const _: () = {
    let mut i = 1;
    while i < BOUNDS_NS.len() {
        assert!(BOUNDS_NS[i - 1] < BOUNDS_NS[i], "bounds are ascending");
        i += 1;
    }
};

/// Durations counted in fixed buckets; one writer, readable by all threads.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_ns: Counter,
}

impl Histogram {
    /// An empty histogram.
    #[must_use]
    pub const fn new() -> Self {
        Self { buckets: [const { Counter::new() }; BUCKETS], sum_ns: Counter::new() }
    }

    /// Counts one duration of `ns` nanoseconds. Only the owning thread may call this.
    #[inline]
    pub fn record(&self, ns: u64) {
        let bucket = BOUNDS_NS.partition_point(|&bound| bound < ns);
        self.buckets[bucket].inc();
        self.sum_ns.add(ns);
    }

    /// Returns a copy of the present numbers; callable from any thread.
    pub(super) fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            counts: std::array::from_fn(|i| self.buckets[i].value()),
            sum_ns: self.sum_ns.value(),
        }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// A copy of a histogram's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Durations in each bucket, not cumulative.
    pub counts: [u64; BUCKETS],
    /// The sum of all durations in nanoseconds. Read after the buckets, so it may be ahead of them.
    pub sum_ns: u64,
}

impl HistogramSnapshot {
    /// Number of recorded durations. It is the sum of the buckets, not a counter of its own, so it always
    /// equals the unbounded cumulative bucket of the export.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The upper bound, in nanoseconds, of the bucket in which quantile `q` (0 to 1) lies; `None`
    /// when nothing was recorded or the quantile lies above the last bound.
    #[must_use]
    pub fn quantile_bound_ns(&self, q: f64) -> Option<u64> {
        let rank = (q.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bound, count) in BOUNDS_NS.iter().zip(&self.counts) {
            seen += count;
            if seen >= rank {
                return Some(*bound);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Index of the bucket that counts a duration of `ns`.
    fn bucket_of(ns: u64) -> usize {
        let h = Histogram::new();
        h.record(ns);
        let counts = h.snapshot().counts;
        assert_eq!(counts.iter().sum::<u64>(), 1);
        counts.iter().position(|&c| c == 1).expect("one bucket holds it")
    }

    #[test]
    fn bucket_bounds_are_inclusive_like_prometheus_le() {
        for (i, &bound) in BOUNDS_NS.iter().enumerate() {
            assert_eq!(bucket_of(bound), i, "{bound} ns");
            assert_eq!(bucket_of(bound + 1), i + 1, "{bound} ns and one");
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn bounds_are_log_spaced() {
        for pair in BOUNDS_NS.windows(2) {
            let ratio = pair[1] as f64 / pair[0] as f64;
            assert!((1.5..1.65).contains(&ratio), "{pair:?}");
        }
    }

    #[test]
    fn sum_count_and_quantiles_follow_the_records() {
        let h = Histogram::new();
        assert_eq!(h.snapshot().count(), 0);
        assert_eq!(h.snapshot().quantile_bound_ns(0.5), None);
        for ns in [30_000, 30_000, 30_000, 5 * S] {
            h.record(ns);
        }
        let s = h.snapshot();
        assert_eq!((s.count(), s.sum_ns), (4, 90_000 + 5 * S));
        assert_eq!(s.quantile_bound_ns(0.5), Some(40 * US));
        assert_eq!(s.quantile_bound_ns(0.75), Some(40 * US));
        assert_eq!(s.quantile_bound_ns(0.99), Some(6300 * MS));
        h.record(11 * S);
        assert_eq!(h.snapshot().quantile_bound_ns(1.0), None);
    }
}
