//! Schedule of requests in an open loop, and statistics on how closely it was followed.

use std::collections::BTreeMap;

use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::operation::Request;
use crate::random::Random;
use crate::stats::{Interval, histogram};

/// Upper limit (nanoseconds) for the 99th percentile of the generator's own delay, for a schedule to count as
/// kept.
const LATE_MAX: u64 = 1_000_000;
/// One millisecond in nanoseconds.
const MILLISECOND: u64 = 1_000_000;
/// Domain separator for the draws of arrivals.
const PURPOSE: u64 = 0xA221;

/// Distribution of the time between arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// Constant intervals
    Constant,
    /// Exponentially distributed intervals: independent arrivals
    Poisson,
}

/// Schedule of one thread (nanoseconds since the start of the load).
#[derive(Clone, Debug)]
pub struct Schedule {
    arrivals: Arrivals,
    /// Mean interval (nanoseconds).
    gap: f64,
    next: f64,
    random: Random,
}

impl Schedule {
    /// Schedule of thread `thread` of `threads` for a total rate (requests per second, above 0). Constant
    /// arrivals of the threads interleave.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "few threads")]
    pub fn new(arrivals: Arrivals, rate: f64, seed: u64, thread: usize, threads: usize) -> Self {
        let gap = 1e9 / rate * threads as f64;
        let random = Random::new(seed, PURPOSE + thread as u64);
        let mut schedule = Self { arrivals, gap, next: 0.0, random };
        schedule.next = match arrivals {
            Arrivals::Constant => gap * thread as f64 / threads as f64,
            Arrivals::Poisson => schedule.gap(),
        };
        schedule
    }

    fn gap(&mut self) -> f64 {
        match self.arrivals {
            Arrivals::Constant => self.gap,
            Arrivals::Poisson => -(1.0 - self.random.fraction()).ln() * self.gap,
        }
    }

    /// Time at which the next request is due.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and saturates"
    )]
    pub fn due(&self) -> u64 {
        self.next as u64
    }

    /// Moves on to the next request.
    pub fn advance(&mut self) {
        self.next += self.gap();
    }
}

/// Requests that were due but never sent. Since there can be very many, they are aggregated by millisecond.
#[derive(Clone, Debug, Default)]
pub struct Unsent(BTreeMap<(u64, usize, bool), u64>);

impl Unsent {
    /// Adds a request that was due at `due` (nanoseconds).
    pub fn add(&mut self, request: &Request, due: u64) {
        let kind = (due.div_ceil(MILLISECOND), request.kind as usize, request.is_missing);
        *self.0.entry(kind).or_default() += 1;
    }

    /// Records all in `interval`: at `end` (nanoseconds) they were still not sent.
    pub fn record(&self, end: u64, interval: &mut Interval) {
        for ((due, kind, is_missing), count) in &self.0 {
            let waited = end.saturating_sub(due * MILLISECOND);
            interval.record_unsent(*kind, *is_missing, waited, *count);
        }
    }
}

/// Statistics on how closely a schedule was followed.
#[derive(Clone, Debug)]
pub struct ScheduleStats {
    /// Requests due in the measured time.
    pub intended: u64,
    /// Number of them that were sent.
    pub sent: u64,
    /// Delay between due time and sending that the generator itself caused (nanoseconds): the time until the
    /// request was noticed, or from when it was due and a connection idle until it was sent, whichever is
    /// longer.
    pub late: Histogram<u64>,
    /// Total delay between due time and sending (nanoseconds).
    pub waited: Histogram<u64>,
    /// Maximum number of requests waiting for a connection.
    pub queue_max: u64,
}

impl ScheduleStats {
    /// Creates empty statistics.
    #[must_use]
    pub fn new() -> Self {
        Self { intended: 0, sent: 0, late: histogram(), waited: histogram(), queue_max: 0 }
    }

    /// Adds the statistics of another thread.
    pub fn add(&mut self, other: &Self) {
        self.intended += other.intended;
        self.sent += other.sent;
        self.late.add(&other.late).expect("all histograms have the same bounds");
        self.waited.add(&other.waited).expect("all histograms have the same bounds");
        self.queue_max += other.queue_max;
    }

    /// Whether the generator's own delay stayed within the limit.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.late.value_at_quantile(0.99) <= LATE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(mut schedule: Schedule, count: usize) -> Vec<u64> {
        let mut due = Vec::new();
        for _ in 0..count {
            due.push(schedule.due());
            schedule.advance();
        }
        due
    }

    #[test]
    fn constant_arrivals_of_threads_interleave() {
        let first = arrivals(Schedule::new(Arrivals::Constant, 1000.0, 1, 0, 2), 3);
        let second = arrivals(Schedule::new(Arrivals::Constant, 1000.0, 1, 1, 2), 3);
        assert_eq!(first, [0, 2_000_000, 4_000_000]);
        assert_eq!(second, [1_000_000, 3_000_000, 5_000_000]);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_distribution() {
        let due = arrivals(Schedule::new(Arrivals::Poisson, 1000.0, 1, 0, 1), 100_001);
        let mean = due[100_000] / 100_000;
        assert!((985_000..1_015_000).contains(&mean), "{mean}");
        // Of exponential intervals, a fraction of 1 - 1/e is shorter than the mean.
        let short = due.windows(2).filter(|pair| pair[1] - pair[0] < 1_000_000).count();
        assert!((62_700..63_700).contains(&short), "{short}");
    }

    #[test]
    fn a_schedule_is_kept_when_lateness_is_rare() {
        let mut kept = ScheduleStats::new();
        for n in 0..1000_u64 {
            kept.late.saturating_record(if n < 5 { 50_000_000 } else { 10_000 });
        }
        assert!(kept.is_kept());
        for _ in 0..20 {
            kept.late.saturating_record(50_000_000);
        }
        assert!(!kept.is_kept());
    }
}
