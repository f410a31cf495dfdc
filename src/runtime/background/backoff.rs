//! Pauses between attempts that fail.

use std::cell::Cell;

/// Doublings after which a pause no longer grows, whatever its maximum is.
const DOUBLINGS_MAX: u32 = 16;

/// The pause after a failed attempt. It doubles with each failure in a row.
#[derive(Debug)]
pub struct Backoff {
    first_ns: u64,
    max_ns: u64,
    failures: Cell<u32>,
    not_before: Cell<u64>,
}

impl Backoff {
    /// Creates a backoff whose first pause is `first_ns` long and none longer than `max_ns` (nanoseconds).
    #[must_use]
    pub const fn new(first_ns: u64, max_ns: u64) -> Self {
        Self { first_ns, max_ns, failures: Cell::new(0), not_before: Cell::new(0) }
    }

    /// Time before which there is no new attempt (nanoseconds).
    #[must_use]
    pub fn not_before(&self) -> u64 {
        self.not_before.get()
    }

    /// Records that an attempt succeeded.
    pub fn succeeded(&self) {
        self.failures.set(0);
        self.not_before.set(0);
    }

    /// Records that an attempt failed at `now`. Each failure in a row doubles the pause: what failed, a
    /// device for example, seldom recovers soon.
    pub fn failed(&self, now: u64) {
        let failures = self.failures.get();
        self.pause(now, failures);
        self.failures.set(failures.saturating_add(1));
    }

    /// Records that an attempt could not begin at `now`, for example without a buffer. The pause is the
    /// shortest one: such a lack soon ends.
    pub fn postponed(&self, now: u64) {
        self.pause(now, 0);
        self.failures.set(0);
    }

    fn pause(&self, now: u64, doublings: u32) {
        let pause = self.first_ns << doublings.min(DOUBLINGS_MAX);
        self.not_before.set(now + pause.min(self.max_ns));
    }
}
