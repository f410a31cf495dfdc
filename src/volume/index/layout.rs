//! Layout of the 64 bits of an entry, and the number of hash bits that the table keeps.

use super::hash::IdHash;
use super::location::Location;
use super::unit_number::UnitNumber;
use crate::base::limits::UNIT;

/// log2 of the initial number of buckets of a segment: this number of hash bits follows from the bucket.
pub const BUCKET_BITS: u32 = 10;
/// Minimum number of hash bits kept by an index: 2^35 different hashes. In a volume of 100 GiB with 1.6 M
/// photos, a lookup of an absent id finds a false candidate once in 20,000 times.
pub const HASH_BITS_MIN: u32 = 35;
/// Maximum number of bits of a tag; more would bring no benefit.
const TAG_BITS_MAX: u32 = 32;
/// Bits of a tag that never select the segment: they spread the second buckets.
const TAG_BITS_SPREAD: u32 = 6;
/// Bits for a length in units. Exact, because the longest needle is a little more than 1 MiB.
const LEN_BITS: u32 = 12;

const _: () = assert!(crate::base::limits::NEEDLE_LEN_MAX / UNIT < 1 << LEN_BITS);

/// One needle. From the top: its unit, its length (units), the tag, and the side bit.
///
/// Unit 0 is the superblock, so no entry is 0. A slot that holds 0 is free.
pub type Entry = u64;

/// Side bit: set when the entry is in the second of its two buckets.
pub const SECOND: Entry = 1;

/// Widths of the fields of an entry. They depend on the size of the volume only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryLayout {
    tag_bits: u32,
    hash_bits: u32,
    /// log2 of the initial number of segments of an index.
    pub depth_min: u32,
}

impl EntryLayout {
    /// Computes the layout for a volume of `size` bytes. The bits that offsets do not need go to the tag.
    /// If hash bits are missing then, the index begins with more segments.
    pub fn for_volume(size: u64) -> Self {
        let last = (size / UNIT).saturating_sub(1);
        let unit_bits = (u64::BITS - last.leading_zeros()).max(1);
        let tag_bits = (u64::BITS - LEN_BITS - 1).saturating_sub(unit_bits).clamp(1, TAG_BITS_MAX);
        let depth_min = HASH_BITS_MIN.saturating_sub(tag_bits + BUCKET_BITS);
        Self { tag_bits, hash_bits: tag_bits + BUCKET_BITS + depth_min, depth_min }
    }

    /// Number of hash bits that can be recovered from the position of an entry and its tag. From the top:
    /// the bits that select one of the initial segments, the tag, the first bucket.
    pub fn hash_bits(&self) -> u32 {
        self.hash_bits
    }

    /// Numbers by which layouts differ: bits of the tag, bits of the hash, log2 of the initial number of
    /// segments.
    pub fn numbers(&self) -> [u32; 3] {
        [self.tag_bits, self.hash_bits, self.depth_min]
    }

    /// Returns the bits of a hash that the table keeps.
    pub fn kept(&self, hash: IdHash) -> u64 {
        hash.0 >> (u64::BITS - self.hash_bits)
    }

    /// Returns the hash whose kept bits are `kept`; its other bits are zero.
    pub fn hash_of(&self, kept: u64) -> IdHash {
        IdHash(kept << (u64::BITS - self.hash_bits))
    }

    /// Returns the tag of a hash, at its position in an entry.
    pub fn tag(&self, hash: u64) -> Entry {
        (hash >> BUCKET_BITS & self.tag_mask()) << 1
    }

    fn tag_mask(&self) -> u64 {
        (1 << self.tag_bits) - 1
    }

    /// Maximum number of leading hash bits that select a segment.
    pub fn depth_max(&self) -> u32 {
        self.depth_min + self.tag_bits.saturating_sub(TAG_BITS_SPREAD)
    }

    /// Position in an entry of the hash bit that follows the first `depth` bits.
    pub fn bit_behind(&self, depth: u32) -> u32 {
        self.tag_bits + self.depth_min - depth
    }

    /// Mask of the bits of an entry that are compared: tag and side.
    pub fn compared(&self) -> Entry {
        self.tag_mask() << 1 | SECOND
    }

    /// Returns the entry of a needle with this hash, in its first bucket.
    ///
    /// # Panics
    /// If the location is impossible in the volume.
    pub fn entry(&self, hash: u64, at: Location) -> Entry {
        let (UnitNumber(unit), units) = (UnitNumber::of(at.offset), at.len / UNIT);
        debug_assert!(at.offset.is_multiple_of(UNIT) && at.len.is_multiple_of(UNIT));
        let shift = self.tag_bits + 1 + LEN_BITS;
        assert!(unit > 0 && unit <= u64::MAX >> shift, "a needle is inside its volume");
        assert!(units < 1 << LEN_BITS, "an indexed needle is about 1 MiB at most");
        unit << shift | units << (self.tag_bits + 1) | self.tag(hash)
    }

    /// Returns the location of the needle of an entry.
    pub fn location(&self, entry: Entry) -> Location {
        let units = entry >> (self.tag_bits + 1) & ((1 << LEN_BITS) - 1);
        Location { offset: self.unit(entry).offset(), len: units * UNIT }
    }

    /// Returns a value above the entries of all needles that begin before `offset` (bytes), and not above
    /// any other entry.
    pub fn bound(&self, offset: u64) -> Entry {
        let shift = self.tag_bits + 1 + LEN_BITS;
        let unit = offset.div_ceil(UNIT);
        if unit > u64::MAX >> shift { Entry::MAX } else { unit << shift }
    }

    /// Returns the unit at which the needle of an entry begins.
    pub(super) fn unit(&self, entry: Entry) -> UnitNumber {
        UnitNumber(entry >> (self.tag_bits + 1 + LEN_BITS))
    }
}
