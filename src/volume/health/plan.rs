//! How often random needles of a volume are read.

use std::rc::Rc;

/// How often random needles of a volume are read, and who is notified of it.
#[derive(Clone)]
pub struct ProbePlan {
    /// Mean time between two reads (nanoseconds); 0: only on request.
    pub interval_ns: u64,
    /// Called with the time at which a read begins (nanoseconds), and with `None` when it has ended: a disk
    /// that hangs shows in a read that does not end.
    pub on_read: Rc<dyn Fn(Option<u64>)>,
    /// Called after each read, and at the end of a burst.
    pub on_end: Rc<dyn Fn()>,
}

impl ProbePlan {
    /// Returns the time until the next read (nanoseconds): between two and four thirds of the mean, so that
    /// the volumes of a disk are not all read at the same time.
    #[must_use]
    pub(super) fn wait_ns(&self, random: u64) -> Option<u64> {
        let third = self.interval_ns / 3;
        (self.interval_ns > 0).then(|| 2 * third + random % (2 * third + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_between_two_and_four_thirds_of_the_mean() {
        let plan = |interval_ns| ProbePlan {
            interval_ns,
            on_read: Rc::new(|_| ()),
            on_end: Rc::new(|| ()),
        };
        assert_eq!(plan(0).wait_ns(7), None);
        for random in [0, 1, u64::MAX, 20_000, 20_001] {
            let wait = plan(30_000).wait_ns(random).unwrap();
            assert!((20_000..=40_000).contains(&wait), "{wait}");
        }
    }
}
