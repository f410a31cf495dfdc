//! The index of a volume: the locations of its needles, in memory.
//!
//! A multimap keyed by a hash of the needle's id. The index does not store ids: a candidate is confirmed
//! from the needle itself, by the read that is needed anyway. The index is never authoritative; the log
//! is.
//!
//! A needle takes 8 bytes in a `table` that is nearly full at all times. `layout` defines the bits of an
//! entry, `segment` is the arithmetic of a part of the table, `place` inserts entries, `memory` holds
//! them.

mod layout;
mod memory;
mod place;
mod segment;
mod table;
#[cfg(test)]
mod tests;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use layout::Layout;
use table::{Steps, Table};

use crate::base::limits::UNIT;
use crate::base::types::NeedleId;

/// Location of a needle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Offset in the volume file (bytes).
    pub offset: u64,
    /// Length (bytes). One read of this length returns exactly the needle.
    pub len: u64,
}

/// Number of needles for which [`Index::prefetch`] is worth calling before they are looked up or changed:
/// each needs two cache lines, and a core has 10 to 48 loads in flight, depending on its generation.
pub const PREFETCHED: usize = 16;

/// Hash of a needle's id. The index keeps at least the 35 leading bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdHash(u64);

/// Hash function for ids. It is seeded per volume, so that nobody can prepare collisions.
#[derive(Clone, Copy, Debug)]
pub struct Hasher {
    seed: u64,
    /// Number of leading bits of the hash that are discarded; 0 except in tests.
    cut: u32,
}

impl Hasher {
    /// Creates the hash function of a volume with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, cut: 0 }
    }

    /// Creates a hash function with only `bits` bits, so that collisions happen; for tests. They are the
    /// leading bits, because the index keeps leading bits.
    #[must_use]
    pub fn with_bits(seed: u64, bits: u32) -> Self {
        Self { seed, cut: u64::BITS - bits }
    }

    /// Returns the hash of `id`.
    #[must_use]
    pub fn hash(&self, id: NeedleId) -> IdHash {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&id.key.0.to_le_bytes());
        bytes[8..].copy_from_slice(&id.alt.0.to_le_bytes());
        IdHash(xxh3_64_with_seed(&bytes, self.seed).checked_shl(self.cut).unwrap_or(0))
    }
}

/// Version of the arithmetic: rises when the same numbers come to describe another table.
const SORT_VERSION: u32 = 1;

/// A segment of the table, to be saved.
pub struct Part<'a> {
    /// Leading bits that all its hashes have in common.
    pub prefix: u32,
    /// Number of these leading bits.
    pub depth: u32,
    /// Start of the next part: its first hash.
    pub next: u64,
    /// Number of entries.
    pub len: usize,
    buckets: &'a [memory::Bucket],
}

impl Part<'_> {
    /// Returns its buckets; a free slot is 0.
    pub fn buckets(&self) -> impl ExactSizeIterator<Item = [u64; segment::BUCKET_LEN]> {
        self.buckets.iter().map(|bucket| bucket.0)
    }
}

/// Key of an entry in the stash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BesideKey((u64, u64));

/// End and total length of a set of needles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// End of the needle that ends last (bytes).
    pub end: u64,
    /// Total length of the needles (bytes).
    pub len: u64,
}

impl Extent {
    fn add(&mut self, at: Location) {
        self.end = self.end.max(at.offset + at.len);
        self.len += at.len;
    }
}

/// The index: a multimap from hashes of ids to locations.
pub struct Index {
    table: Table,
}

/// Figures of an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexFigures {
    /// Number of needles.
    pub needles: u64,
    /// Memory in use (bytes).
    pub memory: u64,
    /// Number of slots in the table.
    pub slots: u64,
    /// Number of needles in the stash: they found no slot because too many ids have the same hash, or
    /// memory was short.
    pub overflow: u64,
    /// Number of steps in which a segment grew or split.
    pub steps: u64,
    /// Largest number of needles moved by one such step.
    pub step_max: u64,
}

impl Index {
    /// Creates an empty index for a volume of this size (bytes). It takes no memory yet.
    #[must_use]
    pub fn for_volume(size: u64) -> Self {
        Self::with_segments_max(size, usize::MAX)
    }

    /// Creates an empty index that gets memory for at most `segments_max` segments; for tests of memory
    /// shortage.
    #[must_use]
    pub fn with_segments_max(size: u64, segments_max: usize) -> Self {
        Self { table: Table::new(Layout::for_volume(size), segments_max) }
    }

    /// Starts loading the memory that [`Self::candidates`] and changes will access (see [`PREFETCHED`]).
    #[inline]
    pub fn prefetch(&self, hash: IdHash) {
        self.table.prefetch(self.table.layout().kept(hash));
    }

    /// Returns the locations of needles with this hash, in no particular order.
    pub fn candidates(&self, hash: IdHash) -> impl Iterator<Item = Location> {
        let layout = self.table.layout();
        self.table.entries(layout.kept(hash)).map(|entry| layout.location(entry))
    }

    /// Returns the newest candidate whose offset is below `below` (bytes). Repeated calls with the offset
    /// of the last result visit all candidates, except those superseded meanwhile.
    #[must_use]
    #[inline]
    pub fn newest_below(&self, hash: IdHash, below: u64) -> Option<Location> {
        let layout = self.table.layout();
        let newest = self.table.newest_below(layout.kept(hash), layout.bound(below));
        newest.map(|entry| layout.location(entry))
    }

