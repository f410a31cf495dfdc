//! One thread of a load: its ring, its connections, and the loop that keeps time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, mpsc};

use hayloft::buffer::{PAGE, Pool, Region};
use hayloft::op::Driver;
use hayloft::ring::{Prepared, Registration, Ring, RingOptions, prepare};
use hayloft::runtime::{Handle, Queue, Runtime, split_mix};
use hayloft::sys::monotonic_ns;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::connection;
use crate::error::Error;
use crate::operation::{Fate, Request, Source};
use crate::plan::{Plan, Shared, Times};
use crate::schedule::{Kept, Schedule};
use crate::stats::{Interval, Sample};

/// Requests that may wait for a connection in one thread; beyond that the schedule is given up.
const QUEUE_MAX: usize = 1 << 20;
/// Memory beyond two pages for each connection (bytes): what the ring keeps ready, and bodies.
const SPARE: usize = 192 << 20;
/// The most that a pool can have (bytes).
const POOL_MAX: usize = 1 << 30;
const SECOND: u64 = 1_000_000_000;

/// What a thread tells.
pub enum Report {
    /// It is ready to begin, or cannot.
    Ready(Result<(), Error>),
    /// A thread's second is over: the thread, the number of the second from the beginning of the measured time on
    /// (negative while warming up), and what was counted.
    Second(usize, i64, Box<Interval>),
    /// A thread has ended.
    Ended(usize, Box<Ended>),
}

/// The last report of a thread.
pub struct Ended {
    /// What was counted since the last full second.
    pub second: i64,
    /// That.
    pub rest: Interval,
    /// CPU time in the measured time (nanoseconds).
    pub cpu: u64,
    /// Calls of `io_uring_enter` in it.
    pub enters: u64,
    /// How an open loop kept its schedule.
    pub kept: Kept,
    /// When its source had no more, or the time was over (nanoseconds of the monotonic clock).
    pub finished: u64,
}

/// A request on its way to a connection.
pub struct Job {
    /// What to ask.
    pub request: Request,
    /// When it is due in an open loop (nanoseconds of the monotonic clock).
    pub intended: Option<u64>,
}

/// What the tasks of a thread share.
pub struct Worker {
    /// Their executor.
    pub handle: Handle,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// Their buffers.
    pub buffers: crate::buffers::Buffers,
    /// What is being counted.
    pub interval: RefCell<Interval>,
    times: Times,
    source: RefCell<Box<dyn Source>>,
    /// In an open loop: what waits for a connection; nothing tells one to end.
    queues: Vec<Queue<Option<Job>>>,
    is_open: bool,
    waiting: Cell<usize>,
    stopped: Cell<bool>,
    /// What still waits for a connection is not sent any more.
    given_up: Cell<bool>,
    live: Cell<usize>,
    in_flight: Cell<u64>,
    kept: RefCell<Kept>,
}

impl Worker {
    /// The next job of a connection that is free since `free`; nothing when it is to end.
    pub async fn next(&self, endpoint: usize, free: u64) -> Option<Job> {
        if !self.is_open {
            return self.next_now(endpoint);
        }
        let queue = if self.shared.is_routed() { endpoint } else { 0 };
        let job = self.queues[queue].next().await?;
        self.waiting.set(self.waiting.get() - 1);
        if self.given_up.get() {
            return None;
        }
        if let Some(intended) = job.intended.filter(|intended| self.times.measures(*intended)) {
            let now = monotonic_ns();
            let mut kept = self.kept.borrow_mut();
            kept.sent += 1;
            kept.late.saturating_record(now.saturating_sub(intended.max(free)));
            kept.waited.saturating_record(now.saturating_sub(intended));
        }
        self.in_flight.set(self.in_flight.get() + 1);
        Some(job)
    }

    /// The same without waiting, in a closed loop.
    pub fn next_now(&self, endpoint: usize) -> Option<Job> {
        if self.is_open || self.stopped.get() {
            return None;
        }
        let routed = self.shared.is_routed().then_some(endpoint);
        let request = self.source.borrow_mut().next(routed)?;
        self.in_flight.set(self.in_flight.get() + 1);
        Some(Job { request, intended: None })
    }

