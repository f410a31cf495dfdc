//! A gauge, which rises and falls. One writer, many readers, like [`super::Counter`].

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that goes up and down, written by one thread and readable by all.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// A gauge at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Replaces the value. Only the owning thread may call this.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Adds `n`. Only the owning thread may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.set(self.value().wrapping_add(n));
    }

    /// Subtracts `n`. Only the owning thread may call this.
    ///
    /// A result below zero is a bug of the caller: a debug build panics, a release build sets the gauge to
    /// zero, because a wrapped value would make graphs useless.
    #[inline]
    pub fn sub(&self, n: u64) {
        let now = self.value();
        debug_assert!(now >= n, "gauge at {now} lowered by {n}");
        self.set(now.saturating_sub(n));
    }

    /// The value now; callable from any thread. The rest of the program reads with
    /// [`ReadMetric`](super::ReadMetric).
    #[inline]
    pub(super) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauge_is_raised_lowered_and_set() {
        let g = Gauge::new();
        g.add(5);
        g.sub(2);
        assert_eq!(g.value(), 3);
        g.set(9);
        assert_eq!(g.value(), 9);
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic(expected = "lowered by 2"))]
    fn gauge_never_wraps_below_zero() {
        let g = Gauge::new();
        g.set(1);
        g.sub(2);
        assert_eq!(g.value(), 0);
    }
}
