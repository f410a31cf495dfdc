//! The index of a volume: where its needles are, in memory.
//!
//! A multimap on a hash of the needle's id. It does not know ids: a candidate is confirmed from
//! the needle itself, on the read that happens anyway. Nothing in it is authoritative; the log is.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;
use xxhash_rust::xxh3::xxh3_64_with_seed;

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

/// Hash of a needle's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdHash(u64);

/// How ids are hashed: seeded per volume, so that nobody can prepare collisions.
#[derive(Clone, Copy, Debug)]
pub struct Hasher {
    seed: u64,
    mask: u64,
}

impl Hasher {
    /// The hash of a volume with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, mask: u64::MAX }
    }

    /// A hash of so few bits that collisions really happen; for tests.
    #[must_use]
    pub fn with_bits(seed: u64, bits: u32) -> Self {
        Self { seed, mask: (1 << bits) - 1 }
    }

    /// The hash of `id`.
    #[must_use]
    pub fn hash(&self, id: NeedleId) -> IdHash {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&id.key.0.to_le_bytes());
        bytes[8..].copy_from_slice(&id.alt.0.to_le_bytes());
        IdHash(xxh3_64_with_seed(&bytes, self.seed) & self.mask)
    }
}

#[derive(Clone, Copy)]
struct Entry {
    hash: IdHash,
    unit: u64,
    units: u16,
}

impl Entry {
    fn new(hash: IdHash, at: Location) -> Self {
        debug_assert!(at.offset.is_multiple_of(UNIT) && at.len.is_multiple_of(UNIT));
        let units = u16::try_from(at.len / UNIT).expect("an indexed needle is about 1 MiB at most");
        Self { hash, unit: at.offset / UNIT, units }
    }

    fn location(&self) -> Location {
        Location { offset: self.unit * UNIT, len: u64::from(self.units) * UNIT }
    }
}

/// The multimap.
#[derive(Default)]
pub struct Index {
    table: HashTable<Entry>,
}

impl Index {
    /// No needles.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where needles with this hash are, in no order.
    pub fn candidates(&self, hash: IdHash) -> impl Iterator<Item = Location> {
        self.table.iter_hash(hash.0).filter(move |e| e.hash == hash).map(Entry::location)
    }

    /// The newest candidate that is older than `below` (an offset in bytes). Asking again with the
    /// offset of the last answer visits all of them, but for one that is superseded meanwhile.
    #[must_use]
    pub fn newest_below(&self, hash: IdHash, below: u64) -> Option<Location> {
        self.candidates(hash).filter(|at| at.offset < below).max_by_key(|at| at.offset)
    }

    /// Where all needles are, in no order.
    pub fn locations(&self) -> impl Iterator<Item = Location> {
        self.table.iter().map(Entry::location)
    }

    /// Adds a needle: whether it was not there already.
    pub fn insert(&mut self, hash: IdHash, at: Location) -> bool {
        let entry = Entry::new(hash, at);
        let same = |e: &Entry| e.hash == hash && e.unit == entry.unit;
        match self.table.entry(hash.0, same, |e| e.hash.0) {
            Slot::Occupied(_) => false,
            Slot::Vacant(slot) => {
                slot.insert(entry);
                true
            }
        }
    }

    /// Puts `new` in the place of the needle at `old`: where that was, if it was there.
    pub fn replace(&mut self, hash: IdHash, old: u64, new: Location) -> Option<Location> {
        let entry = self.table.find_mut(hash.0, |e| e.hash == hash && e.unit == old / UNIT)?;
        Some(std::mem::replace(entry, Entry::new(hash, new)).location())
    }

    /// Removes the needle at `offset`: where it was, if it was there.
    pub fn remove(&mut self, hash: IdHash, offset: u64) -> Option<Location> {
        let same = |e: &Entry| e.hash == hash && e.unit == offset / UNIT;
        let (entry, _) = self.table.find_entry(hash.0, same).ok()?.remove();
        Some(entry.location())
    }

    /// Needles.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Memory it takes (bytes).
    #[must_use]
    pub fn memory(&self) -> usize {
        self.table.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unit: u64) -> Location {
        Location { offset: unit * UNIT, len: UNIT * 3 }
    }

    #[test]
    fn colliding_needles_live_side_by_side() {
        let hasher = Hasher::with_bits(1, 0);
        let hash = hasher.hash(NeedleId::new(1, 1));
        assert_eq!(hash, hasher.hash(NeedleId::new(2, 2)));
        let mut index = Index::new();
        for unit in [5, 3, 9] {
            assert!(index.insert(hash, at(unit)));
            assert!(!index.insert(hash, at(unit)));
        }
        assert_eq!(index.len(), 3);
        let mut seen = Vec::new();
        let mut below = u64::MAX;
        while let Some(found) = index.newest_below(hash, below) {
            below = found.offset;
            seen.push(found.offset / UNIT);
        }
        assert_eq!(seen, [9, 5, 3]);
        assert_eq!(index.replace(hash, at(5).offset, at(11)), Some(at(5)));
        assert_eq!(index.replace(hash, at(5).offset, at(12)), None);
        assert_eq!(index.remove(hash, at(9).offset), Some(at(9)));
        assert_eq!(index.remove(hash, at(9).offset), None);
        assert_eq!(index.newest_below(hash, u64::MAX), Some(at(11)));
        assert_eq!(index.len(), 2);
    }

    #[test]
    fn seeds_give_different_hashes() {
        let id = NeedleId::new(1, 1);
        assert_ne!(Hasher::new(1).hash(id), Hasher::new(2).hash(id));
    }
}
