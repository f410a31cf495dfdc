//! The arithmetic of a segment: which two buckets an entry has in it. Pure numbers.
//!
//! A segment grows as a linear hash table does (Litwin 1980): of its first [`BUCKETS_MIN`] buckets, those in
//! front of a limit are split, and a split one has a twin behind the others. The bit of an entry's hash
//! that decides between the twins is the one behind those that name the segment. So, when all buckets are
//! split, what stands behind is a segment of its own already.

use super::layout::{BUCKET_BITS, Entry, Layout, SECOND};

/// Entries of a bucket: a cache line.
pub const BUCKET_LEN: usize = 8;
/// Buckets of a segment at least (64 KiB).
pub const BUCKETS_MIN: usize = 1 << BUCKET_BITS;
/// Buckets of a segment at most (128 KiB); one that needs more splits in two.
pub const BUCKETS_MAX: usize = 2 * BUCKETS_MIN;
/// A segment grows by so many buckets: a page.
pub const BUCKETS_STEP: usize = 64;

/// Where a segment stands in the space of hashes, and how many buckets it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The leading bits that all its hashes have.
    pub prefix: u32,
    /// How many these are.
    pub depth: u8,
    /// Its first so many buckets are split.
    pub split: u16,
    /// Entries in its buckets.
    pub len: u16,
}

const _: () = assert!(BUCKETS_MAX * BUCKET_LEN <= u16::MAX as usize);
const _: () = assert!(BUCKETS_MIN.is_multiple_of(BUCKETS_STEP));

/// Bits that decide nothing else, well mixed (the end of splitmix64).
fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// From the first bucket to the second, before splits: an exclusive or with a number that is not 0.
#[inline(always)]
fn distance(tag: Entry) -> usize {
    let spread = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    1 + ((spread * (BUCKETS_MIN as u64 - 1)) >> 32) as usize
}

impl Segment {
    /// A segment without entries.
    pub fn new(prefix: u32, depth: u32) -> Self {
        Self { prefix, depth: u8::try_from(depth).expect("few bits"), split: 0, len: 0 }
    }

    /// Buckets.
    #[inline(always)]
    pub fn buckets(self) -> usize {
        BUCKETS_MIN + usize::from(self.split)
    }

    /// All its hashes.
    pub fn hashes(self, layout: &Layout) -> std::ops::RangeInclusive<u64> {
        let rest = layout.hash_bits() - u32::from(self.depth);
        let first = u64::from(self.prefix) << rest;
        first..=first + ((1 << rest) - 1)
    }

    /// Whether an entry belongs to the twin of a bucket that is split.
    #[inline(always)]
    pub fn is_twins(self, layout: &Layout, entry: Entry) -> bool {
        entry >> layout.bit_behind(u32::from(self.depth)) & 1 == 1
    }

    /// The bucket, or its twin.
    #[inline(always)]
    fn twin(self, layout: &Layout, base: usize, entry: Entry) -> usize {
        // No branch: half of the time it would be foreseen wrongly.
        let is_split = usize::from(base < usize::from(self.split));
        base + BUCKETS_MIN * (is_split & usize::from(self.is_twins(layout, entry)))
    }

    /// The buckets of a hash.
    #[inline(always)]
    pub fn places(self, layout: &Layout, hash: u64) -> [usize; 2] {
        let base = hash as usize % BUCKETS_MIN;
        let tag = layout.tag(hash);
        [base, base ^ distance(tag)].map(|base| self.twin(layout, base, tag))
    }

    /// The bucket in which an entry could stand instead.
    #[inline(always)]
    pub fn other(self, layout: &Layout, bucket: usize, entry: Entry) -> usize {
        let base = (bucket % BUCKETS_MIN) ^ distance(entry & layout.compared() & !SECOND);
        self.twin(layout, base, entry)
    }

    /// The hash of an entry that stands in this bucket.
    #[cfg(test)]
    pub fn hash(self, layout: &Layout, bucket: usize, entry: Entry) -> u64 {
        let tag = entry & layout.compared() & !SECOND;
        let base = (bucket % BUCKETS_MIN) ^ if entry & SECOND == 0 { 0 } else { distance(tag) };
        let start = u64::from(self.prefix >> (u32::from(self.depth) - layout.depth_min));
        start << (layout.hash_bits() - layout.depth_min) | tag >> 1 << BUCKET_BITS | base as u64
    }

    /// With more entries than these it grows. Segments fill at the same pace: each has its own limit, so
    /// that they do not grow all at once.
    pub fn limit(self) -> usize {
        let slots = self.buckets() * BUCKET_LEN;
        let seed =
            u64::from(self.prefix) << 24 | u64::from(self.depth) << 16 | u64::from(self.split);
        slots * LIMIT_MIN / 1000 + slots * LIMIT_SPAN / 1000 * (mix(seed) >> 54) as usize / 1024
    }

    /// Whether it is full enough that an entry without a place is a matter of room, not of hashes that
    /// are all the same.
    pub fn is_crowded(self) -> bool {
        usize::from(self.len) * 100 > self.buckets() * BUCKET_LEN * 85
    }
}

/// How full a segment is when it grows: so many entries of 1000 slots at least,
const LIMIT_MIN: usize = 935;
/// and so many more at most.
const LIMIT_SPAN: usize = 35;
