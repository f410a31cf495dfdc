//! Runs a load: starts its threads at the same moment, and adds up what they report.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

use hayloft::sys::{monotonic_ns, wall_ns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::Error;
use crate::operation::Source;
use crate::plan::{Plan, Shared};
use crate::schedule::Kept;
use crate::stats::Interval;
use crate::worker::{self, Ended, Report};

/// Descriptors besides connections: rings, files, standard streams.
const OTHER_FILES: u64 = 64;
/// Between the word to start and the start (nanoseconds), so that every thread has heard it.
const LEAD: u64 = 2_000_000;

/// One second of a load.
#[derive(Clone, Copy, Debug)]
pub struct Second {
    /// Its number, from the beginning of the measured time on.
    pub second: i64,
    /// Answers in it.
    pub requests: u64,
    /// Bytes of objects in them.
    pub bytes: u64,
    /// Median latency of what was served (nanoseconds).
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
}

/// What came of a load.
pub struct Outcome {
    /// When it began (nanoseconds since 1970).
    pub began: u64,
    /// Length of the measured time.
    pub seconds: f64,
    /// Everything that was counted.
    pub total: Interval,
    /// The same by second.
    pub timeline: Vec<Second>,
    /// How an open loop kept its schedule.
    pub kept: Kept,
    /// CPU time of all threads (nanoseconds).
    pub cpu: u64,
    /// Their calls of `io_uring_enter`.
    pub enters: u64,
}

/// Raises the limit of open files if that is needed.
///
/// # Errors
/// When it cannot be raised.
pub fn make_room(connections: usize) -> Result<(), Error> {
    let needed = connections as u64 + OTHER_FILES;
    let read = getrlimit(Resource::RLIMIT_NOFILE);
    let (soft, hard) =
        read.map_err(|error| Error::Failed(format!("cannot read the limit of files: {error}")))?;
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

/// Threads whose reports are being added up.
struct Sum<'a> {
    threads: usize,
    ended: Vec<Ended>,
    seconds: BTreeMap<i64, (usize, Interval)>,
    total: Interval,
    timeline: Vec<Second>,
    watch: &'a mut dyn FnMut(i64, &Interval),
}

impl Sum<'_> {
    fn add(&mut self, second: i64, interval: Interval) {
        match self.seconds.get_mut(&second) {
            Some((reports, sum)) => {
                *reports += 1;
                sum.add(&interval);
            }
            None => drop(self.seconds.insert(second, (1, interval))),
        }
    }

    /// Passes on the seconds that all threads have reported.
    fn pass_on(&mut self) {
        while let Some(entry) = self.seconds.first_entry() {
            if entry.get().0 < self.threads - self.ended.len() {
                return;
            }
            let (second, (_, interval)) = entry.remove_entry();
            (self.watch)(second, &interval);
            if second >= 0 {
                let served = interval.served();
                self.timeline.push(Second {
                    second,
                    requests: interval.completed,
                    bytes: interval.payload,
                    p50: served.value_at_quantile(0.5),
                    p99: served.value_at_quantile(0.99),
                });
            }
            self.total.add(&interval);
        }
    }
}

/// Runs `plan`. `source` makes the source of each thread's operations, in that thread; `watch` is told of every
/// second (negative while warming up).
///
/// # Errors
/// When it cannot begin. What goes wrong later is counted.
pub fn run(
    plan: &Plan,
    shared: &Arc<Shared>,
    source: &(dyn Fn(usize) -> Box<dyn Source> + Sync),
    watch: &mut dyn FnMut(i64, &Interval),
) -> Result<Outcome, Error> {
    make_room(plan.connections)?;
    std::thread::scope(|scope| {
        let (reports, incoming) = mpsc::channel();
        let mut starts = Vec::new();
        for thread in 0..plan.threads {
            let (start, started) = mpsc::channel();
            let reports = reports.clone();
            starts.push(start);
            scope.spawn(move || {
                worker::run(thread, plan, shared, source(thread), reports, &started)
            });
        }
        // The threads hold the others: when all have ended, or one panicked, nothing more comes.
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
        let mut sum = Sum {
            threads: plan.threads,
            ended: Vec::new(),
            seconds: BTreeMap::new(),
            total: Interval::new(),
            timeline: Vec::new(),
            watch,
        };
        for report in incoming {
            match report {
                Report::Ready(_) => unreachable!("a thread is ready once"),
                Report::Second(second, interval) => sum.add(second, *interval),
                Report::Ended(mut ended) => {
                    sum.add(ended.second, std::mem::replace(&mut ended.rest, Interval::new()));
                    sum.ended.push(*ended);
                }
            }
            sum.pass_on();
        }
        outcome(plan, start, began, sum)
    })
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a load are far below 2^53")]
fn outcome(plan: &Plan, start: u64, began: u64, sum: Sum<'_>) -> Result<Outcome, Error> {
    if sum.ended.len() < plan.threads {
        return Err(Error::Failed("a thread of the load ended by a panic; see above".to_owned()));
    }
    let last = sum.ended.iter().map(|ended| ended.finished).max().unwrap_or(start);
    let measured = plan.duration.unwrap_or(last.saturating_sub(start + plan.warmup));
    let mut kept = Kept::new();
    for ended in &sum.ended {
        kept.add(&ended.kept);
    }
    Ok(Outcome {
        began,
        seconds: measured as f64 / 1e9,
        total: sum.total,
        timeline: sum.timeline,
        kept,
        cpu: sum.ended.iter().map(|ended| ended.cpu).sum(),
        enters: sum.ended.iter().map(|ended| ended.enters).sum(),
    })
}
