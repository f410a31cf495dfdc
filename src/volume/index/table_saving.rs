//! Saving a table segment by segment, in the order of hashes, and restoring it.

use std::ops::Bound;

use super::layout::Entry;
use super::memory::{Bucket, Plain};
use super::place::{free, set_open};
use super::segment::{BUCKET_LEN, BUCKETS_MAX, BUCKETS_MIN, BUCKETS_STEP, Segment};
use super::table::{DIRECTORY_RATIO_MAX, Table};
use super::unit_number::UnitNumber;

impl Table {
    /// Returns the segment to which the hash `from` belongs, which must be its first one, its buckets,
    /// and the first hash of the next segment. Returns `None` when there is none.
    pub fn segment_from(&self, from: u64) -> Option<(&Segment, &[Bucket], u64)> {
        if self.directory.is_empty() || from >> self.layout.hash_bits() > 0 {
            return None;
        }
        let slot = self.slot_of(from);
        let segment = &self.segments[slot as usize];
        let hashes = segment.hashes(&self.layout);
        debug_assert_eq!(*hashes.start(), from, "segments split but never merge");
        let buckets = self.memory.buckets(slot, segment.buckets());
        Some((segment, buckets, hashes.end() + 1))
    }

    /// Returns the buckets of the segment to which a hash belongs, and the first hash of the next segment,
    /// which is beyond all hashes behind the last one. Returns `None` when there is no table yet.
    pub(super) fn segment_of(&self, hash: u64) -> Option<(&[Bucket], u64)> {
        if self.directory.is_empty() {
            return None;
        }
        let slot = self.slot_of(hash);
        let segment = &self.segments[slot as usize];
        let buckets = self.memory.buckets(slot, segment.buckets());
        Some((buckets, segment.hashes(&self.layout).end() + 1))
    }

    /// Returns at most `most` entries of the stash after the key `behind`, in the order of hash and unit.
    pub(super) fn stash_after(
        &self,
        behind: Option<(u64, UnitNumber)>,
        most: usize,
    ) -> impl Iterator<Item = ((u64, UnitNumber), Entry)> + use<'_> {
        let begin = behind.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.stash.range((begin, Bound::Unbounded));
        range.take(most).map(|(key, entry)| (*key, *entry))
    }

    /// Restores the next segment, in the order of hashes. Returns the first hash after it. Returns `None`
    /// when the segment is not valid at this place, or there is no memory for it.
    pub fn restore(
        &mut self,
        from: u64,
        (prefix, depth): (u32, u32),
        content: impl ExactSizeIterator<Item = [Entry; BUCKET_LEN]>,
    ) -> Option<u64> {
        let layout = &self.layout;
        let buckets = content.len();
        let split = buckets.checked_sub(BUCKETS_MIN)?;
        let fits = (layout.depth_min..=layout.depth_max()).contains(&depth)
            && u64::from(prefix) >> depth == 0
            && split <= BUCKETS_MAX - BUCKETS_MIN
            && split.is_multiple_of(BUCKETS_STEP);
        if !fits {
            return None;
        }
        let split = u16::try_from(split).expect("checked against the maximum above");
        let mut segment = Segment { split, ..Segment::new(prefix, depth) };
        let hashes = segment.hashes(layout);
        if *hashes.start() != from || !self.memory.reserve(1) {
            return None;
        }
        let slot = self.memory.add();
        let mut open = Box::new([u64::MAX; _]);
        for (at, (bucket, entries)) in
            self.memory.buckets_mut(slot, buckets).iter_mut().zip(content).enumerate()
        {
            bucket.0 = entries;
            let places = free(Plain, bucket);
            set_open(&mut open, at, places != 0);
            segment.len += (BUCKET_LEN as u32 - places.count_ones()) as u16;
        }
        self.buckets += buckets;
        self.entries += usize::from(segment.len);
        self.segments.push(segment);
        self.open.push(open);
        self.depth = self.depth.max(depth);
        Some(hashes.end() + 1)
    }

    /// Ends the restoring of segments, which cover all hashes below `end`. Returns whether the table is
    /// complete.
    pub fn restored(&mut self, end: u64) -> bool {
        if self.segments.is_empty() {
            return true;
        }
        let is_sound = 1_usize << self.depth <= 2 * DIRECTORY_RATIO_MAX * (self.segments.len() + 1);
        if end != 1 << self.layout.hash_bits() || !is_sound {
            return false;
        }
        self.directory.reserve_exact(1 << self.depth);
        for (slot, segment) in (0..).zip(&self.segments) {
            let parts = 1_usize << (self.depth - u32::from(segment.depth));
            self.directory.resize(self.directory.len() + parts, slot);
        }
        self.segments.shrink_to_fit();
        self.open.shrink_to_fit();
        true
    }
}
