//! Two lists of objects, of any length and in any order, that are to be compared.

use std::hash::Hasher;
use std::io;

use xxhash_rust::xxh3::Xxh3;

use super::differences::Differences;
use super::listed_id::{ListedId, Side};
use super::partition::Partition;

/// Number of partitions, each with a temporary file of its own.
const PARTITIONS: u64 = 256;

/// Two lists of objects that are to be compared. Entries are kept in temporary files, in the directory that
/// `TMPDIR` names: 29 bytes each, so 5.8 GB for two lists of 100 million objects. The partition of an entry
/// is chosen by a hash of its id, and one partition at a time is compared in memory, with 40 bytes for
/// each entry and as much again while they are sorted: 63 MB for such lists. Buffers take another 4 MiB, and
/// 256 descriptors are open.
///
/// Of several entries of an object in one list the last one counts: a list that is made while the volume is
/// written may show an object in its old and in its new version.
#[derive(Debug)]
pub struct ObjectLists {
    partitions: Vec<Partition>,
}

impl ObjectLists {
    /// Creates two empty lists.
    ///
    /// # Errors
    /// A temporary file cannot be created.
    pub fn new() -> io::Result<Self> {
        let partitions = (0..PARTITIONS).map(|_| Partition::create());
        Ok(Self { partitions: partitions.collect::<io::Result<_>>()? })
    }

    /// Adds an object to a list.
    ///
    /// # Errors
    /// A temporary file cannot be written.
    pub fn add(&mut self, side: Side, object: ListedId) -> io::Result<()> {
        self.add_with(side, object, 0)
    }

    /// Adds an object to a list, with a number that a difference names, too.
    ///
    /// # Errors
    /// A temporary file cannot be written.
    pub fn add_with(&mut self, side: Side, object: ListedId, note: u64) -> io::Result<()> {
        let index = partition_of(&object);
        self.partitions[index].add(side, object, note)
    }

    /// Compares the lists. The differences come in no particular order. An item is an error if a temporary
    /// file cannot be read.
    #[must_use]
    pub fn differences(self) -> Differences {
        Differences::new(self.partitions)
    }
}

fn partition_of(object: &ListedId) -> usize {
    // A seed of its own, so that objects of few buckets of digests are in all partitions.
    let mut hash = Xxh3::with_seed(1);
    hash.write_u64(object.key);
    hash.write_u32(object.alt);
    usize::try_from(hash.finish() % PARTITIONS).expect("a partition number is small")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::difference::{Difference, DifferenceKind};
    use super::*;

    fn compare(entries: impl IntoIterator<Item = (Side, u64, u32, u64)>) -> Vec<Difference> {
        let mut lists = ObjectLists::new().unwrap();
        for (side, key, alt, digest) in entries {
            lists.add(side, ListedId { key, alt, digest }).unwrap();
        }
        let mut found = lists.differences().collect::<io::Result<Vec<_>>>().unwrap();
        found.sort();
        found
    }

    #[test]
    fn equal_lists_have_no_differences_whatever_their_order() {
        let forwards = (0..10_000).map(|key| (Side::First, key, 1, key ^ 7));
        let backwards = (0..10_000).rev().map(|key| (Side::Second, key, 1, key ^ 7));
        assert_eq!(compare(forwards.chain(backwards)), []);
        assert_eq!(compare([]), []);
    }

    #[test]
    fn each_difference_is_found_once() {
        let entries = [
            (Side::First, 1, 0, 10),
            (Side::Second, 1, 0, 10),
            (Side::First, 1, 1, 10),
            (Side::Second, 2, 0, 10),
            (Side::First, 3, 0, 10),
            (Side::Second, 3, 0, 11),
        ];
        let difference = |key, alt, kind| Difference { key, alt, kind, notes: [0; 2] };
        assert_eq!(
            compare(entries),
            [
                difference(1, 1, DifferenceKind::OnlyFirst),
                difference(2, 0, DifferenceKind::OnlySecond),
                difference(3, 0, DifferenceKind::Differs),
            ]
        );
    }

    #[test]
    fn last_entry_of_an_object_counts() {
        let old_and_new = [(Side::First, 5, 0, 1), (Side::First, 5, 0, 2)];
        assert_eq!(compare(old_and_new.into_iter().chain([(Side::Second, 5, 0, 2)])), []);
        assert_eq!(compare(old_and_new.into_iter().chain([(Side::Second, 5, 0, 1)])).len(), 1);
    }

    #[test]
    fn differences_have_the_notes_of_the_entries_that_count() {
        let mut lists = ObjectLists::new().unwrap();
        let of = |key, digest| ListedId { key, alt: 0, digest };
        lists.add_with(Side::First, of(1, 1), 10).unwrap();
        lists.add_with(Side::First, of(1, 2), 11).unwrap();
        lists.add_with(Side::Second, of(1, 3), 20).unwrap();
        lists.add_with(Side::Second, of(2, 3), 21).unwrap();
        let found = lists.differences().map(|difference| difference.unwrap());
        let mut notes: Vec<_> =
            found.map(|difference| (difference.key, difference.notes)).collect();
        notes.sort_unstable();
        assert_eq!(notes, [(1, [11, 20]), (2, [0, 21])]);
    }

    #[test]
    fn entries_are_spread_over_all_partitions() {
        let mut counts = vec![0; usize::try_from(PARTITIONS).unwrap()];
        for key in 0..25_600 {
            counts[partition_of(&ListedId { key, alt: 0, digest: 0 })] += 1;
        }
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn differences_are_those_of_maps(
            entries in proptest::collection::vec(
                (any::<bool>(), 0..40_u64, 0..3_u32, 0..3_u64), 0..400,
            ),
        ) {
            let side = |is_first| if is_first { Side::First } else { Side::Second };
            let entries = entries.into_iter();
            let entries: Vec<_> =
                entries.map(|(first, key, alt, digest)| (side(first), key, alt, digest)).collect();
            let map = |wanted| -> BTreeMap<(u64, u32), u64> {
                let of_side = entries.iter().filter(|entry| entry.0 == wanted);
                of_side.map(|&(_, key, alt, digest)| ((key, alt), digest)).collect()
            };
            let (first, second) = (map(Side::First), map(Side::Second));
            let ids = (0..40_u64).flat_map(|key| (0..3_u32).map(move |alt| (key, alt)));
            let expected = ids.filter_map(|(key, alt)| {
                let kind = match (first.get(&(key, alt)), second.get(&(key, alt))) {
                    (Some(_), None) => DifferenceKind::OnlyFirst,
                    (None, Some(_)) => DifferenceKind::OnlySecond,
                    (one, other) if one != other => DifferenceKind::Differs,
                    _ => return None,
                };
                Some(Difference { key, alt, kind, notes: [0; 2] })
            });
            prop_assert_eq!(compare(entries.iter().copied()), expected.collect::<Vec<_>>());
        }
    }
}
