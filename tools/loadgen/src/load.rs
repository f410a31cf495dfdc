//! Runs a load: starts its threads at the same time and aggregates their reports.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

use hayloft::base::sys::{monotonic_ns, wall_ns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::Error;
use crate::operation::Source;
use crate::plan::{Plan, Shared};
use crate::reactor::{self, FinalReport, Report};
use crate::schedule::ScheduleStats;
use crate::stats::Interval;

/// File descriptors besides connections: rings, files, standard streams.
const OTHER_FILES: u64 = 64;
/// Delay from the start message to the start (nanoseconds), so that every thread has received it.
const LEAD: u64 = 2_000_000;

/// Results of one second of a load.
#[derive(Clone, Copy, Debug)]
pub struct Second {
    /// Number of the second since the beginning of the measured time.
    pub second: i64,
    /// Completed requests.
    pub requests: u64,
    /// Object bytes in their answers.
    pub bytes: u64,
    /// Median latency of served requests (nanoseconds).
    pub p50: Option<u64>,
    /// 99th percentile of the latency (nanoseconds).
    pub p99: Option<u64>,
}

/// Result of a load.
pub struct LoadResult {
    /// Start of the measured time (nanoseconds since 1970).
    pub began: u64,
    /// Measured time (seconds).
    pub seconds: f64,
    /// Totals.
    pub total: Interval,
    /// Results by second.
    pub timeline: Vec<Second>,
    /// Statistics on the schedule of an open loop.
    pub kept: ScheduleStats,
    /// CPU time of all threads (nanoseconds).
    pub cpu: u64,
    /// Calls of `io_uring_enter` of all threads.
    pub enters: u64,
}

/// Raises the limit of open files if it is too low for `connections`.
///
/// # Errors
/// When it cannot be raised.
pub fn raise_file_limit(connections: usize) -> Result<(), Error> {
    let needed = connections as u64 + OTHER_FILES;
    let read = getrlimit(Resource::RLIMIT_NOFILE);
    let (soft, hard) = read
        .map_err(|error| Error::Failed(format!("cannot read the limit of open files: {error}")))?;
    if soft >= needed {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard.max(needed)).map_err(|_| {
        Error::Usage(format!(
            "{connections} connections need {needed} open files, and the limit is {hard}; raise it \
             (`ulimit -Hn {needed}` as root) or use fewer --connections"
        ))
    })
}

/// Aggregation of the reports of all threads.
struct Aggregation<'a> {
    /// Last second that each thread has reported; `i64::MAX` once it has ended.
    reported: Vec<i64>,
    ended: Vec<FinalReport>,
    seconds: BTreeMap<i64, Interval>,
    total: Interval,
    timeline: Vec<Second>,
    watch: &'a mut dyn FnMut(i64, &Interval),
}

impl Aggregation<'_> {
    fn add(&mut self, second: i64, interval: Interval) {
        match self.seconds.get_mut(&second) {
            Some(sum) => sum.add(&interval),
            None => drop(self.seconds.insert(second, interval)),
        }
    }

    /// Publishes the seconds that all threads have reported.
    fn publish(&mut self) {
        let all = self.reported.iter().copied().min().unwrap_or(i64::MAX);
        while let Some(entry) = self.seconds.first_entry() {
            if *entry.key() > all {
                return;
            }
            let (second, interval) = entry.remove_entry();
            (self.watch)(second, &interval);
            if second >= 0 {
                let served = interval.served();
                let at =
                    |quantile| (!served.is_empty()).then(|| served.value_at_quantile(quantile));
                self.timeline.push(Second {
                    second,
                    requests: interval.completed,
                    bytes: interval.payload,
                    p50: at(0.5),
                    p99: at(0.99),
                });
            }
            self.total.add(&interval);
        }
    }
}