    /// Returns the locations of all needles, in no particular order.
    pub fn locations(&self) -> impl Iterator<Item = Location> {
        self.table.iter().map(|entry| self.table.layout().location(entry))
    }

    /// Adds a needle. Returns `false` if it was already present.
    pub fn insert(&mut self, hash: IdHash, at: Location) -> bool {
        let layout = self.table.layout();
        let kept = layout.kept(hash);
        let entry = layout.entry(kept, at);
        self.table.insert(kept, entry)
    }

    /// Replaces the needle at `old` by `new`. Returns the location of the old one, or `None` if it was
    /// not present.
    pub fn replace(&mut self, hash: IdHash, old: u64, new: Location) -> Option<Location> {
        let layout = *self.table.layout();
        let kept = layout.kept(hash);
        let old = self.table.replace(kept, old / UNIT, layout.entry(kept, new))?;
        Some(layout.location(old))
    }

    /// Removes the needle at `offset`. Returns its location, or `None` if it was not present.
    pub fn remove(&mut self, hash: IdHash, offset: u64) -> Option<Location> {
        let layout = *self.table.layout();
        let old = self.table.remove(layout.kept(hash), offset / UNIT)?;
        Some(layout.location(old))
    }

    /// Returns whether the needle at `offset` is present.
    #[must_use]
    pub fn contains(&self, hash: IdHash, offset: u64) -> bool {
        self.candidates(hash).any(|at| at.offset == offset)
    }

    /// Returns the layout fingerprint of this index with ids hashed by `hasher`. A saved index can only
    /// be restored to one with the same fingerprint.
    #[must_use]
    pub fn sort(&self, hasher: &Hasher) -> [u32; 8] {
        let [tag_bits, hash_bits, depth_min] = self.table.layout().numbers();
        let small = |number: usize| u32::try_from(number).expect("layout parameters are small");
        [
            SORT_VERSION,
            tag_bits,
            hash_bits,
            depth_min,
            hasher.cut,
            small(segment::BUCKETS_MIN),
            small(segment::BUCKETS_STEP),
            u32::try_from(UNIT).expect("512"),
        ]
    }

    /// Approximate length of all parts and the stash when they are saved (bytes).
    #[must_use]
    pub fn saved_len(&self) -> usize {
        let entries = self.len() + self.table.len_beside();
        let buckets = self.table.slots() / segment::BUCKET_LEN;
        entries * size_of::<u64>() + buckets + buckets / segment::BUCKETS_MIN * 16
    }

    /// Returns the part of the table that begins at `from`: 0, or [`Part::next`] of the last one. The
    /// index may change between two calls.
    #[must_use]
    pub fn part(&self, from: u64) -> Option<Part<'_>> {
        let (segment, buckets, next) = self.table.segment_from(from)?;
        let (prefix, depth, len) = (segment.prefix, segment.depth.into(), segment.len.into());
        Some(Part { prefix, depth, next, len, buckets })
    }

    /// Returns at most `most` entries of the stash that follow the key `behind`, each with its key, and
    /// as the hash and entry that [`Self::restore_beside`] takes.
    pub fn beside(
        &self,
        behind: Option<BesideKey>,
        most: usize,
    ) -> impl Iterator<Item = (BesideKey, (u64, u64))> + use<'_> {
        let some = self.table.beside_behind(behind.map(|key| key.0), most);
        some.map(|(key, entry)| (BesideKey(key), (key.0, entry)))
    }

    /// Restores a part. Returns the start of the next part, and the extent of its needles. Returns `None`
    /// when the part is not valid at this place, or there is no memory for it.
    pub fn restore_part(
        &mut self,
        from: u64,
        prefix: u32,
        depth: u32,
        buckets: impl ExactSizeIterator<Item = [u64; segment::BUCKET_LEN]>,
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

    /// Ends the restoring of parts, the last of which ended at `end`. Returns whether the parts are
    /// complete.
    pub fn restored(&mut self, end: u64) -> bool {
        self.table.restored(end)
    }

    /// Restores an entry of [`Self::beside`]. Returns its location, or `None` if it is already present or
    /// not valid.
    pub fn restore_beside(&mut self, hash: u64, entry: u64) -> Option<Location> {
        let layout = *self.table.layout();
        let at = layout.location(entry);
        let fits = hash >> layout.hash_bits() == 0 && at.offset > 0;
        (fits && self.table.insert(hash, layout.entry(hash, at))).then_some(at)
    }

    /// Number of needles.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns whether there are no needles.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory in use (bytes).
    #[must_use]
    pub fn memory(&self) -> usize {
        self.table.memory()
    }

    /// Returns whether memory for more needles is lacking, after trying to get it again. In this state,
    /// added needles go to the stash, which is slow and uses more memory, so that only unavoidable ones
    /// should be added.
    pub fn is_starved(&mut self) -> bool {
        self.table.is_starved()
    }

    /// Returns the figures.
    #[must_use]
    pub fn figures(&self) -> IndexFigures {
        let Steps { count, moved_max } = self.table.steps();
        IndexFigures {
            needles: self.len() as u64,
            memory: self.memory() as u64,
            slots: self.table.slots() as u64,
            overflow: self.table.len_beside() as u64,
            steps: count,
            step_max: moved_max,
        }
    }
}
