//! Marks that advance lazily.

use std::collections::VecDeque;

/// Time after which every exchange about a change has ended, or has been reported as failed (nanoseconds):
/// longer than the longest exchange.
const SETTLED_AFTER_NS: u64 = 10_000_000_000;
/// Interval between two samples (nanoseconds).
const SAMPLE_EVERY_NS: u64 = 1_000_000_000;

/// The highest version of a volume at some points in time.
#[derive(Debug, Default)]
pub(super) struct Samples(VecDeque<(u64, u64)>);

impl Samples {
    /// Takes a sample, if one is due. Returns the highest version of all samples that are settled.
    pub(super) fn add(&mut self, newest: u64, now_ns: u64) -> Option<u64> {
        let is_due = |last: &(u64, u64)| now_ns >= last.0.saturating_add(SAMPLE_EVERY_NS);
        if self.0.back().is_none_or(is_due) {
            self.0.push_back((now_ns, newest));
        }
        let mut settled = None;
        while let Some((at, version)) = self.0.front()
            && now_ns >= at.saturating_add(SETTLED_AFTER_NS)
        {
            settled = Some(*version);
            self.0.pop_front();
        }
        settled
    }

    /// Forgets all samples: an exchange has failed.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn sample_is_settled_after_ten_seconds() {
        let mut samples = Samples::default();
        for tenth in 0..100 {
            assert_eq!(samples.add(tenth, tenth * SECOND / 10), None);
        }
        assert_eq!(samples.add(100, 10 * SECOND), Some(0));
        assert_eq!(samples.add(101, 10 * SECOND + 1), None, "the next one is a second younger");
        assert_eq!(samples.add(110, 11 * SECOND), Some(10));
        assert_eq!(samples.add(200, 100 * SECOND), Some(110), "the newest of several");
        samples.clear();
        assert_eq!(samples.add(300, 110 * SECOND), None);
        assert_eq!(samples.add(300, 120 * SECOND), Some(300));
    }
}
