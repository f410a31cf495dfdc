//! What the tasks of a thread share: where their work comes from, and where it is counted.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use hayloft::buffer::Pool;
use hayloft::runtime::{Handle, Queue};
use hayloft::sys::monotonic_ns;

use crate::buffers::Buffers;
use crate::operation::{Fate, Request, Source};
use crate::plan::{Shared, Times};
use crate::schedule::{Kept, Unsent};
use crate::stats::{Interval, Sample};

/// Requests that may wait for a connection in one thread; more that are due are not sent.
const QUEUE_MAX: usize = 1 << 20;

/// A request on its way to a connection.
pub struct Job {
    /// What to ask.
    pub request: Request,
    /// When it is due in an open loop (nanoseconds of the monotonic clock).
    pub intended: Option<u64>,
    /// When it was put into its queue (nanoseconds of the monotonic clock).
    pub queued: u64,
}

/// What waits for a connection, in an open loop.
struct Line {
    jobs: RefCell<VecDeque<Job>>,
    /// True for each job that came, in their order; false tells a connection to end.
    word: Queue<bool>,
}

/// What the tasks of a thread share.
pub struct Worker {
    /// Their executor.
    pub handle: Handle,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// Their buffers.
    pub buffers: Buffers,
    /// What is being counted.
    pub interval: RefCell<Interval>,
    /// When what is measured.
    pub times: Times,
    /// Whether requests come whether or not there were answers.
    pub is_open: bool,
    /// Whether what was refused is asked again.
    pub insists: bool,
    source: RefCell<Box<dyn Source>>,
    lines: Vec<Line>,
    waiting: Cell<usize>,
    stopped: Cell<bool>,
    live: Cell<usize>,
    in_flight: Cell<u64>,
    kept: RefCell<Kept>,
    unsent: RefCell<Unsent>,
    last_answer: Cell<u64>,
}

impl Worker {
    /// For `connections` connections, of an open loop or a closed one.
    pub fn new(
        handle: &Handle,
        pool: &Pool,
        shared: &Arc<Shared>,
        source: Box<dyn Source>,
        times: Times,
        is_open: bool,
        connections: usize,
    ) -> Self {
        let line = |_| Line { jobs: RefCell::default(), word: Queue::new(handle) };
        Self {
            lines: shared.endpoints.iter().map(line).collect(),
            shared: Arc::clone(shared),
            buffers: Buffers::new(pool, connections),
            interval: RefCell::new(Interval::new()),
            times,
            is_open,
            insists: source.insists(),
            source: RefCell::new(source),
            waiting: Cell::new(0),
            stopped: Cell::new(false),
            live: Cell::new(connections),
            in_flight: Cell::new(0),
            kept: RefCell::new(Kept::new()),
            unsent: RefCell::default(),
            last_answer: Cell::new(0),
            handle: handle.clone(),
        }
    }

    fn line(&self, endpoint: usize) -> &Line {
        &self.lines[if self.shared.is_routed() { endpoint } else { 0 }]
    }

