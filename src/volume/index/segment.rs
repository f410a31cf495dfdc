//! The arithmetic of a segment: the two buckets of an entry. Pure functions of numbers.
//!
//! A segment grows like a linear hash table (Litwin 1980): of its first [`BUCKETS_MIN`] buckets, those
//! below the split pointer are split, and each of them has a twin after the first ones. The bit of an
//! entry's hash that decides between a bucket and its twin is the one after those that select the
//! segment. So when all buckets are split, the twins already form a segment of their own.

use super::layout::{BUCKET_BITS, Entry, EntryLayout, SECOND};

/// Entries of a bucket: one cache line.
pub const BUCKET_LEN: usize = 8;
/// Minimum number of buckets of a segment (64 KiB).
pub const BUCKETS_MIN: usize = 1 << BUCKET_BITS;
/// Maximum number of buckets of a segment (128 KiB). To grow further, it splits in two.
pub const BUCKETS_MAX: usize = 2 * BUCKETS_MIN;
/// Number of buckets by which a segment grows: one page.
pub const BUCKETS_STEP: usize = 64;

/// The range of hashes of a segment, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Leading bits that all its hashes have in common.
    pub prefix: u32,
    /// Number of these leading bits.
    pub depth: u8,
    /// Split pointer: the buckets below it are split.
    pub split: u16,
    /// Number of entries in its buckets.
    pub len: u16,
}

const _: () = assert!(BUCKETS_MAX * BUCKET_LEN <= u16::MAX as usize);
const _: () = assert!(BUCKETS_MIN.is_multiple_of(BUCKETS_STEP));

/// Mixes a number well, for a use that influences nothing else (the finaliser of splitmix64).
fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// Distance from the first bucket to the second, before splits: a value other than 0 for an exclusive or.
#[inline(always)]
fn distance(tag: Entry) -> usize {
    let spread = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    1 + ((spread * (BUCKETS_MIN as u64 - 1)) >> 32) as usize
}

impl Segment {
    /// Creates a segment without entries.
    pub fn new(prefix: u32, depth: u32) -> Self {
        Self { prefix, depth: u8::try_from(depth).expect("at most 64 bits"), split: 0, len: 0 }
    }

    /// Number of buckets.
    #[inline(always)]
    pub fn buckets(self) -> usize {
        BUCKETS_MIN + usize::from(self.split)
    }

    /// Returns the range of its hashes.
    pub fn hashes(self, layout: &EntryLayout) -> std::ops::RangeInclusive<u64> {
        let rest = layout.hash_bits() - u32::from(self.depth);
        let first = u64::from(self.prefix) << rest;
        first..=first + ((1 << rest) - 1)
    }

    /// Returns whether an entry belongs to the twin, if its bucket is split.
    #[inline(always)]
    pub fn is_twins(self, layout: &EntryLayout, entry: Entry) -> bool {
        entry >> layout.bit_behind(u32::from(self.depth)) & 1 == 1
    }

    /// Returns the bucket or its twin.
    #[inline(always)]
    fn twin(self, layout: &EntryLayout, base: usize, entry: Entry) -> usize {
        // Without a branch, which would be mispredicted half of the time.
        let is_split = usize::from(base < usize::from(self.split));
        base + BUCKETS_MIN * (is_split & usize::from(self.is_twins(layout, entry)))
    }

    /// Returns the two buckets of a hash.
    #[inline(always)]
    pub fn places(self, layout: &EntryLayout, hash: u64) -> [usize; 2] {
        let base = hash as usize % BUCKETS_MIN;
        let tag = layout.tag(hash);
        [base, base ^ distance(tag)].map(|base| self.twin(layout, base, tag))
    }

    /// Returns the other of the two buckets of an entry.
    #[inline(always)]
    pub fn other(self, layout: &EntryLayout, bucket: usize, entry: Entry) -> usize {
        let base = (bucket % BUCKETS_MIN) ^ distance(entry & layout.compared() & !SECOND);
        self.twin(layout, base, entry)
    }

    /// Returns the kept bits of the hash of an entry in this bucket.
    pub fn hash(self, layout: &EntryLayout, bucket: usize, entry: Entry) -> u64 {
        let tag = entry & layout.compared() & !SECOND;
        let base = (bucket % BUCKETS_MIN) ^ if entry & SECOND == 0 { 0 } else { distance(tag) };
        let start = u64::from(self.prefix >> (u32::from(self.depth) - layout.depth_min));
        start << (layout.hash_bits() - layout.depth_min) | tag >> 1 << BUCKET_BITS | base as u64
    }

    /// Number of entries above which the segment grows. All segments fill at the same pace; each has its
    /// own limit, so that they do not all grow at the same time.
    pub fn limit(self) -> usize {
        let slots = self.buckets() * BUCKET_LEN;
        let seed =
            u64::from(self.prefix) << 24 | u64::from(self.depth) << 16 | u64::from(self.split);
        slots * LIMIT_MIN / 1000 + slots * LIMIT_SPAN / 1000 * (mix(seed) >> 54) as usize / 1024
    }

    /// Returns whether it is so full that an entry without a slot means a lack of space, and not too many
    /// equal hashes.
    pub fn is_nearly_full(self) -> bool {
        usize::from(self.len) * 100 > self.buckets() * BUCKET_LEN * 85
    }
}

/// Minimum fill at which a segment grows, in entries per 1000 slots.
const LIMIT_MIN: usize = 935;
/// Maximum amount by which the limit of a segment exceeds it, in entries per 1000 slots.
const LIMIT_SPAN: usize = 35;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn segments_do_not_grow_at_the_same_fill() {
        for split in (0..=BUCKETS_MIN).step_by(BUCKETS_STEP) {
            let slots = 8 * (BUCKETS_MIN + split);
            let split = u16::try_from(split).unwrap();
            let limits =
                (0..20_000).map(|prefix| Segment { split, ..Segment::new(prefix, 20) }.limit());
            let (least, most) = limits
                .fold((usize::MAX, 0), |(least, most), limit| (least.min(limit), most.max(limit)));
            // From 93.5 % on, less than 3.5 % more.
            assert_eq!(least, slots * 935 / 1000);
            assert_eq!(most, least + slots * 35 / 1000 - 1);
        }
    }

    /// The first number of splitmix64 with the seed 0: its step, mixed.
    #[test]
    fn seeds_are_mixed_as_by_splitmix64() {
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn second_bucket_is_at_every_distance_from_the_first() {
        let distances: BTreeSet<_> = (0..20_000).map(distance).collect();
        assert!(distances.into_iter().eq(1..BUCKETS_MIN));
    }

    #[test]
    fn segment_is_nearly_full_above_85_percent() {
        let with = |len| Segment { len, ..Segment::new(0, 0) };
        assert!(!with(6963).is_nearly_full(), "of 8192 slots");
        assert!(with(6964).is_nearly_full());
    }
}