/// Runs `plan`. `source` creates each thread's source of operations, in that thread; `watch` is called with
/// every second's number (negative during warm-up) and results.
///
/// # Errors
/// When the load cannot begin. Later failures are counted in the result.
pub fn run(
    plan: &Plan,
    shared: &Arc<Shared>,
    source: &(dyn Fn(usize) -> Box<dyn Source> + Sync),
    watch: &mut dyn FnMut(i64, &Interval),
) -> Result<LoadResult, Error> {
    raise_file_limit(plan.connections)?;
    std::thread::scope(|scope| {
        let (reports, incoming) = mpsc::channel();
        let mut starts = Vec::new();
        for thread in 0..plan.threads {
            let (start, started) = mpsc::channel();
            let reports = reports.clone();
            starts.push(start);
            scope.spawn(move || {
                reactor::run(thread, plan, shared, source(thread), reports, &started)
            });
        }
        // The threads hold the other senders, so the channel closes when all have ended or panicked.
        drop(reports);
        for _ in 0..plan.threads {
            match incoming.recv() {
                Ok(Report::Ready(Ok(()))) => {}
                Ok(Report::Ready(Err(error))) => return Err(error),
                _ => return Err(Error::Failed("a thread ended before the load began".to_owned())),
            }
        }
        let (start, began) = (monotonic_ns() + LEAD, wall_ns() + LEAD);
        for to in starts {
            let _ = to.send(plan.times(start));
        }
        let mut sum = Aggregation {
            reported: vec![i64::MIN; plan.threads],
            ended: Vec::new(),
            seconds: BTreeMap::new(),
            total: Interval::new(),
            timeline: Vec::new(),
            watch,
        };
        for report in incoming {
            match report {
                Report::Ready(_) => unreachable!("each thread reports ready once"),
                Report::Second(thread, second, interval) => {
                    sum.reported[thread] = second;
                    sum.add(second, *interval);
                }
                Report::Ended(thread, mut ended) => {
                    sum.reported[thread] = i64::MAX;
                    sum.add(ended.second, std::mem::replace(&mut ended.rest, Interval::new()));
                    sum.ended.push(*ended);
                }
            }
            sum.publish();
        }
        outcome(plan, start, began, sum)
    })
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a load are far below 2^53")]
fn outcome(plan: &Plan, start: u64, began: u64, sum: Aggregation<'_>) -> Result<LoadResult, Error> {
    if sum.ended.len() < plan.threads {
        return Err(Error::Failed(
            "a thread of the load panicked; see the message above".to_owned(),
        ));
    }
    let last = sum.ended.iter().map(|ended| ended.finished).max().unwrap_or(start);
    let measured = plan.duration.unwrap_or(last.saturating_sub(start + plan.warmup));
    let mut kept = ScheduleStats::new();
    for ended in &sum.ended {
        kept.add(&ended.kept);
    }
    Ok(LoadResult {
        began,
        seconds: measured as f64 / 1e9,
        total: sum.total,
        timeline: sum.timeline,
        kept,
        cpu: sum.ended.iter().map(|ended| ended.cpu).sum(),
        enters: sum.ended.iter().map(|ended| ended.enters).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_published_once_all_threads_have_reported_it() {
        let mut seen = Vec::new();
        let mut watch = |second, interval: &Interval| seen.push((second, interval.completed));
        let mut sum = Aggregation {
            reported: vec![i64::MIN; 2],
            ended: Vec::new(),
            seconds: BTreeMap::new(),
            total: Interval::new(),
            timeline: Vec::new(),
            watch: &mut watch,
        };
        let counted = |completed| Interval { completed, ..Interval::new() };
        // The first thread ends early; later reports of the second one still count for their seconds.
        for (thread, second, completed) in
            [(0, -1, 1), (0, 0, 10), (0, i64::MAX, 0), (1, -1, 2), (1, 0, 20)]
        {
            sum.reported[thread] = second;
            if second < i64::MAX {
                sum.add(second, counted(completed));
            }
            sum.publish();
        }
        assert_eq!(sum.total.completed, 33);
        assert_eq!(sum.timeline.iter().map(|at| at.requests).collect::<Vec<_>>(), [30]);
        assert_eq!(seen, [(-1, 3), (0, 30)]);
    }
}
