//! The pace that the background work of a shard shares: it yields to requests, and it can be paused.

use std::cell::Cell;

use super::quantile::Percentile99;
use crate::runtime::Handle;

/// Time without a request after which background work does not wait (nanoseconds).
const IDLE_NS: u64 = 1_000_000_000;
/// Ratio of latencies, in percent, above which background work slows down.
const SLOWER_PERCENT: u64 = 120;
/// Pause between two steps, in percent of the time that the last step took: the least, the greatest, and the
/// first.
const PAUSE_PERCENT: (u64, u64, u64) = (25, 6400, 400);
/// Interval at which the pause is adapted (nanoseconds).
const ADAPT_NS: u64 = 50_000_000;

/// Interval at which paused work looks whether it is resumed (nanoseconds).
const LOOK_NS: u64 = 100_000_000;

/// Bytes per second that background work makes at least, and at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaceLimits {
    /// However busy the shard is; 0 for no such limit.
    pub min: u64,
    /// However idle the shard is; 0 for no such limit.
    pub max: u64,
}

/// The pace of a shard. Requests report how long their device reads took. Background work compares these
/// times with those of the time without background work, and lengthens its pauses while they are longer.
pub struct SharedPace {
    handle: Handle,
    limits: Cell<PaceLimits>,
    /// Latency while no background work was done.
    undisturbed: Percentile99,
    /// Latency while background work was done.
    disturbed: Percentile99,
    last_request: Cell<u64>,
    last_step: Cell<u64>,
    pause_percent: Cell<u64>,
    adapted_at: Cell<u64>,
    is_paused: Cell<bool>,
}

impl SharedPace {
    /// Creates the pace of a shard.
    #[must_use]
    pub fn new(handle: &Handle, limits: PaceLimits) -> Self {
        Self {
            handle: handle.clone(),
            limits: Cell::new(limits),
            undisturbed: Percentile99::default(),
            disturbed: Percentile99::default(),
            last_request: Cell::new(0),
            last_step: Cell::new(0),
            pause_percent: Cell::new(PAUSE_PERCENT.2),
            adapted_at: Cell::new(0),
            is_paused: Cell::new(false),
        }
    }

    /// Sets the limits.
    pub fn set_limits(&self, limits: PaceLimits) {
        self.limits.set(limits);
    }

    /// Records a device read for a request that ends now and took `ns` nanoseconds.
    pub fn request_took(&self, ns: u64) {
        let now = self.handle.now();
        self.last_request.set(now);
        match now - self.last_step.get() < IDLE_NS && self.last_step.get() > 0 {
            true => self.disturbed.add(ns),
            false => self.undisturbed.add(ns),
        }
    }

    /// Pauses or resumes the background work that follows this pace.
    pub fn set_paused(&self, is_paused: bool) {
        self.is_paused.set(is_paused);
    }

    /// Whether the background work is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused.get()
    }

    /// Waits while the background work is paused.
    pub(super) async fn resumed(&self) {
        while self.is_paused.get() {
            self.handle.sleep_until(self.handle.now() + LOOK_NS).await;
        }
    }

    /// Records a step that did `bytes` and took `took_ns`. Returns the time before which the next step must
    /// not begin (nanoseconds).
    pub(super) fn step_ended(&self, bytes: u64, took_ns: u64) -> u64 {
        let now = self.handle.now();
        self.last_step.set(now);
        let PaceLimits { min, max } = self.limits.get();
        let is_idle = now - self.last_request.get() >= IDLE_NS;
        let pause = if is_idle {
            0
        } else {
            self.adapt(now);
            took_ns.saturating_mul(self.pause_percent.get()) / 100
        };
        let longest = if min == 0 { u64::MAX } else { time_of(bytes, min).saturating_sub(took_ns) };
        let shortest = if max == 0 { 0 } else { time_of(bytes, max).saturating_sub(took_ns) };
        now + pause.min(longest).max(shortest)
    }

    fn adapt(&self, now: u64) {
        if now - self.adapted_at.get() < ADAPT_NS {
            return;
        }
        self.adapted_at.set(now);
        let (disturbed, undisturbed) = (self.disturbed.get(), self.undisturbed.get());
        let is_slower = undisturbed > 0
            && disturbed.saturating_mul(100) > undisturbed.saturating_mul(SLOWER_PERCENT);
        let percent = self.pause_percent.get();
        let adapted = if is_slower { percent + percent / 4 } else { percent - percent / 8 };
        self.pause_percent.set(adapted.clamp(PAUSE_PERCENT.0, PAUSE_PERCENT.1));
    }
}

/// Time that `bytes` take at `rate` bytes per second (nanoseconds).
fn time_of(bytes: u64, rate: u64) -> u64 {
    let ns = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    u64::try_from(ns).unwrap_or(u64::MAX)
}
