//! The loop of a shard: what is ready, what other shards want, what the driver has completed, and
//! again.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::{Shard, Start};
use crate::account::AUDITED;
use crate::limits::{FRESH_GRACE_NS, PUBLISH_NS, TURN_MAX_NS};
use crate::op::Driver;
use crate::runtime::Runtime;
use crate::sabotage::{Sabotage, chosen};

/// A shard and what runs it. Whoever has several on one thread, as a simulation does, calls
/// [`Reactor::turn`] of each in turn; a daemon gives each a thread and calls [`run`].
pub struct Reactor {
    shard: Rc<Shard>,
    runtime: Runtime,
    /// When it began to drain (nanoseconds).
    drain_began: Option<u64>,
    /// Set when the volumes are closed; there once they are being closed.
    closed: Option<Rc<Cell<bool>>>,
    /// When the figures of the volumes were made known last (nanoseconds), and at how many completions.
    published: (u64, u64),
    until: u64,
}

impl Reactor {
    /// Begins: opens the volumes and accepts connections.
    #[must_use]
    pub fn new(runtime: Runtime, start: Start) -> Self {
        let handle = runtime.handle().clone();
        let (shard, assignments) = Shard::new(&handle, start);
        shard.metrics().buffer_bytes_total.set(handle.pool().capacity() as u64);
        shard.start(assignments);
        // No number of completions is this one: the first turn publishes, also in a shard that stays idle.
        let published = (0, u64::MAX);
        Self { shard, runtime, drain_began: None, closed: None, published, until: 0 }
    }

    /// When its next turn is due, if the driver has no completion before (nanoseconds).
    #[must_use]
    pub fn until(&self) -> u64 {
        self.until
    }

    /// Whether no client is connected and nothing is under way but the wait for the next.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let Self { shard, runtime, .. } = self;
        let handle = runtime.handle();
        shard.connections.held() + shard.refusing.held() == 0
            && handle.ops_in_flight() as u64 == shard.accepting.held()
            && handle.pool().used() == shard.volumes.buffer_bytes()
    }

    /// Recounts while no client is connected and nothing is under way.
    ///
    /// # Panics
    /// When something was not given back.
    pub fn expect_rest(&self) {
        let Self { shard, runtime, .. } = self;
        shard.connections.expect(0);
        shard.expect_nobody();
        shard.volumes.expect_rest();
        let accepts = usize::try_from(shard.accepting.held()).expect("few listeners");
        assert_eq!(shard.waiting.borrow().len(), accepts, "who waits, and the listeners");
        let in_flight = runtime.handle().ops_in_flight();
        assert_eq!(in_flight, accepts, "operations in flight, and those of listeners");
        let used = runtime.handle().pool().used();
        assert_eq!(used, shard.volumes.buffer_bytes(), "bytes of buffers lent for a time");
    }

    /// One turn: waits for completions, does what there is to do, hands over what it submits. Whether
    /// another one must follow: not when the shard has drained and its volumes are closed.
    pub fn turn<D: Driver>(&mut self, driver: &mut D) -> bool {
        let Self { shard, runtime, .. } = self;
        runtime.collect(driver, self.until);
        shard.mailbox().awake();
        runtime.run_ready();
        shard.read_mailbox();
        runtime.run_ready();
        if let Some(limit) = shard.device_limit.take() {
            driver.limit_device(limit);
        }
        let (now, counts) = (driver.now(), driver.counts());
        shard.turn(now, counts);
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
        self.until = runtime.earliest(if sleep { now + longest } else { 0 });
        true
    }

    /// Goes on with draining, if the daemon drains.
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
        debug_assert!(!is_drained || shard.is_at_rest(), "something is held for nobody");
        if is_drained && AUDITED {
            shard.volumes.expect_rest();
        }
        if is_drained || is_over {
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

/// Runs a shard on this thread until it has drained.
pub fn run<D: Driver>(mut driver: D, runtime: Runtime, start: Start) {
    let mut reactor = Reactor::new(runtime, start);
    while reactor.turn(&mut driver) {}
}

impl Shard {
    /// Whether nothing is held any more on behalf of a connection.
    fn is_at_rest(&self) -> bool {
        self.waiting.borrow().is_empty() && self.replies.is_empty() && self.admission.is_unused()
    }

    /// Whether nothing is left to do, here or in any other shard, which might still ask this one.
    fn drained(&self) -> bool {
        let nothing = self.accepting.held() == 0
            && self.connections.held() == 0
            && (self.refusing.held() == 0 || chosen(Sabotage::ForgetRefusals))
            && self.shared.arriving[usize::from(self.id)].load(Ordering::SeqCst) == 0;
        self.shared.idle[usize::from(self.id)].store(nothing, Ordering::SeqCst);
        nothing && self.shared.all_idle()
    }
}
