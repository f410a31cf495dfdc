//! The index of a volume: where its needles are, in memory.
//!
//! A multimap on a hash of the needle's id. It does not know ids: a candidate is confirmed from
//! the needle itself, on the read that happens anyway. Nothing in it is authoritative; the log is.
//!
//! A needle takes 8 bytes in a `table` that is nearly full at any time: a `layout` says what an entry
//! holds, `segment` is the arithmetic of a part of the table, `memory` where it lies.

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

use crate::limits::UNIT;
use crate::types::NeedleId;

/// Where a needle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Offset in the volume file (bytes).
    pub offset: u64,
    /// Length (bytes): exactly one read.
    pub len: u64,
}

/// So many needles at a time are worth the call of [`Index::prefetch`] before they are looked up or changed:
/// each has two cache lines, and a core waits for some 10 to 48 at once, by its generation.
pub const PREFETCHED: usize = 16;

/// Hash of a needle's id. The index keeps its leading bits: 35 at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdHash(u64);

/// How ids are hashed: seeded per volume, so that nobody can prepare collisions.
#[derive(Clone, Copy, Debug)]
pub struct Hasher {
    seed: u64,
    /// So many leading bits are cut off.
    cut: u32,
}

impl Hasher {
    /// The hash of a volume with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, cut: 0 }
    }

    /// A hash of so few bits that collisions really happen; for tests. They lead, since the index
    /// keeps leading bits.
    #[must_use]
    pub fn with_bits(seed: u64, bits: u32) -> Self {
        Self { seed, cut: u64::BITS - bits }
    }

    /// The hash of `id`.
    #[must_use]
    pub fn hash(&self, id: NeedleId) -> IdHash {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&id.key.0.to_le_bytes());
        bytes[8..].copy_from_slice(&id.alt.0.to_le_bytes());
        IdHash(xxh3_64_with_seed(&bytes, self.seed).checked_shl(self.cut).unwrap_or(0))
    }
}

/// Rises when the same numbers come to mean another table.
const SORT_VERSION: u32 = 1;

/// A part of the table.
pub struct Part<'a> {
    /// Which it is: its leading bits,
    pub prefix: u32,
    /// and how many these are.
    pub depth: u32,
    /// Where the next one begins.
    pub next: u64,
    /// Entries.
    pub len: usize,
    buckets: &'a [memory::Bucket],
}

impl Part<'_> {
    /// What it holds.
    pub fn buckets(&self) -> impl ExactSizeIterator<Item = [u64; segment::BUCKET_LEN]> {
        self.buckets.iter().map(|bucket| bucket.0)
    }
}

/// Names a needle that found no place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BesideKey((u64, u64));

/// How far needles reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The end of the last (bytes).
    pub end: u64,
    /// The length of all (bytes).
    pub len: u64,
}

impl Extent {
    fn add(&mut self, at: Location) {
        self.end = self.end.max(at.offset + at.len);
        self.len += at.len;
    }
}

/// The multimap.
pub struct Index {
    table: Table,
}

/// Figures of an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexFigures {
    /// Needles.
    pub needles: u64,
    /// Memory (bytes).
    pub memory: u64,
    /// Needles that the table has room for before it grows, about.
    pub slots: u64,
    /// Needles that found no place in the table, since too many have the same hash.
    pub overflow: u64,
    /// Steps in which a part of the table grew.
    pub steps: u64,
    /// Needles that such a step moved at most.
    pub step_max: u64,
}

impl Index {
    /// No needles, of a volume of this size (bytes). Takes no memory yet.
    #[must_use]
    pub fn for_volume(size: u64) -> Self {
        Self::with_segments_max(size, usize::MAX)
    }

    /// One that gets memory for so many segments only; for tests of what happens then.
    #[must_use]
    pub fn with_segments_max(size: u64, segments_max: usize) -> Self {
        Self { table: Table::new(Layout::for_volume(size), segments_max) }
    }

    /// Begins to load what [`Self::candidates`] and changes will look at ([`PREFETCHED`]).
    #[inline]
    pub fn prefetch(&self, hash: IdHash) {
        self.table.prefetch(self.table.layout().kept(hash));
    }

    /// Where needles with this hash are, in no order.
    pub fn candidates(&self, hash: IdHash) -> impl Iterator<Item = Location> {
        let layout = self.table.layout();
        self.table.entries(layout.kept(hash)).map(|entry| layout.location(entry))
    }

