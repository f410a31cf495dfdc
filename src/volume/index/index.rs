//! The index: a multimap from hashes of ids to locations.

use super::figures::IndexFigures;
use super::hash::IdHash;
use super::layout::EntryLayout;
use super::location::Location;
use super::table::{Steps, Table};
use super::unit_number::UnitNumber;

/// Number of needles for which [`Index::prefetch`] is worth calling before they are looked up or changed:
/// each needs two cache lines, and a core has 10 to 48 loads in flight, depending on its generation.
pub const PREFETCHED: usize = 16;

/// The index: a multimap from hashes of ids to locations.
pub struct Index {
    pub(super) table: Table,
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
        Self { table: Table::new(EntryLayout::for_volume(size), segments_max) }
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

    /// Number of leading hash bits that the index keeps of each needle.
    #[must_use]
    pub fn hash_bits(&self) -> u32 {
        self.table.layout().hash_bits()
    }

    /// Returns all needles with what is kept of their hashes, in no particular order. The bits that are not
    /// kept are zero, so that each of these hashes has the same candidates as that of the needle's id.
    pub fn hashed_locations(&self) -> impl Iterator<Item = (IdHash, Location)> {
        let layout = self.table.layout();
        self.table.hashed().map(|(kept, entry)| (layout.hash_of(kept), layout.location(entry)))
    }

    /// Returns every hash that this index tells apart and that begins with the first `bits` bits of
    /// `leading`, of which the others must be zero: one hash, unless the index keeps more bits.
    pub fn hashes_beginning(
        &self,
        leading: u64,
        bits: u32,
    ) -> impl Iterator<Item = IdHash> + use<> {
        let layout = *self.table.layout();
        let unknown = layout.hash_bits().saturating_sub(bits);
        (0..1 << unknown).map(move |rest| IdHash(leading | layout.hash_of(rest).0))
    }

    /// Adds a needle. Returns `false` if it was already present.
    pub fn insert(&mut self, hash: IdHash, at: Location) -> bool {
        let layout = self.table.layout();
        let kept = layout.kept(hash);
        let entry = layout.entry(kept, at);
        self.table.insert(kept, entry)
    }

    /// Replaces the needle at `old` (bytes) by `new`. Returns the location of the old one, or `None` if it
    /// was not present.
    pub fn replace(&mut self, hash: IdHash, old: u64, new: Location) -> Option<Location> {
        let layout = *self.table.layout();
        let kept = layout.kept(hash);
        let old = self.table.replace(kept, UnitNumber::of(old), layout.entry(kept, new))?;
        Some(layout.location(old))
    }

    /// Removes the needle at `offset` (bytes). Returns its location, or `None` if it was not present.
    pub fn remove(&mut self, hash: IdHash, offset: u64) -> Option<Location> {
        let layout = *self.table.layout();
        let old = self.table.remove(layout.kept(hash), UnitNumber::of(offset))?;
        Some(layout.location(old))
    }

    /// Returns whether the needle at `offset` is present.
    #[must_use]
    pub fn contains(&self, hash: IdHash, offset: u64) -> bool {
        self.candidates(hash).any(|at| at.offset == offset)
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
            overflow: self.table.stash_len() as u64,
            steps: count,
            step_max: moved_max,
        }
    }
}
