//! Rate limit for warnings that would repeat with every connection: at most one a minute, with the number of
//! omitted ones.

use std::cell::Cell;
use std::fmt;

/// Smallest interval between two warnings (nanoseconds).
const INTERVAL_NS: u64 = 60_000_000_000;

/// Rate limit for one kind of warning.
#[derive(Debug, Default)]
pub struct Throttle {
    /// Time before which no warning is written (nanoseconds of the monotonic clock).
    next: Cell<u64>,
    omitted: Cell<u64>,
}

/// Number of warnings omitted since the last one written. `Display` prints the end of a sentence, or nothing
/// for 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Omitted(pub u64);

impl Throttle {
    /// Returns the number of omitted warnings if a warning may be written at `now` (nanoseconds of the
    /// monotonic clock); else counts it as omitted and returns `None`.
    pub fn admit(&self, now: u64) -> Option<Omitted> {
        if now < self.next.get() {
            self.omitted.set(self.omitted.get() + 1);
            return None;
        }
        self.next.set(now.saturating_add(INTERVAL_NS));
        Some(Omitted(self.omitted.take()))
    }
}

impl fmt::Display for Omitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " ({count} more of these since the last such line)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_interval_is_admitted_and_the_rest_counted() {
        let throttle = Throttle::default();
        let start = 5_000_000_000;
        assert_eq!(throttle.admit(start), Some(Omitted(0)));
        for n in 1..1000 {
            assert_eq!(throttle.admit(start + n * (INTERVAL_NS / 1000)), None);
        }
        let next = throttle.admit(start + INTERVAL_NS);
        assert_eq!(next, Some(Omitted(999)));
        assert_eq!(next.unwrap().to_string(), " (999 more of these since the last such line)");
        assert_eq!(throttle.admit(start + INTERVAL_NS + 1), None);
        assert_eq!(throttle.admit(start + 3 * INTERVAL_NS), Some(Omitted(1)));
        assert_eq!(throttle.admit(start + 4 * INTERVAL_NS), Some(Omitted(0)));
        assert_eq!(Omitted(0).to_string(), "");
    }

    #[test]
    fn clock_at_maximum_admits_every_line() {
        let throttle = Throttle::default();
        assert_eq!(throttle.admit(u64::MAX - 1), Some(Omitted(0)));
        assert_eq!(throttle.admit(u64::MAX), Some(Omitted(0)));
    }
}
