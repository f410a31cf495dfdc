//! The event loop of a shard. An iteration collects completions from the driver, runs ready tasks, reads
//! the mailbox, and hands submitted operations over to the driver.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::assignment::Assignment;
use super::shard::Shard;
use super::start::Start;
use crate::base::account::AUDITED;
use crate::base::limits::{FRESH_GRACE_NS, PUBLISH_NS, TURN_MAX_NS};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::Runtime;
use crate::runtime::op::{Driver, DriverCounts};
use crate::volume::Stats;

/// A shard and its runtime. A simulation, with several shards on one thread, calls
/// [`Reactor::run_iteration`] of each alternately; the daemon gives each shard a thread and calls [`run`].
pub struct Reactor {
    shard: Rc<Shard>,
    runtime: Runtime,
    /// Time at which the shard began to drain (nanoseconds).
    drain_began: Option<u64>,
    /// Present once the shard closes its volumes; true when they are closed.
    closed: Option<Rc<Cell<bool>>>,
    /// Time at which the volumes' metrics were published last (nanoseconds), and the driver's completion
    /// count at that time.
    published: (u64, u64),
    /// Time until which the next iteration may wait for completions (nanoseconds; 0 does not wait).
    next_iteration_at: u64,
}

impl Reactor {
    /// Starts a shard: begins to open its volumes and to accept connections.
    #[must_use]
    pub fn new(runtime: Runtime, start: Start) -> Self {
        let handle = runtime.handle().clone();
        let (shard, assignments) = Shard::new(&handle, start);
        shard.metrics().buffer_bytes_total.set(handle.pool().capacity() as u64);
        shard.start(assignments);
        // The completion count never has this value, so the first iteration publishes even if the shard
        // stays idle.
        let published = (0, u64::MAX);
        Self { shard, runtime, drain_began: None, closed: None, published, next_iteration_at: 0 }
    }

    /// Time at which the next iteration is due if the driver has no completion before (nanoseconds).
    #[must_use]
    pub fn next_iteration_at(&self) -> u64 {
        self.next_iteration_at
    }

    /// Whether no client is connected and no operation is in flight except those that accept connections.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let Self { shard, runtime, .. } = self;
        let handle = runtime.handle();
        shard.connections.held() + shard.refusing.held() == 0
            && handle.ops_in_flight() as u64 == shard.accepting.held()
            && handle.pool().used() == shard.volumes.buffer_bytes()
    }

    /// Compares all accounts with a recount. To be called only while [`Self::is_at_rest`].
    ///
    /// # Panics
    /// When something was not given back.
    pub fn expect_rest(&self) {
        let Self { shard, runtime, .. } = self;
        shard.connections.expect(0);
        shard.expect_no_requests();
        shard.volumes.expect_rest();
        let accepts = usize::try_from(shard.accepting.held()).expect("listener count fits usize");
        assert_eq!(shard.waiting.borrow().len(), accepts, "waits are not one for each listener");
        let in_flight = runtime.handle().ops_in_flight();
        assert_eq!(in_flight, accepts, "operations in flight are not one for each listener");
        let used = runtime.handle().pool().used();
        assert_eq!(
            used,
            shard.volumes.buffer_bytes(),
            "buffers are in use that no volume keeps (bytes)"
        );
    }

    /// Runs one event loop iteration: waits for completions, runs ready tasks, and hands submitted operations
    /// to the driver. Returns whether another iteration must follow: false once the shard has drained, or
    /// its drain deadline has passed, and its volumes are closed.
    pub fn run_iteration<D: Driver>(&mut self, driver: &mut D) -> bool {
        let Self { shard, runtime, .. } = self;
        runtime.collect(driver, self.next_iteration_at);
        shard.mailbox().awake();
        runtime.run_ready();
        shard.read_mailbox();
        runtime.run_ready();
        if let Some(limit) = shard.device_limit.take() {
            driver.limit_device(limit);
        }
        let (now, counts) = (driver.now(), driver.counts());
        shard.record_iteration(now, counts);
        let seen = counts.completions;
        let (published, completions) = self.published;
        if seen != completions && now >= published + PUBLISH_NS {
            shard.publish();
            self.published = (now, seen);
        }
        if self.closed.as_ref().is_some_and(|closed| closed.get()) {
            shard.publish();
            return false;
        }
        self.drain();
        let Self { shard, runtime, .. } = self;
        let sleep = !runtime.has_ready() && shard.mailbox().may_sleep();
        let longest = if seen == self.published.1 { TURN_MAX_NS } else { PUBLISH_NS };
        runtime.hand_over(driver);
        self.next_iteration_at = runtime.earliest(if sleep { now + longest } else { 0 });
        true
    }

    /// Continues draining, if the daemon drains.
    fn drain(&mut self) {
        let shard = &self.shard;
        if !shard.draining() || self.closed.is_some() {
            return;
        }
        let now = shard.handle.now();
        let time = now - *self.drain_began.get_or_insert(now);
        shard.cancel_waits(time >= FRESH_GRACE_NS);
        let is_over = time >= shard.config.drain_ns && !chosen(Sabotage::EndlessDrain);
        let is_drained = shard.drained();
        debug_assert!(
            !is_drained || shard.is_at_rest(),
            "drained, but a connection still holds something"
        );
        if is_drained && AUDITED {
            shard.volumes.expect_rest();
        }
        if is_drained || is_over {
            shard.peers.clear();
            let closed = Rc::new(Cell::new(false));
            self.closed = Some(Rc::clone(&closed));
            let closing = Rc::clone(shard);
            shard.handle.spawn(async move {
                closing.volumes.close_all().await;
                closed.set(true);
            });
        }
    }
}

