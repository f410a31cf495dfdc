//! Times of one look at the volumes.

use std::rc::Rc;

use crate::base::sys;

/// The time, by two clocks (nanoseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// CLOCK_MONOTONIC: for pauses and intervals.
    pub monotonic_ns: u64,
    /// Wall clock since 1970: for the age of bytes on disk, and the time of day.
    pub wall_ns: u64,
}

/// A clock, which a test can control.
pub type Clock = Rc<dyn Fn() -> Now>;

impl Now {
    /// The clock of this machine.
    pub fn clock() -> Clock {
        Rc::new(|| Self { monotonic_ns: sys::monotonic_ns(), wall_ns: sys::wall_ns() })
    }
}
