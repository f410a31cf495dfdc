//! What the 64 bits of an entry hold, and how many bits of a hash the table keeps.

use super::{IdHash, Location};
use crate::limits::UNIT;

/// log2 of the buckets that a segment begins with: so many bits of a hash are told by the bucket.
pub const BUCKET_BITS: u32 = 10;
/// Hash bits that every index keeps at least: 2^35 ids with different hashes. In a volume of 100 GiB with
/// 1.6 M photos an absent id meets a false candidate once in 20,000 times.
pub const HASH_BITS_MIN: u32 = 35;
/// More than this are of no use.
const TAG_BITS_MAX: u32 = 32;
/// Bits of a tag that never tell which segment it is: they spread the second buckets.
const TAG_BITS_SPREAD: u32 = 6;
/// A length in units: exact, since the longest needle is a little more than 1 MiB.
const LEN_BITS: u32 = 12;

const _: () = assert!(crate::limits::NEEDLE_LEN_MAX / UNIT < 1 << LEN_BITS);

/// One needle: from the top its unit, its length (units), the tag, and on which side it stands.
///
/// Unit 0 is the superblock, so that no entry is 0: that is a free slot.
pub type Entry = u64;

/// On which side of its two buckets an entry stands.
pub const SECOND: Entry = 1;

/// The split of an entry, which depends on the volume's size only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    tag_bits: u32,
    hash_bits: u32,
    /// log2 of the segments that an index begins with.
    pub depth_min: u32,
}

impl Layout {
    /// The bits that offsets leave over go to the tag; what is missing then comes from more segments.
    pub fn for_volume(size: u64) -> Self {
        let last = (size / UNIT).saturating_sub(1);
        let unit_bits = (u64::BITS - last.leading_zeros()).max(1);
        let tag_bits = (u64::BITS - LEN_BITS - 1).saturating_sub(unit_bits).clamp(1, TAG_BITS_MAX);
        let depth_min = HASH_BITS_MIN.saturating_sub(tag_bits + BUCKET_BITS);
        Self { tag_bits, hash_bits: tag_bits + BUCKET_BITS + depth_min, depth_min }
    }

    /// Bits of a hash that the place of an entry and its tag give back: from the top those that name a
    /// segment at the beginning, the tag, the first bucket.
    pub fn hash_bits(&self) -> u32 {
        self.hash_bits
    }

    /// What another layout would have otherwise.
    pub fn numbers(&self) -> [u32; 3] {
        [self.tag_bits, self.hash_bits, self.depth_min]
    }

    /// What the table keeps of a hash.
    pub fn kept(&self, hash: IdHash) -> u64 {
        hash.0 >> (u64::BITS - self.hash_bits)
    }

    /// The tag of a hash, where it stands in its entry.
    pub fn tag(&self, hash: u64) -> Entry {
        (hash >> BUCKET_BITS & self.tag_mask()) << 1
    }

    fn tag_mask(&self) -> u64 {
        (1 << self.tag_bits) - 1
    }

    /// How many leading bits of a hash may name a segment at most.
    pub fn depth_max(&self) -> u32 {
        self.depth_min + self.tag_bits.saturating_sub(TAG_BITS_SPREAD)
    }

    /// Where in an entry stands the bit of its hash that is behind the first `depth`.
    pub fn bit_behind(&self, depth: u32) -> u32 {
        self.tag_bits + self.depth_min - depth
    }

    /// The bits of an entry that are compared: tag and side.
    pub fn compared(&self) -> Entry {
        self.tag_mask() << 1 | SECOND
    }

    /// The entry of a needle with this hash, in its first bucket.
    ///
    /// # Panics
    /// When the volume has no such place.
    pub fn entry(&self, hash: u64, at: Location) -> Entry {
        let (unit, units) = (at.offset / UNIT, at.len / UNIT);
        debug_assert!(at.offset.is_multiple_of(UNIT) && at.len.is_multiple_of(UNIT));
        let shift = self.tag_bits + 1 + LEN_BITS;
        assert!(unit > 0 && unit <= u64::MAX >> shift, "a needle is inside of its volume");
        assert!(units < 1 << LEN_BITS, "an indexed needle is about 1 MiB at most");
        unit << shift | units << (self.tag_bits + 1) | self.tag(hash)
    }

    /// Where the needle of an entry is.
    pub fn location(&self, entry: Entry) -> Location {
        let units = entry >> (self.tag_bits + 1) & ((1 << LEN_BITS) - 1);
        Location { offset: self.unit(entry) * UNIT, len: units * UNIT }
    }

    /// More than the entries of all needles before this place (an offset in bytes).
    pub fn bound(&self, offset: u64) -> Entry {
        let shift = self.tag_bits + 1 + LEN_BITS;
        let unit = offset.div_ceil(UNIT);
        if unit > u64::MAX >> shift { Entry::MAX } else { unit << shift }
    }

    /// The unit at which the needle of an entry begins.
    pub fn unit(&self, entry: Entry) -> u64 {
        entry >> (self.tag_bits + 1 + LEN_BITS)
    }
}
