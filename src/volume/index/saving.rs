//! Saving an index segment by segment, and restoring it.

use super::hash::Hasher;
use super::index::Index;
use super::location::{Extent, Location};
use super::memory::Bucket;
use super::segment::{BUCKET_LEN, BUCKETS_MIN, BUCKETS_STEP};
use super::unit_number::UnitNumber;
use crate::base::limits::UNIT;

/// Version of the arithmetic: rises when the same numbers come to describe another table.
const LAYOUT_VERSION: u32 = 1;

/// A segment of the table, to be saved.
pub struct SavedSegment<'a> {
    /// Leading bits that all its hashes have in common.
    pub prefix: u32,
    /// Number of these leading bits.
    pub depth: u32,
    /// Start of the next segment: its first hash.
    pub next: u64,
    /// Number of entries.
    pub len: usize,
    buckets: &'a [Bucket],
}

impl SavedSegment<'_> {
    /// Returns its buckets; a free slot is 0.
    pub fn buckets(&self) -> impl ExactSizeIterator<Item = [u64; BUCKET_LEN]> {
        self.buckets.iter().map(|bucket| bucket.0)
    }
}

/// Key of an entry in the stash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StashKey((u64, UnitNumber));

impl Index {
    /// Returns the layout fingerprint of this index with ids hashed by `hasher`. A saved index can only
    /// be restored to one with the same fingerprint.
    #[must_use]
    pub fn layout_fingerprint(&self, hasher: &Hasher) -> [u32; 8] {
        let [tag_bits, hash_bits, depth_min] = self.table.layout().numbers();
        let small = |number: usize| u32::try_from(number).expect("layout parameters are small");
        [
            LAYOUT_VERSION,
            tag_bits,
            hash_bits,
            depth_min,
            hasher.cut,
            small(BUCKETS_MIN),
            small(BUCKETS_STEP),
            u32::try_from(UNIT).expect("512"),
        ]
    }

    /// Approximate length of all segments and the stash when they are saved (bytes).
    #[must_use]
    pub fn saved_len(&self) -> usize {
        let entries = self.len() + self.table.stash_len();
        let buckets = self.table.slots() / BUCKET_LEN;
        entries * size_of::<u64>() + buckets + buckets / BUCKETS_MIN * 16
    }

    /// Returns the segment of the table that begins at `from`: 0, or [`SavedSegment::next`] of the last
    /// one. The index may change between two calls.
    #[must_use]
    pub fn saved_segment(&self, from: u64) -> Option<SavedSegment<'_>> {
        let (segment, buckets, next) = self.table.segment_from(from)?;
        let (prefix, depth, len) = (segment.prefix, segment.depth.into(), segment.len.into());
        Some(SavedSegment { prefix, depth, next, len, buckets })
    }

    /// Returns the locations in the segment of the table that begins at `from`, as [`Self::saved_segment`]
    /// takes it, and the start of the next one.
    #[must_use]
    pub fn segment_locations(&self, from: u64) -> Option<(Vec<Location>, u64)> {
        let layout = self.table.layout();
        let segment = self.saved_segment(from)?;
        let entries = segment.buckets().flatten().filter(|entry| *entry != 0);
        Some((entries.map(|entry| layout.location(entry)).collect(), segment.next))
    }

    /// Returns the locations of the entries that are not in a segment: few, as a rule.
    #[must_use]
    pub fn stashed_locations(&self) -> Vec<Location> {
        let layout = self.table.layout();
        self.stash(None, usize::MAX).map(|(_, (_, entry))| layout.location(entry)).collect()
    }

    /// Returns at most `most` entries of the stash that follow the key `behind`, each with its key, and
    /// as the hash and entry that [`Self::restore_stashed`] takes.
    pub fn stash(
        &self,
        behind: Option<StashKey>,
        most: usize,
    ) -> impl Iterator<Item = (StashKey, (u64, u64))> + use<'_> {
        let some = self.table.stash_after(behind.map(|key| key.0), most);
        some.map(|(key, entry)| (StashKey(key), (key.0, entry)))
    }

    /// Restores a segment. Returns the start of the next one, and the extent of its needles. Returns
    /// `None` when the segment is not valid at this place, or there is no memory for it.
    pub fn restore_segment(
        &mut self,
        from: u64,
        prefix: u32,
        depth: u32,
        buckets: impl ExactSizeIterator<Item = [u64; BUCKET_LEN]>,
    ) -> Option<(u64, Extent)> {
        let layout = *self.table.layout();
        let mut extent = Extent::default();
        let buckets = buckets.inspect(|bucket| {
            for entry in bucket.iter().filter(|entry| **entry != 0) {
                extent.add(layout.location(*entry));
            }
        });
        let next = self.table.restore(from, (prefix, depth), buckets)?;
        Some((next, extent))
    }

    /// Ends the restoring of segments, the last of which ended at `end`. Returns whether they are
    /// complete.
    pub fn finish_restore(&mut self, end: u64) -> bool {
        self.table.restored(end)
    }

    /// Restores an entry of [`Self::stash`]. Returns its location, or `None` if it is already present or
    /// not valid.
    pub fn restore_stashed(&mut self, hash: u64, entry: u64) -> Option<Location> {
        let layout = *self.table.layout();
        let at = layout.location(entry);
        let fits = hash >> layout.hash_bits() == 0 && at.offset > 0;
        (fits && self.table.insert(hash, layout.entry(hash, at))).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::NeedleId;

    #[test]
    fn saved_length_is_that_of_entries_buckets_and_segments() {
        let mut index = Index::for_volume(1 << 30);
        assert_eq!(index.saved_len(), 0);
        for n in 1..=20 {
            let hash = Hasher::new(1).hash(NeedleId::new(n, 0));
            assert!(index.insert(hash, Location { offset: n * 1024, len: 1024 }));
        }
        // An entry, a mark for each bucket, the head of the segment.
        assert_eq!(index.saved_len(), 20 * 8 + 1024 + 16);
    }

    #[test]
    fn stashed_entry_of_an_impossible_hash_or_place_is_refused() {
        let mut index = Index::for_volume(1 << 30);
        let (layout, at) = (*index.table.layout(), Location { offset: 66_048, len: 1024 });
        let entry = layout.entry(5, at);
        assert_eq!(index.restore_stashed(1 << layout.hash_bits(), entry), None);
        assert_eq!(index.restore_stashed(5, entry - layout.bound(at.offset)), None, "offset 0");
        assert!(index.is_empty());
        assert_eq!(index.restore_stashed(5, entry), Some(at));
        assert!(!index.is_empty());
        assert_eq!(index.restore_stashed(5, entry), None, "it is there already");
    }
}
