//! One thread of a load: its ring, event loop and timing.

use std::rc::Rc;
use std::sync::{Arc, mpsc};

use hayloft::base::sys::monotonic_ns;
use hayloft::ring::{Prepared, Registration, Ring, RingOptions, prepare};
use hayloft::runtime::buffer::{Pool, Region};
use hayloft::runtime::op::Driver;
use hayloft::runtime::{Runtime, split_mix};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::buffers::{BUFFER_MAX, reserve};
use crate::connection;
use crate::error::Error;
use crate::operation::Source;
use crate::plan::{Plan, Shared, Times};
use crate::schedule::{Schedule, ScheduleStats};
use crate::stats::Interval;
use crate::worker::Worker;

/// Buffer memory per connection beyond two pages (bytes): one full buffer in each direction.
const PER_CONNECTION: usize = 2 * BUFFER_MAX;
/// Memory for the receive buffers of the ring (bytes).
const OF_RING: usize = 4 << 20;
/// Maximum of the above for all connections (bytes). Beyond it, buffers get shorter.
const SPARE: usize = 320 << 20;
/// Maximum size of a pool (bytes).
const POOL_MAX: usize = 1 << 30;
const SECOND: u64 = 1_000_000_000;

/// Message from a load thread to the main thread.
pub enum Report {
    /// The thread is connected and ready to start, or failed.
    Ready(Result<(), Error>),
    /// End of a second: thread, number of the second from the beginning of the measured time (negative during
    /// warm-up), and its counts.
    Second(usize, i64, Box<Interval>),
    /// End of the thread.
    Ended(usize, Box<FinalReport>),
}

/// The last report of a thread.
pub struct FinalReport {
    /// Second in which it ended.
    pub second: i64,
    /// Counts since the last reported second.
    pub rest: Interval,
    /// CPU time during the measured time (nanoseconds).
    pub cpu: u64,
    /// Calls of `io_uring_enter` during the measured time.
    pub enters: u64,
    /// Statistics on the schedule of an open loop.
    pub kept: ScheduleStats,
    /// Time of the last answer, or of the end of the load if later (nanoseconds of the monotonic clock).
    pub finished: u64,
}

/// Event loop of a load thread.
struct Reactor {
    thread: usize,
    worker: Rc<Worker>,
    runtime: Runtime,
    ring: Ring,
    schedule: Option<Schedule>,
    reports: mpsc::Sender<Report>,
    /// Second that is being counted.
    second: i64,
    /// CPU time (nanoseconds) and `io_uring_enter` calls at the beginning and end of the measured time.
    begin: Option<(u64, u64)>,
    end: Option<(u64, u64)>,
    /// Time since which no new requests are issued.
    finished: Option<u64>,
    /// Endpoint index of each connection.
    endpoints: Vec<usize>,
}

/// Runs thread `thread` of a load to its end; `start` receives the start time.
pub fn run(
    thread: usize,
    plan: &Plan,
    shared: &Arc<Shared>,
    source: Box<dyn Source>,
    reports: mpsc::Sender<Report>,
    start: &mpsc::Receiver<Times>,
) {
    match Reactor::new(thread, plan, shared, source, reports.clone(), start) {
        Ok(Some(reactor)) => reactor.run(),
        Ok(None) => {}
        Err(error) => drop(reports.send(Report::Ready(Err(error)))),
    }
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Failed(format!("cannot {what}: {error}"))
}

/// Sets up a ring, and buffer memory for `connections`.
///
/// # Errors
/// When the kernel refuses, or there are too many connections for one thread.
pub fn ring_for(connections: usize) -> Result<(Prepared, Arc<Region>), Error> {
    let len = reserve(connections) + (connections * PER_CONNECTION + OF_RING).min(SPARE);
    if len > POOL_MAX {
        let advice =
            format!("{connections} connections are too many for one thread; use more --threads");
        return Err(Error::Usage(advice));
    }
    let region = Region::map(1, len).map_err(|error| failed("map the buffers", &error))?;
    let prepared = prepare(1, &region, Registration::None);
    let prepared = prepared
        .map_err(|error| Error::Failed(error.to_string()))?
        .pop()
        .expect("prepare(1, ..) returns one ring");
    Ok((prepared, region))
}

impl Reactor {
    /// Connects, reports readiness and waits for the start; `None` when the load is cancelled.
    fn new(
        thread: usize,
        plan: &Plan,
        shared: &Arc<Shared>,
        source: Box<dyn Source>,
        reports: mpsc::Sender<Report>,
        start: &mpsc::Receiver<Times>,
    ) -> Result<Option<Self>, Error> {
        if let Some(core) = plan.core(thread) {
            hayloft::base::sys::pin_to_core(core).map_err(|error| {
                Error::Usage(format!(
                    "cannot pin a thread to core {core}: {error}; check --cores against the available cores"
                ))
            })?;
        }
        let endpoints = plan.endpoints_of(thread, shared.endpoints.len());
        let (prepared, region) = ring_for(endpoints.len())?;
        // Before the load: page faults during it would be measured as server latency.
        region.populate().map_err(|error| failed("allocate the buffers", &error))?;
        let pool = Pool::new(&region, 0);
        let options = RingOptions { device_in_flight: 1, buffered: false };
        let ring = Ring::start(prepared, pool.clone(), Vec::new(), options);
        let ring = ring.map_err(|error| failed("start a ring", &error))?;
        let mut state = plan.seed;
        let runtime = Runtime::new(&ring, pool.clone(), move || split_mix(&mut state));
        let mut sockets = Vec::with_capacity(endpoints.len());
        for endpoint in &endpoints {
            sockets.push(connection::open(&shared.endpoints[*endpoint])?);
        }
        let _ = reports.send(Report::Ready(Ok(())));
        let Ok(times) = start.recv() else { return Ok(None) };
        let handle = runtime.handle();
        let worker =
            Worker::new(handle, &pool, shared, source, times, plan.is_open(), sockets.len());
        let worker = Rc::new(worker);
        for (endpoint, socket) in endpoints.iter().zip(sockets) {
            handle.spawn(connection::serve(Rc::clone(&worker), *endpoint, socket, plan.pipeline));
        }
        Ok(Some(Self {
            thread,
            worker,
            runtime,
            ring,
            schedule: plan.schedule(thread),
            reports,
            second: times.second(monotonic_ns()),
            begin: None,
            end: None,
            finished: None,
            endpoints,
        }))
    }

