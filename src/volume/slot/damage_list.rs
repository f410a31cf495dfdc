//! The damage that is known of a volume.

use std::collections::BTreeMap;

use crate::volume::scrub::Finding;

/// Places that are listed at most. Further ones are counted.
const DAMAGE_LISTED_MAX: usize = 10_000;

/// A place that was found damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundDamage {
    /// What is wrong, and where.
    pub finding: Finding,
    /// When it was found first (nanoseconds since 1970).
    pub found_ns: u64,
    /// When it was found last (nanoseconds since 1970).
    pub seen_ns: u64,
    /// Number of the last pass that has found it. The clock may go back.
    pass: u64,
}

/// The places that scrubs have found damaged, by offset in the file.
#[derive(Debug, Default)]
pub struct DamageList {
    places: BTreeMap<u64, FoundDamage>,
    /// Places beyond those that are listed.
    unlisted: u64,
    /// Number of passes that were begun.
    pass: u64,
}

impl DamageList {
    /// Number of places.
    pub fn count(&self) -> u64 {
        self.places.len() as u64 + self.unlisted
    }

    /// Returns the places, in the order of the file.
    pub fn all(&self) -> Vec<FoundDamage> {
        self.places.values().copied().collect()
    }

    /// Whether a place is known that overlaps `from..to` (bytes).
    pub fn overlaps(&self, from: u64, to: u64) -> bool {
        let before = self.places.range(..to).next_back();
        before.is_some_and(|(_, found)| found.finding.at.offset + found.finding.at.len > from)
    }

    /// Adds what was found at `now` (nanoseconds since 1970). Returns whether the place was not known.
    pub fn add(&mut self, finding: &Finding, now: u64) -> bool {
        if let Some(known) = self.places.get_mut(&finding.at.offset) {
            (known.seen_ns, known.pass) = (now, self.pass);
            // What names the object says more.
            if finding.id.is_some() || known.finding.id.is_none() {
                known.finding = *finding;
            }
            return false;
        }
        if self.places.len() == DAMAGE_LISTED_MAX {
            self.unlisted += 1;
            return true;
        }
        let (finding, pass) = (*finding, self.pass);
        let found = FoundDamage { finding, found_ns: now, seen_ns: now, pass };
        self.places.insert(finding.at.offset, found);
        true
    }

    /// A pass begins, which will find again what is still there.
    pub fn begin_pass(&mut self) {
        self.unlisted = 0;
        self.pass += 1;
    }

    /// The pass has read everything: what it has not found is there no more.
    pub fn end_pass(&mut self) {
        self.places.retain(|_, found| found.pass == self.pass);
    }

    /// Forgets everything: the volume has another file.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::NeedleId;
    use crate::volume::index::Location;
    use crate::volume::scrub::Flaw;

    fn finding(offset: u64, id: Option<NeedleId>) -> Finding {
        let at = Location { offset, len: 1024 };
        Finding { at, id, flaw: Flaw::Footer, is_io: false }
    }

    #[test]
    fn place_is_listed_once_and_until_a_pass_does_not_find_it() {
        let id = Some(NeedleId::new(1, 2));
        let mut list = DamageList::default();
        assert!(list.add(&finding(4096, None), 10) && list.add(&finding(8192, id), 11));
        assert!(!list.add(&finding(4096, id), 12));
        let all = list.all();
        let shown = all.iter().map(|it| (it.finding.at.offset, it.finding.id, it.found_ns));
        assert_eq!(shown.collect::<Vec<_>>(), [(4096, id, 10), (8192, id, 11)]);
        list.begin_pass();
        assert!(!list.add(&finding(8192, None), 5), "the clock went back");
        assert_eq!(list.count(), 2, "they count until the pass has ended");
        list.end_pass();
        let all = list.all();
        assert_eq!((all.len(), all[0].finding.id, all[0].found_ns), (1, id, 11));
        list.clear();
        assert_eq!(list.count(), 0);
    }

    #[test]
    fn places_beyond_the_limit_are_counted() {
        let mut list = DamageList::default();
        for n in 0..=DAMAGE_LISTED_MAX as u64 {
            assert!(list.add(&finding(n * 1024, None), 1));
        }
        assert_eq!((list.all().len(), list.count()), (DAMAGE_LISTED_MAX, 10_001));
        list.begin_pass();
        list.end_pass();
        assert_eq!(list.count(), 0);
    }

    #[test]
    fn overlapping_places_are_known() {
        let mut list = DamageList::default();
        list.add(&finding(4096, None), 1);
        let known = [(0, 4096), (0, 4097), (5119, 6000), (5120, 6000)];
        assert_eq!(known.map(|(from, to)| list.overlaps(from, to)), [false, true, true, false]);
    }
}
