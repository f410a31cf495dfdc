//! The errors of a volume or a disk within ten minutes, and how many are too many.

use std::collections::VecDeque;

use crate::base::limits::{SUSPECT_HARD, SUSPECT_SOFT};

/// Time within which errors are counted (nanoseconds).
const WINDOW_NS: u64 = 600_000_000_000;

/// Numbers of new places at which reads failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// And failed again.
    pub hard: u64,
    /// And succeeded when they were repeated.
    pub soft: u64,
}

impl Errors {
    /// Returns whether there is none.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// Returns the errors since there were `before`. Fewer than before are those of another volume with the
    /// same number: all of them count.
    pub fn since(self, before: Self) -> Self {
        let since = |now: u64, before: u64| if now >= before { now - before } else { now };
        Self { hard: since(self.hard, before.hard), soft: since(self.soft, before.soft) }
    }
}

/// The errors within ten minutes.
#[derive(Debug, Default)]
pub struct RecentErrors {
    /// Times (nanoseconds) and errors, in the order of the times.
    seen: VecDeque<(u64, Errors)>,
}

impl RecentErrors {
    /// Adds errors that were seen at `now` (nanoseconds).
    pub fn add(&mut self, errors: Errors, now: u64) {
        self.forget_old(now);
        if !errors.is_none() {
            self.seen.push_back((now, errors));
        }
    }

    /// Returns the sums.
    pub fn sums(&mut self, now: u64) -> Errors {
        self.forget_old(now);
        self.seen.iter().fold(Errors::default(), |sum, (_, errors)| Errors {
            hard: sum.hard + errors.hard,
            soft: sum.soft + errors.soft,
        })
    }

    /// Returns a sentence that says so if there are too many.
    pub fn too_many(&mut self, now: u64) -> Option<String> {
        let Errors { hard, soft } = self.sums(now);
        let is_too_many = hard >= SUSPECT_HARD || soft >= SUSPECT_SOFT;
        is_too_many.then(|| {
            format!("reads failed at {hard} places for good, at {soft} for a time, in 10 minutes")
        })
    }

    /// Forgets all errors: an operator has cleared them.
    pub fn clear(&mut self) {
        self.seen.clear();
    }

    fn forget_old(&mut self, now: u64) {
        let is_old = |(time, _): &(u64, Errors)| now.saturating_sub(*time) > WINDOW_NS;
        while self.seen.front().is_some_and(is_old) {
            self.seen.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(hard: u64, soft: u64) -> Errors {
        Errors { hard, soft }
    }

    #[test]
    fn three_hard_or_ten_soft_errors_within_ten_minutes_are_too_many() {
        for (first, second, are_too_many) in [
            (errors(2, 0), errors(0, 9), false),
            (errors(2, 0), errors(1, 0), true),
            (errors(0, 9), errors(0, 0), false),
            (errors(0, 9), errors(0, 1), true),
        ] {
            let mut recent = RecentErrors::default();
            recent.add(first, 5);
            assert!(recent.too_many(5).is_none());
            recent.add(second, WINDOW_NS + 5);
            assert_eq!(recent.too_many(WINDOW_NS + 5).is_some(), are_too_many, "{second:?}");
            assert!(recent.too_many(WINDOW_NS + 6).is_none(), "the first ones are long past");
        }
    }

    #[test]
    fn cleared_errors_do_not_count() {
        let mut recent = RecentErrors::default();
        recent.add(errors(3, 0), 1);
        recent.clear();
        recent.add(errors(2, 0), 2);
        assert_eq!((recent.sums(2), recent.too_many(2)), (errors(2, 0), None));
    }

    #[test]
    fn counts_that_begin_anew_count_from_zero() {
        assert_eq!(errors(5, 7).since(errors(3, 7)), errors(2, 0));
        assert_eq!(errors(1, 0).since(errors(3, 7)), errors(1, 0));
    }
}
