//! The index of a volume: where its needles are, in memory.
//!
//! A multimap on a hash of the needle's id. It does not know ids: a candidate is confirmed from
//! the needle itself, on the read that happens anyway. Nothing in it is authoritative; the log is.
//!
//! A needle takes 8 bytes in a `table` that is nearly full at any time: a `layout` says what an entry
//! holds, `segment` is the arithmetic of a part of the table, `memory` where it lies.

mod layout;
mod memory;
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

    /// Begins to load what [`Self::candidates`] will look at.
    #[inline]
    pub fn prefetch(&self, hash: IdHash) {
        self.table.prefetch(self.table.layout().kept(hash));
    }

    /// Where needles with this hash are, in no order.
    #[inline]
    pub fn candidates(&self, hash: IdHash) -> impl Iterator<Item = Location> {
        let kept = self.table.layout().kept(hash);
        let entries = self.table.matches(kept).into_iter().flatten();
        entries.chain(self.table.beside(kept)).map(|entry| self.table.layout().location(entry))
    }

    /// The newest candidate that is older than `below` (an offset in bytes). Asking again with the
    /// offset of the last answer visits all of them, but for one that is superseded meanwhile.
    #[must_use]
    #[inline]
    pub fn newest_below(&self, hash: IdHash, below: u64) -> Option<Location> {
        let layout = self.table.layout();
        let kept = layout.kept(hash);
        let mut newest: Option<Location> = None;
        let entries = self.table.matches(kept).into_iter().flatten();
        for entry in entries.chain(self.table.beside(kept)) {
            let at = layout.location(entry);
            if at.offset < below && newest.is_none_or(|newest| at.offset > newest.offset) {
                newest = Some(at);
            }
        }
        newest
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
