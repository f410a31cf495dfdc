//! Pauses after failures.

/// Pause after the first failure (nanoseconds); doubles each time.
const PAUSE_NS: u64 = 1_000_000_000;
/// Longest pause (nanoseconds).
const PAUSE_MAX_NS: u64 = 30_000_000_000;

/// When something that failed is tried again.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// Number of failures in a row.
    failures: u32,
    not_before_ns: u64,
}

impl Retry {
    /// Whether it may be tried now.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.not_before_ns
    }

    /// Records a failure.
    pub(super) fn failed(&mut self, now_ns: u64) {
        let pause = PAUSE_NS.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX_NS);
        self.failures = self.failures.saturating_add(1);
        self.not_before_ns = now_ns.saturating_add(pause);
    }

    /// Forgets the failures.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let (mut retry, mut now) = (Retry::default(), 7);
        assert!(retry.is_due(0));
        let mut pauses = Vec::new();
        for _ in 0..7 {
            retry.failed(now);
            let pause = (0..).find(|ms| retry.is_due(now + ms * 1_000_000)).unwrap();
            pauses.push(pause);
            now += pause * 1_000_000;
        }
        assert_eq!(pauses, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        retry.reset();
        assert!(retry.is_due(0));
        retry.failed(0);
        assert!(retry.is_due(PAUSE_NS) && !retry.is_due(PAUSE_NS - 1));
    }
}