    fn run(mut self) {
        loop {
            let now = self.runtime.handle().now();
            // Before the end is noticed: requests due until then belong to the schedule, even if this thread
            // was scheduled late.
            self.arrive(now);
            self.report_seconds(now);
            self.runtime.run_ready();
            if self.worker.live() == 0 || self.is_wait_over(now) {
                return self.end();
            }
            let until = self.until(now);
            self.runtime.exchange(&mut self.ring, until);
        }
    }

    /// After the end, queued requests are still sent for a while (open loop), then answers are awaited.
    fn is_wait_over(&self, now: u64) -> bool {
        let (Some(finished), patience) = (self.finished, self.worker.times.patience) else {
            return false;
        };
        let sends = if self.worker.is_open { patience } else { 0 };
        if now >= finished + sends {
            self.worker.discard_queued();
        }
        now >= finished + sends + patience
    }

    /// Time until which there is nothing to do without a completion.
    fn until(&self, now: u64) -> u64 {
        let times = &self.worker.times;
        let tick = times.begin.saturating_add_signed((self.second + 1) * SECOND.cast_signed());
        let mut until = tick.clamp(now, now + SECOND);
        if let Some(due) = self.due() {
            until = until.min(due);
        }
        if self.end.is_none() {
            until = until.min(times.end);
        }
        if let Some(finished) = self.finished {
            // The end of the wait must not be delayed until the next full second.
            let over = finished + times.patience;
            until = if over > now { until.min(over) } else { until.min(over + times.patience) };
        }
        until
    }

    /// Time at which the next request of an open loop is due (nanoseconds of the monotonic clock).
    fn due(&self) -> Option<u64> {
        if self.finished.is_some() || !self.worker.is_open {
            return None;
        }
        let since_start = match &self.schedule {
            Some(schedule) => schedule.due(),
            None => self.worker.due()?,
        };
        Some(self.worker.times.start.saturating_add(since_start))
    }

    fn usage(&self) -> (u64, u64) {
        let cpu = getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| {
            usage.user_time().num_nanoseconds() + usage.system_time().num_nanoseconds()
        });
        (u64::try_from(cpu).unwrap_or(0), self.ring.counts().enters)
    }

    /// Reports finished seconds; ends the load when the measured time is over.
    fn report_seconds(&mut self, now: u64) {
        let times = self.worker.times;
        if self.begin.is_none() && now >= times.begin {
            self.begin = Some(self.usage());
        }
        if self.end.is_none() && now >= times.end {
            self.end = Some(self.usage());
            self.finish(now);
        }
        let second = times.second(now);
        if second > self.second && self.end.is_none() {
            let counted = Box::new(self.worker.take_interval());
            let _ = self.reports.send(Report::Second(self.thread, self.second, counted));
            self.second = second;
        }
    }

    /// Enqueues the requests that are due.
    fn arrive(&mut self, now: u64) {
        while let Some(due) = self.due().filter(|due| *due <= now && *due < self.worker.times.end) {
            if !self.worker.arrive(due, now) {
                return self.finish(now);
            }
            if let Some(schedule) = &mut self.schedule {
                schedule.advance();
            }
        }
        if self.worker.is_open && self.schedule.is_none() && self.due().is_none() {
            self.finish(now);
        }
    }

    /// Stops issuing new requests.
    fn finish(&mut self, now: u64) {
        if self.finished.is_none() {
            self.finished = Some(now);
            self.worker.stop(&self.endpoints);
        }
    }

    fn end(self) {
        let now = monotonic_ns();
        let (begin, end) = (self.begin.unwrap_or((0, 0)), self.end.unwrap_or_else(|| self.usage()));
        self.worker.discard_queued();
        let mut rest = self.worker.take_interval();
        self.worker.take_unsent().record(now, &mut rest);
        let unanswered = self.worker.in_flight();
        rest.errors += unanswered;
        if unanswered > 0 {
            let seconds = self.worker.times.patience / SECOND;
            rest.note(|| {
                format!("{unanswered} requests unanswered {seconds} s after the end; see the server's log")
            });
        }
        let ended = FinalReport {
            second: self.second,
            rest,
            cpu: end.0.saturating_sub(begin.0),
            enters: end.1.saturating_sub(begin.1),
            kept: self.worker.take_schedule_stats(),
            finished: match self.finished.unwrap_or(0).max(self.worker.last_answer()) {
                0 => now,
                finished => finished,
            },
        };
        let _ = self.reports.send(Report::Ended(self.thread, Box::new(ended)));
    }
}
