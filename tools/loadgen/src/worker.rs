//! State shared by the tasks of a thread: source of requests, queues and counters.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use hayloft::base::sys::monotonic_ns;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::{Handle, Queue};

use crate::buffers::Buffers;
use crate::operation::{Effect, Request, Source};
use crate::plan::{Shared, Times};
use crate::schedule::{ScheduleStats, Unsent};
use crate::stats::{Interval, Sample};

/// Maximum number of requests of a thread waiting for a connection; further due requests are not sent.
const QUEUE_MAX: usize = 1 << 20;

/// A request assigned to a connection.
pub struct Job {
    /// The request.
    pub request: Request,
    /// Time at which it is due in an open loop (nanoseconds of the monotonic clock).
    pub intended: Option<u64>,
    /// Time at which it was enqueued (nanoseconds of the monotonic clock).
    pub queued: u64,
}

/// Queue of requests waiting for a connection, in an open loop.
struct JobQueue {
    jobs: RefCell<VecDeque<Job>>,
    /// `true` for each enqueued job, in the same order; `false` ends a connection.
    signals: Queue<bool>,
}

/// State shared by the tasks of a thread.
pub struct Worker {
    /// Handle of the thread's executor.
    pub handle: Handle,
    /// State shared by all threads.
    pub shared: Arc<Shared>,
    /// Buffers of the connections.
    pub buffers: Buffers,
    /// Counters of the current second.
    pub interval: RefCell<Interval>,
    /// Points in time of the load.
    pub times: Times,
    /// Whether requests are issued regardless of answers (open loop).
    pub is_open: bool,
    /// Whether refused requests are retried.
    pub retries_refused: bool,
    source: RefCell<Box<dyn Source>>,
    queues: Vec<JobQueue>,
    waiting: Cell<usize>,
    stopped: Cell<bool>,
    live: Cell<usize>,
    in_flight: Cell<u64>,
    kept: RefCell<ScheduleStats>,
    unsent: RefCell<Unsent>,
    last_answer: Cell<u64>,
}

impl Worker {
    /// Creates the state for `connections` connections of an open or closed loop.
    pub fn new(
        handle: &Handle,
        pool: &Pool,
        shared: &Arc<Shared>,
        source: Box<dyn Source>,
        times: Times,
        is_open: bool,
        connections: usize,
    ) -> Self {
        let queue = |_| JobQueue { jobs: RefCell::default(), signals: Queue::new(handle) };
        Self {
            queues: shared.endpoints.iter().map(queue).collect(),
            shared: Arc::clone(shared),
            buffers: Buffers::new(pool, connections),
            interval: RefCell::new(Interval::new()),
            times,
            is_open,
            retries_refused: source.retries_refused(),
            source: RefCell::new(source),
            waiting: Cell::new(0),
            stopped: Cell::new(false),
            live: Cell::new(connections),
            in_flight: Cell::new(0),
            kept: RefCell::new(ScheduleStats::new()),
            unsent: RefCell::default(),
            last_answer: Cell::new(0),
            handle: handle.clone(),
        }
    }

    fn queue(&self, endpoint: usize) -> &JobQueue {
        &self.queues[if self.shared.is_routed() { endpoint } else { 0 }]
    }

    /// Next job of a connection that is idle since `free`; `None` when the connection must end.
    pub async fn next(&self, endpoint: usize, free: u64) -> Option<Job> {
        if !self.is_open {
            return self.next_now(endpoint);
        }
        let queue = self.queue(endpoint);
        if !queue.signals.next().await {
            return None;
        }
        // The job is gone if it was discarded.
        let job = queue.jobs.borrow_mut().pop_front()?;
        self.waiting.set(self.waiting.get() - 1);
        if let Some(intended) = job.intended.filter(|intended| self.times.measures(*intended)) {
            let now = monotonic_ns();
            let mut kept = self.kept.borrow_mut();
            kept.sent += 1;
            kept.late.saturating_record(lateness(intended, job.queued, free, now));
            kept.waited.saturating_record(now.saturating_sub(intended));
        }
        self.in_flight.set(self.in_flight.get() + 1);
        Some(job)
    }

    /// Next job without waiting, in a closed loop.
    pub fn next_now(&self, endpoint: usize) -> Option<Job> {
        if self.is_open || self.stopped.get() {
            return None;
        }
        let routed = self.shared.is_routed().then_some(endpoint);
        let request = self.source.borrow_mut().next(routed)?;
        self.in_flight.set(self.in_flight.get() + 1);
        Some(Job { request, intended: None, queued: 0 })
    }

    /// Time at which the source's next request is due (nanoseconds since the start), if it has a schedule.
    pub fn due(&self) -> Option<u64> {
        self.source.borrow().due()
    }