    /// An operation was answered.
    pub fn answered(&self, request: &Request, sample: &Sample, fate: Fate) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.source.borrow_mut().settle(request, fate);
        let in_time = self.times.measures(sample.end);
        let mut interval = self.interval.borrow_mut();
        // An open loop measures what was due in its time, however late the answer came: else the slow ones
        // would be left out.
        if if self.is_open { self.times.measures(sample.start) } else { in_time } {
            interval.record(sample);
        }
        if in_time {
            interval.complete(sample);
        }
    }

    /// An operation was not answered.
    pub fn unanswered(&self, request: &Request, why: impl FnOnce() -> String) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.source.borrow_mut().settle(request, Fate::Unknown);
        let mut interval = self.interval.borrow_mut();
        interval.errors += 1;
        interval.note(why);
    }

    /// A connection has ended.
    pub fn gone(&self) {
        self.live.set(self.live.get() - 1);
    }
}

/// The loop of a thread.
struct Reactor {
    thread: usize,
    worker: Rc<Worker>,
    runtime: Runtime,
    ring: Ring,
    schedule: Option<Schedule>,
    reports: mpsc::Sender<Report>,
    second: i64,
    /// CPU time and enters at the beginning and at the end of the measured time.
    begin: Option<(u64, u64)>,
    end: Option<(u64, u64)>,
    finished: Option<u64>,
    connections: Vec<usize>,
}

/// Runs thread `thread` of a load to its end. `source` is made here, `start` says when to begin.
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

/// A ring with memory for `connections`.
///
/// # Errors
/// When the kernel has none, or they are too many.
pub fn ring_for(connections: usize) -> Result<(Prepared, Pool), Error> {
    let len = 2 * PAGE * connections + SPARE;
    if len > POOL_MAX {
        let advice =
            format!("{connections} connections are too many for one thread; use more --threads");
        return Err(Error::Usage(advice));
    }
    let region = Region::map(1, len).map_err(|error| failed("map the buffers", &error))?;
    let prepared = prepare(1, &region, Registration::None);
    let prepared =
        prepared.map_err(|error| Error::Failed(error.to_string()))?.pop().expect("one ring");
    Ok((prepared, Pool::new(&region, 0)))
}

impl Reactor {
    /// Connects, says so, and waits for the start; nothing when there is none.
    fn new(
        thread: usize,
        plan: &Plan,
        shared: &Arc<Shared>,
        source: Box<dyn Source>,
        reports: mpsc::Sender<Report>,
        start: &mpsc::Receiver<Times>,
    ) -> Result<Option<Self>, Error> {
        if let Some(core) = plan.core(thread) {
            hayloft::sys::pin_to_core(core).map_err(|error| {
                Error::Usage(format!(
                    "cannot run on core {core}: {error}; see --cores and the cores there are"
                ))
            })?;
        }
        let endpoints = plan.endpoints_of(thread, shared.endpoints.len());
        let (prepared, pool) = ring_for(endpoints.len())?;
        let options = RingOptions { device_in_flight: 1, buffered: false };
        let ring = Ring::start(prepared, pool.clone(), Vec::new(), options);
        let ring = ring.map_err(|error| failed("start a ring", &error))?;
        let mut state = plan.seed;
        let runtime = Runtime::new(&ring, pool.clone(), move || split_mix(&mut state));
        let mut connections = Vec::with_capacity(endpoints.len());
        for endpoint in &endpoints {
            connections.push(connection::open(&shared.endpoints[*endpoint])?);
        }
        let _ = reports.send(Report::Ready(Ok(())));
        let Ok(times) = start.recv() else { return Ok(None) };
        let handle = runtime.handle().clone();
        let worker = Rc::new(Worker {
            queues: shared.endpoints.iter().map(|_| Queue::new(&handle)).collect(),
            shared: Arc::clone(shared),
            buffers: crate::buffers::Buffers::new(&pool),
            interval: RefCell::new(Interval::new()),
            times,
            source: RefCell::new(source),
            is_open: plan.is_open(),
            waiting: Cell::new(0),
            stopped: Cell::new(false),
            given_up: Cell::new(false),
            live: Cell::new(connections.len()),
            in_flight: Cell::new(0),
            kept: RefCell::new(Kept::new()),
            handle: handle.clone(),
        });
        for (endpoint, socket) in endpoints.iter().zip(connections) {
            handle.spawn(connection::serve(Rc::clone(&worker), *endpoint, socket, plan.pipeline));
        }
        let schedule = plan.schedule(thread);
        let second = times.second(monotonic_ns());
        Ok(Some(Self {
            thread,
            worker,
            runtime,
            ring,
            schedule,
            reports,
            second,
            begin: None,
            end: None,
            finished: None,
            connections: endpoints,
        }))
    }