/// Runs a shard on the calling thread until it has drained and closed its volumes.
pub fn run<D: Driver>(mut driver: D, runtime: Runtime, start: Start) {
    let mut reactor = Reactor::new(runtime, start);
    while reactor.run_iteration(&mut driver) {}
}

impl Shard {
    fn start(self: &Rc<Self>, assignments: Vec<Assignment>) {
        for listener in self.listeners.take() {
            self.handle.spawn(Rc::clone(self).accept(listener));
        }
        let shard = Rc::clone(self);
        self.handle.spawn(async move {
            shard.volumes.open_all(&shard.handle, assignments).await;
        });
    }

    /// Records the metrics of an event loop iteration.
    fn record_iteration(&self, now: u64, counts: DriverCounts) {
        let metrics = self.metrics();
        self.board().turn(now);
        metrics.turns.inc();
        metrics.turn_duration.record(now.saturating_sub(self.handle.now()));
        metrics.enters.raise_to(counts.enters);
        metrics.completions.raise_to(counts.completions);
        metrics.ops_in_flight.set(self.handle.ops_in_flight() as u64);
        metrics.buffer_bytes_used.set(self.handle.pool().used() as u64);
        if AUDITED && self.connections.held() == 0 && self.refusing.held() == 0 {
            self.expect_no_requests();
        }
    }

    /// Asserts that nothing is admitted, no answer is awaited and no upload has a reservation. Holds whenever
    /// there are no connections.
    fn expect_no_requests(&self) {
        self.admission.expect_nothing();
        assert_eq!(self.requester.in_flight(), 0, "answers are awaited without a connection");
        self.volumes.expect_no_uploads();
    }

    /// Publishes the metrics of the volumes.
    fn publish(&self) {
        let metrics = self.metrics();
        let sum =
            |counter: fn(&Stats) -> &Cell<u64>| self.volumes.sum(|stats| counter(stats).get());
        let pairs = [
            (&metrics.device_reads, sum(|stats| &stats.get_reads)),
            (&metrics.device_reads_other, sum(|stats| &stats.other_reads)),
            (&metrics.device_read_bytes, sum(|stats| &stats.get_read_bytes)),
            (&metrics.commits, sum(|stats| &stats.commits)),
            (&metrics.commit_needles, sum(|stats| &stats.commit_needles)),
            (&metrics.commit_bytes, sum(|stats| &stats.commit_bytes)),
            (&metrics.flushes, sum(|stats| &stats.durable_writes)),
            (&metrics.hint_writes, sum(|stats| &stats.hints)),
            (&metrics.false_candidates, sum(|stats| &stats.false_candidates)),
            (&metrics.checksum_failures, sum(|stats| &stats.damaged_reads)),
        ];
        for (counter, total) in pairs {
            counter.raise_to(total);
        }
        self.volumes.publish();
    }

    /// Whether nothing is held on behalf of a connection.
    fn is_at_rest(&self) -> bool {
        self.waiting.borrow().is_empty()
            && self.requester.in_flight() == 0
            && self.admission.is_unused()
    }

    /// Whether this shard and all others, which may still send requests to this one, have nothing left to do.
    fn drained(&self) -> bool {
        let nothing = self.accepting.held() == 0
            && self.connections.held() == 0
            && (self.refusing.held() == 0 || chosen(Sabotage::ForgetRefusals))
            && self.shared.arriving[self.id.index()].load(Ordering::SeqCst) == 0;
        self.shared.idle[self.id.index()].store(nothing, Ordering::SeqCst);
        nothing && self.shared.all_idle()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::message::Message;
    use super::super::order::LimitDevice;
    use super::super::remote::{RemoteKind, RemoteRequest, RequestOrigin};
    use super::*;
    use crate::base::types::ShardId;
    use crate::runtime::buffer::{Pool, Region};
    use crate::runtime::op::{Completion, Op, Token};
    use crate::runtime::sim::disk::Image;
    use crate::runtime::sim::{SimDriver, World};

    /// Records the limits of devices that it receives.
    struct Recorder {
        driver: SimDriver,
        limits: Vec<usize>,
    }

    impl Driver for Recorder {
        fn submit(&mut self, token: Token, op: Op) {
            self.driver.submit(token, op);
        }

        fn cancel(&mut self, token: Token) {
            self.driver.cancel(token);
        }

        fn reap(&mut self, until: u64, completed: &mut Vec<Completion>) {
            self.driver.reap(until, completed);
        }

        fn counts(&self) -> DriverCounts {
            self.driver.counts()
        }

        fn limit_device(&mut self, limit: usize) {
            self.limits.push(limit);
        }

        fn now(&self) -> u64 {
            self.driver.now()
        }

        fn wall(&self) -> u64 {
            self.driver.wall()
        }
    }

    #[test]
    fn device_limit_order_reaches_the_driver_once() {
        let world = World::new(1, &Image::default());
        let mut driver = Recorder { driver: world.driver(), limits: Vec::new() };
        let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
        let runtime = Runtime::new(&driver, pool, || 7);
        let start = Start::empty(ShardId::from_index(0), 1);
        let shared = Arc::clone(&start.shared);
        let mut reactor = Reactor::new(runtime, start);
        let request = LimitDevice { operations: 3 }.into_any();
        let order = RemoteRequest { from: RequestOrigin::Main, number: 0, request };
        assert!(shared.mailboxes[0].send(Message::Request(order)).is_ok());
        for _ in 0..3 {
            assert!(reactor.run_iteration(&mut driver));
        }
        assert_eq!(driver.limits, [3]);
    }
}
