//! The places of a file at which a read failed or returned other bytes than were written.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::base::sabotage::{Sabotage, chosen};

/// Distance within which errors count as one place (bytes): latent errors cluster, and one scratch must not
/// count as many.
pub const PLACE_DISTANCE: u64 = 1 << 20;
/// Places of each severity that are kept at most. Far fewer make a volume suspect.
pub const PLACES_MAX: usize = 4096;

/// How bad an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The second attempt failed, too.
    Hard,
    /// The second attempt succeeded.
    Soft,
}

/// The places of a file at which reads failed.
#[derive(Debug, Default)]
pub struct ReadErrors {
    /// Begin and end (bytes) of each place of hard errors.
    hard: BTreeMap<u64, u64>,
    /// The same of soft errors.
    soft: BTreeMap<u64, u64>,
    /// Begin of the last place that was new (bytes).
    last: Option<u64>,
}

impl ReadErrors {
    /// Records an error in a range (bytes). Returns whether it counts: not if an error at least as bad is
    /// known within [`PLACE_DISTANCE`]. A photo that is damaged and popular counts once.
    pub fn note(&mut self, range: &Range<u64>, severity: Severity) -> bool {
        let is_known = is_near(&self.hard, range)
            || (severity == Severity::Soft && is_near(&self.soft, range));
        if is_known && !chosen(Sabotage::CountErrorsTwice) {
            return false;
        }
        let places = match severity {
            Severity::Hard => &mut self.hard,
            Severity::Soft => &mut self.soft,
        };
        if places.len() >= PLACES_MAX {
            return false;
        }
        places.insert(range.start, range.end);
        self.last = Some(range.start);
        true
    }

    /// Records a place of hard errors that is known from before. It does not count.
    pub fn remember(&mut self, range: &Range<u64>) {
        if self.hard.len() < PLACES_MAX {
            self.hard.insert(range.start, range.end);
        }
    }

    /// Returns the places of hard errors, in the order of the file.
    #[must_use]
    pub fn hard_places(&self) -> Vec<Range<u64>> {
        self.hard.iter().map(|(start, end)| *start..*end).collect()
    }

    /// Returns the begin of the last place that was new (bytes), once.
    pub fn take_last(&mut self) -> Option<u64> {
        self.last.take()
    }
}

/// Whether a place is within [`PLACE_DISTANCE`] of a range.
fn is_near(places: &BTreeMap<u64, u64>, range: &Range<u64>) -> bool {
    let before = places.range(..range.end.saturating_add(PLACE_DISTANCE)).next_back();
    before.is_some_and(|(_, end)| end.saturating_add(PLACE_DISTANCE) > range.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(offset: u64) -> Range<u64> {
        offset..offset + 512
    }

    #[test]
    fn errors_within_a_mebibyte_are_one_place() {
        let mut errors = ReadErrors::default();
        assert!(errors.note(&at(10 * MIB), Severity::Hard));
        for offset in [10 * MIB, 9 * MIB, 11 * MIB + 511, 9 * MIB + 4096] {
            assert!(!errors.note(&at(offset), Severity::Hard), "{offset}");
        }
        assert!(errors.note(&at(11 * MIB + 512), Severity::Hard));
        assert!(errors.note(&at(9 * MIB - 512), Severity::Hard));
        let places = errors.hard_places();
        assert_eq!(places, [at(9 * MIB - 512), at(10 * MIB), at(11 * MIB + 512)]);
    }

    #[test]
    fn long_read_that_failed_is_one_place() {
        let mut errors = ReadErrors::default();
        assert!(errors.note(&(10 * MIB..14 * MIB), Severity::Hard));
        assert!(!errors.note(&at(13 * MIB), Severity::Hard));
        assert!(!errors.note(&at(15 * MIB - 512), Severity::Hard));
        assert!(errors.note(&at(15 * MIB), Severity::Hard));
    }

    #[test]
    fn hard_error_counts_where_a_soft_one_is_known_and_not_the_other_way_round() {
        let mut errors = ReadErrors::default();
        assert!(errors.note(&at(MIB), Severity::Soft));
        assert!(!errors.note(&at(MIB), Severity::Soft));
        assert!(errors.note(&at(MIB), Severity::Hard));
        assert!(!errors.note(&at(MIB), Severity::Soft));
        assert_eq!(errors.take_last(), Some(MIB));
        assert_eq!(errors.take_last(), None);
    }

    #[test]
    fn remembered_places_do_not_count_again() {
        let mut errors = ReadErrors::default();
        errors.remember(&at(MIB));
        assert!(!errors.note(&at(MIB), Severity::Hard));
        assert!(!errors.note(&at(MIB), Severity::Soft));
        assert_eq!((errors.hard_places(), errors.take_last()), (vec![at(MIB)], None));
    }

    #[test]
    fn number_of_places_is_bounded() {
        let mut errors = ReadErrors::default();
        for n in 0..PLACES_MAX as u64 {
            assert!(errors.note(&at(n * 3 * MIB), Severity::Hard));
        }
        assert!(!errors.note(&at(u64::MAX - 512), Severity::Hard));
        errors.remember(&at(1 << 50));
        assert_eq!(errors.hard_places().len(), PLACES_MAX);
    }
}