    fn run(mut self) {
        let times = self.worker.times;
        loop {
            let now = self.runtime.handle().now();
            self.keep_time(now);
            self.arrive(now);
            self.runtime.run_ready();
            if self.worker.live.get() == 0 || self.is_patience_over(now) {
                break;
            }
            let until = self.until(now);
            self.runtime.exchange(&mut self.ring, until);
        }
        self.end();
    }

    /// After the end, what waits is sent for a while, and then answers are waited for.
    fn is_patience_over(&self, now: u64) -> bool {
        let (Some(finished), patience) = (self.finished, self.worker.times.patience) else {
            return false;
        };
        let sends = if self.worker.is_open { patience } else { 0 };
        self.worker.given_up.set(now >= finished + sends);
        now >= finished + sends + patience
    }

    /// Until when there is nothing to do without a completion.
    fn until(&self, now: u64) -> u64 {
        let times = &self.worker.times;
        let tick = times.begin.saturating_add_signed((self.second + 1) * SECOND.cast_signed());
        let mut until = tick.min(now + SECOND);
        if let Some(due) = self.due() {
            until = until.min(due);
        }
        if self.end.is_none() {
            until = until.min(times.end);
        }
        until
    }

    fn due(&self) -> Option<u64> {
        if self.finished.is_some() || !self.worker.is_open {
            return None;
        }
        let since_start = match &self.schedule {
            Some(schedule) => schedule.due(),
            None => self.worker.source.borrow().due()?,
        };
        Some(self.worker.times.start.saturating_add(since_start))
    }

    fn usage(&self) -> (u64, u64) {
        let cpu = getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| {
            usage.user_time().num_nanoseconds() + usage.system_time().num_nanoseconds()
        });
        (u64::try_from(cpu).unwrap_or(0), self.ring.counts().enters)
    }

    /// Seconds that are over are reported; at the end of the time nothing new begins.
    fn keep_time(&mut self, now: u64) {
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
            let counted = self.worker.interval.replace(Interval::new());
            let _ = self.reports.send(Report::Second(self.thread, self.second, Box::new(counted)));
            self.second = second;
        }
    }

    /// Puts what is due into the queues.
    fn arrive(&mut self, now: u64) {
        while let Some(due) = self.due().filter(|due| *due <= now && *due < self.worker.times.end) {
            let worker = &self.worker;
            let Some(request) = worker.source.borrow_mut().next(None) else {
                return self.finish(now);
            };
            if let Some(schedule) = &mut self.schedule {
                schedule.advance();
            }
            let mut kept = worker.kept.borrow_mut();
            if worker.times.measures(due) {
                kept.intended += 1;
            }
            if worker.waiting.get() >= QUEUE_MAX {
                continue;
            }
            let endpoint = worker.shared.endpoint_of(request.object.volume).unwrap_or(0);
            let has_waited =
                worker.queues[endpoint].push(Some(Job { request, intended: Some(due) }));
            worker.waiting.set(worker.waiting.get() + 1);
            if !has_waited {
                kept.queue_max = kept.queue_max.max(worker.waiting.get() as u64);
            }
        }
        if self.worker.is_open && self.schedule.is_none() && self.due().is_none() {
            self.finish(now);
        }
    }

    /// Begins nothing new.
    fn finish(&mut self, now: u64) {
        if self.finished.is_some() {
            return;
        }
        self.finished = Some(now);
        self.worker.stopped.set(true);
        for endpoint in &self.connections {
            let queue = if self.worker.shared.is_routed() { *endpoint } else { 0 };
            self.worker.queues[queue].push(None);
        }
    }

    fn end(mut self) {
        let now = monotonic_ns();
        let unanswered = self.worker.in_flight.get();
        let (begin, end) = (self.begin.unwrap_or((0, 0)), self.end.unwrap_or_else(|| self.usage()));
        let mut rest = self.worker.interval.replace(Interval::new());
        rest.errors += unanswered;
        if unanswered > 0 {
            rest.note(|| {
                let seconds = self.worker.times.patience / SECOND;
                format!("{unanswered} requests had no answer {seconds} s after the end; see the server's log")
            });
        }
        let ended = Ended {
            second: self.second,
            rest,
            cpu: end.0 - begin.0,
            enters: end.1 - begin.1,
            kept: self.worker.kept.replace(Kept::new()),
            finished: self.finished.take().unwrap_or(now),
        };
        let _ = self.reports.send(Report::Ended(self.thread, Box::new(ended)));
    }
}
