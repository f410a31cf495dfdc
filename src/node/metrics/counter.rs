//! A counter, which only rises.
//!
//! Counters and gauges have a **single writer**, the shard that they belong to. So `add` is a plain load and
//! a plain store: no lock prefix, and no cache line that moves between writing cores. Any thread may read at
//! any time, also while the writer hangs. A second writer would lose updates, but not violate memory safety.
//!
//! All accesses are relaxed: a reader may see one counter ahead of another. They are for people: what the
//! program itself decides on is on the board ([`crate::node::board`]).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only rises, written by one thread and readable by all.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `n`. Only the owning thread may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Raises the value to `total`, a sum that the owner keeps elsewhere. Only the owning thread may call
    /// this.
    ///
    /// A `total` below the value is a bug of the caller: a debug build panics.
    #[inline]
    pub fn raise_to(&self, total: u64) {
        debug_assert!(total >= self.value(), "counter at {} lowered to {total}", self.value());
        self.0.store(total, Relaxed);
    }

    /// Adds one. Only the owning thread may call this.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
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
    fn counter_adds_and_is_raised() {
        let c = Counter::new();
        c.inc();
        c.add(41);
        assert_eq!(c.value(), 42);
        c.raise_to(50);
        assert_eq!(c.value(), 50);
    }

    #[test]
    fn concurrent_reader_never_sees_the_counter_fall() {
        let c = Counter::new();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut last = 0;
                while last < 100_000 {
                    let now = c.value();
                    assert!(now >= last, "{now} after {last}");
                    last = now;
                }
            });
            for _ in 0..100_000 {
                c.inc();
            }
            reader.join().expect("the reader saw the counter fall");
        });
        assert_eq!(c.value(), 100_000);
    }
}