    /// The newest candidate that is older than `below` (an offset in bytes). Asking again with the
    /// offset of the last answer visits all of them, but for one that is superseded meanwhile.
    #[must_use]
    #[inline]
    pub fn newest_below(&self, hash: IdHash, below: u64) -> Option<Location> {
        let layout = self.table.layout();
        let newest = self.table.newest_below(layout.kept(hash), layout.bound(below));
        newest.map(|entry| layout.location(entry))
    }

    /// Where all needles are, in no order.
    pub fn locations(&self) -> impl Iterator<Item = Location> {
        self.table.iter().map(|entry| self.table.layout().location(entry))
    }

    /// Adds a needle: whether it was not there already.
    pub fn insert(&mut self, hash: IdHash, at: Location) -> bool {
        let layout = self.table.layout();
        let kept = layout.kept(hash);
        let entry = layout.entry(kept, at);
        self.table.insert(kept, entry)
    }

    /// Puts `new` in the place of the needle at `old`: where that was, if it was there.
    pub fn replace(&mut self, hash: IdHash, old: u64, new: Location) -> Option<Location> {
        let layout = *self.table.layout();
        let kept = layout.kept(hash);
        let old = self.table.replace(kept, old / UNIT, layout.entry(kept, new))?;
        Some(layout.location(old))
    }

    /// Removes the needle at `offset`: where it was, if it was there.
    pub fn remove(&mut self, hash: IdHash, offset: u64) -> Option<Location> {
        let layout = *self.table.layout();
        let old = self.table.remove(layout.kept(hash), offset / UNIT)?;
        Some(layout.location(old))
    }

    /// Whether the needle at `offset` is there.
    #[must_use]
    pub fn contains(&self, hash: IdHash, offset: u64) -> bool {
        self.candidates(hash).any(|at| at.offset == offset)
    }

    /// What tells this sort of index, with ids hashed so, from others: what one has saved, only the same
    /// sort understands.
    #[must_use]
    pub fn sort(&self, hasher: &Hasher) -> [u32; 8] {
        let [tag_bits, hash_bits, depth_min] = self.table.layout().numbers();
        let small = |number: usize| u32::try_from(number).expect("a small number");
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

    /// What its parts and what stands beside them take when they are saved, about (bytes).
    #[must_use]
    pub fn saved_len(&self) -> usize {
        let entries = self.len() + self.table.len_beside();
        let buckets = self.table.slots() / segment::BUCKET_LEN;
        entries * size_of::<u64>() + buckets + buckets / segment::BUCKETS_MIN * 16
    }

    /// The part of the table that begins at `from`: 0, or where the last one ended. Between two such
    /// parts the index may change.
    #[must_use]
    pub fn part(&self, from: u64) -> Option<Part<'_>> {
        let (segment, buckets, next) = self.table.segment_from(from)?;
        let (prefix, depth, len) = (segment.prefix, segment.depth.into(), segment.len.into());
        Some(Part { prefix, depth, next, len, buckets })
    }

    /// At most so many of those that found no place in the table, behind one of them: by a key, and as
    /// the hash and entry that [`Self::restore_beside`] takes.
    pub fn beside(
        &self,
        behind: Option<BesideKey>,
        most: usize,
    ) -> impl Iterator<Item = (BesideKey, (u64, u64))> + use<'_> {
        let some = self.table.beside_behind(behind.map(|key| key.0), most);
        some.map(|(key, entry)| (BesideKey(key), (key.0, entry)))
    }

    /// Puts a part back: where the next one begins, and the end of the needle that ends last and all
    /// their lengths (bytes). Nothing when it does not belong there.
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

    /// Ends the restoring of parts, the last of which ended at `end`: whether all are there.
    pub fn restored(&mut self, end: u64) -> bool {
        self.table.restored(end)
    }

    /// Puts back what [`Self::beside`] gave: where it is, if it was not there.
    pub fn restore_beside(&mut self, hash: u64, entry: u64) -> Option<Location> {
        let layout = *self.table.layout();
        let at = layout.location(entry);
        let fits = hash >> layout.hash_bits() == 0 && at.offset > 0;
        (fits && self.table.insert(hash, layout.entry(hash, at))).then_some(at)
    }

    /// Needles.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory it takes (bytes).
    #[must_use]
    pub fn memory(&self) -> usize {
        self.table.memory()
    }

    /// Whether the kernel has no memory for more needles: then what is added is kept all the same, but
    /// slowly and at a price, so that nobody should add more than must be. Asks again.
    pub fn is_starved(&mut self) -> bool {
        self.table.is_starved()
    }

    /// Figures.
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