    /// Enqueues the next request, which is due at `due`, at time `now` (nanoseconds); returns whether there
    /// was one.
    pub fn arrive(&self, due: u64, now: u64) -> bool {
        let mut source = self.source.borrow_mut();
        let Some(request) = source.next(None) else { return false };
        let mut kept = self.kept.borrow_mut();
        if self.times.measures(due) {
            kept.intended += 1;
        }
        if self.waiting.get() >= QUEUE_MAX {
            source.settle(&request, Effect::NotApplied);
            self.unsent(&request, due);
            return true;
        }
        let queue = &self.queues[self.shared.endpoint_of(request.object.volume).unwrap_or(0)];
        queue.jobs.borrow_mut().push_back(Job { request, intended: Some(due), queued: now });
        let is_awaited = queue.signals.push(true);
        self.waiting.set(self.waiting.get() + 1);
        if !is_awaited {
            kept.queue_max = kept.queue_max.max(self.waiting.get() as u64);
        }
        true
    }

    /// Ends one connection to each of these endpoints once the queued requests are sent.
    pub fn stop(&self, endpoints: &[usize]) {
        self.stopped.set(true);
        for endpoint in endpoints {
            self.queue(*endpoint).signals.push(false);
        }
    }

    /// Discards the queued requests.
    pub fn discard_queued(&self) {
        let mut source = self.source.borrow_mut();
        for queue in &self.queues {
            for job in queue.jobs.take() {
                // Allows other requests for the same object.
                source.settle(&job.request, Effect::NotApplied);
                self.unsent(&job.request, job.intended.unwrap_or(u64::MAX));
            }
        }
        self.waiting.set(0);
    }

    fn unsent(&self, request: &Request, due: u64) {
        if self.times.measures(due) {
            self.unsent.borrow_mut().add(request, due);
        }
    }

    /// Records an answered operation.
    pub fn answered(&self, request: &Request, sample: &Sample, effect: Effect) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.source.borrow_mut().settle(request, effect);
        self.count(sample);
    }

    /// Counts an answer.
    pub fn count(&self, sample: &Sample) {
        self.last_answer.set(sample.end);
        let in_time = self.times.measures(sample.end);
        let mut interval = self.interval.borrow_mut();
        interval.answers += 1;
        // An open loop measures the requests that were due in the measured time, however late the answers
        // are: otherwise the slow ones would be missing.
        if if self.is_open { self.times.measures(sample.start) } else { in_time } {
            interval.record(sample);
        }
        if in_time {
            interval.complete(sample);
        }
    }

    /// Records an operation without an answer.
    pub fn unanswered(&self, request: &Request, why: impl FnOnce() -> String) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.source.borrow_mut().settle(request, Effect::Unknown);
        let mut interval = self.interval.borrow_mut();
        interval.errors += 1;
        interval.unanswered += 1;
        interval.note(why);
    }

    /// Records the end of a connection.
    pub fn connection_ended(&self) {
        self.live.set(self.live.get() - 1);
    }

    /// Number of connections that have not ended.
    pub fn live(&self) -> usize {
        self.live.get()
    }

    /// Number of requests in flight.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    /// Time of the last answer, 0 if there was none (nanoseconds of the monotonic clock).
    pub fn last_answer(&self) -> u64 {
        self.last_answer.get()
    }

    /// Takes the requests that were never sent.
    pub fn take_unsent(&self) -> Unsent {
        self.unsent.take()
    }

    /// Takes the counters since the last call.
    pub fn take_interval(&self) -> Interval {
        self.interval.replace(Interval::new())
    }

    /// Takes the schedule statistics.
    pub fn take_schedule_stats(&self) -> ScheduleStats {
        self.kept.replace(ScheduleStats::new())
    }
}

/// Part of a request's delay that the generator caused (nanoseconds; all times are of the monotonic clock).
/// The request was due at `intended`, noticed at `queued`, and sent at `now` on a connection idle since
/// `free`. Late notice counts even without an idle connection, since the queue ahead of the request may
/// consist of requests that were noticed late, too.
fn lateness(intended: u64, queued: u64, free: u64, now: u64) -> u64 {
    let noticed = queued.saturating_sub(intended);
    noticed.max(now.saturating_sub(intended.max(free)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_excludes_delay_caused_by_the_server() {
        assert_eq!(lateness(100, 100, 50, 103), 3, "idle connection, used immediately");
        assert_eq!(lateness(100, 101, 900, 902), 2, "the server was busy until 900");
        assert_eq!(lateness(100, 700, 900, 902), 600, "noticed late, without an idle connection");
        assert_eq!(lateness(100, 700, 50, 705), 605, "noticed late, with an idle connection");
    }
}