    /// The next job of a connection that is free since `free`; nothing when it is to end.
    pub async fn next(&self, endpoint: usize, free: u64) -> Option<Job> {
        if !self.is_open {
            return self.next_now(endpoint);
        }
        let line = self.line(endpoint);
        if !line.word.next().await {
            return None;
        }
        // There is none when it was given up.
        let job = line.jobs.borrow_mut().pop_front()?;
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

    /// The same without waiting, in a closed loop.
    pub fn next_now(&self, endpoint: usize) -> Option<Job> {
        if self.is_open || self.stopped.get() {
            return None;
        }
        let routed = self.shared.is_routed().then_some(endpoint);
        let request = self.source.borrow_mut().next(routed)?;
        self.in_flight.set(self.in_flight.get() + 1);
        Some(Job { request, intended: None, queued: 0 })
    }

    /// When the source's next request is due (nanoseconds since the start), if it says.
    pub fn due(&self) -> Option<u64> {
        self.source.borrow().due()
    }

    /// Puts the next request, which is due at `due`, into its queue at `now` (nanoseconds): whether there was
    /// one.
    pub fn arrive(&self, due: u64, now: u64) -> bool {
        let mut source = self.source.borrow_mut();
        let Some(request) = source.next(None) else { return false };
        let mut kept = self.kept.borrow_mut();
        if self.times.measures(due) {
            kept.intended += 1;
        }
        if self.waiting.get() >= QUEUE_MAX {
            source.settle(&request, Fate::Refused);
            self.unsent(&request, due);
            return true;
        }
        let line = &self.lines[self.shared.endpoint_of(request.object.volume).unwrap_or(0)];
        line.jobs.borrow_mut().push_back(Job { request, intended: Some(due), queued: now });
        let is_awaited = line.word.push(true);
        self.waiting.set(self.waiting.get() + 1);
        if !is_awaited {
            kept.queue_max = kept.queue_max.max(self.waiting.get() as u64);
        }
        true
    }

    /// Connections to these endpoints, one for each, end when what waits was sent.
    pub fn stop(&self, endpoints: &[usize]) {
        self.stopped.set(true);
        for endpoint in endpoints {
            self.line(*endpoint).word.push(false);
        }
    }

    /// What waits is not sent any more.
    pub fn give_up(&self) {
        let mut source = self.source.borrow_mut();
        for line in &self.lines {
            for job in line.jobs.take() {
                // Another load may do to its object what this one did not.
                source.settle(&job.request, Fate::Refused);
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

    /// An operation was answered.
    pub fn answered(&self, request: &Request, sample: &Sample, fate: Fate) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.source.borrow_mut().settle(request, fate);
        self.count(sample);
    }

    /// Counts an answer.
    pub fn count(&self, sample: &Sample) {
        self.last_answer.set(sample.end);
        let in_time = self.times.measures(sample.end);
        let mut interval = self.interval.borrow_mut();
        interval.answers += 1;
        // An open loop measures what was due in its time, however late the answer came: else the slow
        // ones would be left out.
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
        interval.unanswered += 1;
        interval.note(why);
    }

    /// A connection has ended.
    pub fn gone(&self) {
        self.live.set(self.live.get() - 1);
    }

    /// Connections that have not ended.
    pub fn live(&self) -> usize {
        self.live.get()
    }

    /// Requests without an answer.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    /// When the last answer came, 0 if there was none (nanoseconds of the monotonic clock).
    pub fn last_answer(&self) -> u64 {
        self.last_answer.get()
    }

    /// What was never sent.
    pub fn take_unsent(&self) -> Unsent {
        self.unsent.take()
    }

    /// What was counted since it was asked last.
    pub fn take_interval(&self) -> Interval {
        self.interval.replace(Interval::new())
    }

    /// How the schedule was kept.
    pub fn take_kept(&self) -> Kept {
        self.kept.replace(Kept::new())
    }
}

/// How much of the wait of a request was the generator's own fault (nanoseconds; all times are of the
/// monotonic clock). It was due at `intended`, noticed at `queued`, and sent at `now` to a connection that
/// was free since `free`. A late notice counts even if no connection was free then, since the queue in front
/// of the request may consist of what was noticed late before.
fn lateness(intended: u64, queued: u64, free: u64, now: u64) -> u64 {
    let noticed = queued.saturating_sub(intended);
    noticed.max(now.saturating_sub(intended.max(free)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_what_the_server_did_not_cause() {
        assert_eq!(lateness(100, 100, 50, 103), 3, "a free connection, used at once");
        assert_eq!(lateness(100, 101, 900, 902), 2, "the server took until 900");
        assert_eq!(lateness(100, 700, 900, 902), 600, "noticed late, behind others that were");
        assert_eq!(lateness(100, 700, 50, 705), 605, "noticed late, with a free connection");
    }
}
