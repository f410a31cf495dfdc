//! Index and space accounting of a volume: the index, the number of live bytes in the log, and the
//! properties of the log.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::NeedleId;
use crate::volume::format::{HASH_PREFIX_BITS, HashPrefix};
use crate::volume::index::{HASH_BITS_MIN, IdHash, Index, Location, OffsetSums, RetiredIndex};
use crate::volume::log::damaged_range::DamagedRange;
use crate::volume::log::properties::LogProperties;

const _: () = assert!(*HASH_PREFIX_BITS.start() == HASH_BITS_MIN);

/// Index and space accounting of a volume.
pub struct Contents {
    index: Index,
    /// Bytes of the parts of each indexed manifest, by the offset of the manifest. Multipart objects are
    /// few, as each takes more than 1 MiB of the log. A tree, because it grows in small steps.
    parts: BTreeMap<u64, u64>,
    /// Indexed records of lost objects, by their offset; with the ids of the objects, where these are known.
    losses: BTreeMap<u64, (Location, Option<NeedleId>)>,
    live: u64,
    /// Sums of the offsets of all entries of the index.
    sums: OffsetSums,
    properties: LogProperties,
}

impl Contents {
    /// Creates empty contents that use this index.
    pub fn new(index: Index) -> Self {
        Self {
            index,
            parts: BTreeMap::new(),
            losses: BTreeMap::new(),
            live: 0,
            sums: OffsetSums::default(),
            properties: LogProperties::default(),
        }
    }

    /// Ends the use of these contents.
    pub fn retire(self) -> RetiredIndex {
        self.index.retire()
    }

    /// Returns the index, for lookups.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Returns whether the index has no memory for more needles.
    pub fn is_starved(&mut self) -> bool {
        self.index.is_starved()
    }

    /// Bytes of the log that are indexed needles and their parts.
    pub fn live(&self) -> u64 {
        self.live
    }

    /// Sums of the offsets of all entries of the index, counted as they were added and removed.
    pub fn offset_sums(&self) -> &OffsetSums {
        &self.sums
    }

    /// Returns the properties of the log.
    pub fn properties(&self) -> &LogProperties {
        &self.properties
    }

    /// Returns the properties of the log, to be changed or restored.
    pub fn properties_mut(&mut self) -> &mut LogProperties {
        &mut self.properties
    }

    /// Adds a needle with `parts` bytes of parts. Returns `false`, and does nothing, if the needle is already
    /// present.
    pub fn insert(&mut self, hash: IdHash, at: Location, parts: u64) -> bool {
        let is_new = self.index.insert(hash, at);
        if is_new {
            self.add_live(at, parts);
        }
        is_new
    }

    /// Replaces the needle at `old` by `new`. Returns whether `old` was present; if not, nothing changes.
    pub fn replace(&mut self, hash: IdHash, old: u64, new: Location, parts: u64) -> bool {
        let Some(gone) = self.index.replace(hash, old, new) else { return false };
        if !chosen(Sabotage::ReplacedIsAlive) {
            self.remove_live(gone);
        }
        self.add_live(new, parts);
        true
    }

    /// Removes the needle at `offset`. Returns whether it was present.
    pub fn remove(&mut self, hash: IdHash, offset: u64) -> bool {
        let gone = self.index.remove(hash, offset);
        if let Some(gone) = gone
            && !chosen(Sabotage::DeletedIsAlive)
        {
            self.remove_live(gone);
        }
        gone.is_some()
    }

    /// Notes that the needle at `at`, which was added, is the record of a lost object.
    pub fn note_loss(&mut self, at: Location, id: Option<NeedleId>) {
        self.losses.insert(at.offset, (at, id));
    }

    /// Adds the record of a lost object of which only leading bits of the hash are known, under every hash
    /// that begins with them. Each of them counts as a needle.
    pub fn insert_unidentified(&mut self, prefix: HashPrefix, at: Location) {
        for hash in self.index.hashes_beginning(prefix.leading, prefix.bits) {
            self.insert(hash, at, 0);
        }
        self.note_loss(at, None);
    }

    /// The records of lost objects that nothing has superseded, in the order of the log.
    pub fn losses(&self) -> impl ExactSizeIterator<Item = DamagedRange> {
        self.losses.values().map(|(at, id)| DamagedRange::of_loss(*at, *id))
    }

    /// Memory in use (bytes). Nodes of the trees are at least half full.
    pub fn memory(&self) -> usize {
        let parts = self.parts.len() * 2 * size_of::<(u64, u64)>();
        let loss = size_of::<(u64, (Location, Option<NeedleId>))>();
        let losses = self.losses.len() * 2 * loss;
        self.index.memory() + parts + losses + self.properties.memory()
    }

    /// Replays a replacement. Idempotent: a checkpoint may already contain its effect. Returns whether
    /// `old` was present.
    pub fn supersede(&mut self, hash: IdHash, old: u64, new: Location, parts: u64) -> bool {
        if chosen(Sabotage::ReplayWithoutRemoval) {
            self.insert(hash, new, parts);
            return true;
        }
        if self.index.contains(hash, new.offset) {
            return self.remove(hash, old);
        }
        self.replace(hash, old, new, parts)
    }

    /// The manifests at offset `from` and after it, in order: offset of the manifest, and length of its
    /// parts (bytes).
    pub fn parts(&self, from: u64) -> impl Iterator<Item = (u64, u64)> {
        self.parts.range(from..).map(|(at, len)| (*at, *len))
    }

    /// Approximate length of a checkpoint of these contents (bytes).
    pub fn saved_len(&self) -> usize {
        let parts = self.parts.len() * size_of::<(u64, u64)>();
        self.index.saved_len() + parts + self.properties.memory()
    }

    /// Returns the index, to be restored. Restored needles must be accounted for with [`Self::account`].
    pub fn index_mut(&mut self) -> &mut Index {
        &mut self.index
    }

    /// Accounts for restored needles: their length (bytes), and the sums of their offsets.
    pub fn account(&mut self, len: u64, sums: &OffsetSums) {
        self.live += len;
        self.sums.add_all(sums);
    }

    /// Accounts for one restored needle.
    pub fn account_one(&mut self, at: Location) {
        self.live += at.len;
        self.sums.add(at.offset);
    }

    /// Restores one item of [`Self::parts`].
    pub fn restore_parts(&mut self, manifest: u64, len: u64) {
        self.live += len;
        self.parts.insert(manifest, len);
    }

    /// Recounts the live bytes from the index.
    ///
    /// # Panics
    /// If the count differs from the account.
    pub fn audit(&self) {
        let needles: u64 = self.index.locations().map(|at| at.len).sum();
        let parts: u64 = self.parts.values().sum();
        assert_eq!(self.live, needles + parts, "live bytes, recounted from the index");
        let lost = self.index.locations().filter(|at| self.losses.contains_key(&at.offset));
        let lost: BTreeSet<u64> = lost.map(|at| at.offset).collect();
        assert_eq!(lost.len(), self.losses.len(), "records of losses that are in the index");
        assert_eq!(self.index.len(), self.index.locations().count(), "needles in the index");
        let mut sums = OffsetSums::default();
        self.index.locations().for_each(|at| sums.add(at.offset));
        assert_eq!(self.sums, sums, "sums of the offsets, recounted from the index");
        self.properties.audit();
    }

    fn add_live(&mut self, at: Location, parts: u64) {
        self.live += at.len;
        self.sums.add(at.offset);
        if parts > 0 {
            // The length of the parts may already be known for a manifest that is restored only now.
            let known = self.parts.insert(at.offset, parts).unwrap_or(0);
            self.live = self.live + parts - known;
        }
    }

    fn remove_live(&mut self, gone: Location) {
        self.sums.remove(gone.offset);
        self.losses.remove(&gone.offset);
        let len = gone.len + self.parts.remove(&gone.offset).unwrap_or(0);
        let left = self.live.checked_sub(len);
        self.live = left.expect("the live bytes include every indexed needle and its parts");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::NeedleId;
    use crate::volume::index::Hasher;

    #[test]
    fn live_bytes_include_the_parts_of_a_manifest() {
        let hash = Hasher::new(1).hash(NeedleId::new(1, 1));
        let at = |unit: u64| Location { offset: unit * 512, len: 1024 };
        let mut contents = Contents::new(Index::for_volume(1 << 30));
        contents.insert(hash, at(1), 5000);
        contents.insert(hash, at(1), 5000);
        assert_eq!(contents.live(), 6024);
        // An entry of the index, and the length of the parts by the offset of the manifest.
        assert_eq!(contents.saved_len(), 8 + 16);
        assert!(contents.replace(hash, at(1).offset, at(9), 0));
        assert_eq!(contents.live(), 1024);
        assert!(!contents.replace(hash, at(1).offset, at(10), 7));
        assert!(contents.replace(hash, at(9).offset, at(10), 700));
        assert_eq!(contents.live(), 1724);
        assert!(contents.remove(hash, at(10).offset));
        assert!(!contents.remove(hash, at(10).offset));
        assert_eq!((contents.live(), contents.index().len()), (0, 0));
    }

    #[test]
    fn records_of_lost_objects_are_known_until_they_are_superseded() {
        let hasher = Hasher::new(1);
        let (known, other) = (NeedleId::new(1, 1), NeedleId::new(2, 2));
        let at = |unit: u64| Location { offset: unit * 512, len: 1024 };
        // The record knows fewer bits than this index keeps.
        let mut contents = Contents::new(Index::for_volume(16 << 20));
        let prefix = HashPrefix { leading: hasher.hash(other).bits() >> 27 << 27, bits: 37 };
        contents.insert(hasher.hash(known), at(1), 0);
        contents.note_loss(at(1), Some(known));
        contents.insert_unidentified(prefix, at(4));
        contents.insert_unidentified(prefix, at(4));
        let lost = [DamagedRange::of_loss(at(1), Some(known)), DamagedRange::of_loss(at(4), None)];
        assert_eq!(contents.losses().collect::<Vec<_>>(), lost);
        contents.audit();
        assert_eq!((contents.index().len(), contents.live()), (33, 33 * 1024));
        assert!(contents.index().contains(hasher.hash(other), at(4).offset));
        let memory = contents.memory();
        assert!(contents.replace(hasher.hash(known), at(1).offset, at(9), 0));
        assert_eq!(contents.losses().collect::<Vec<_>>(), lost[1..]);
        assert!(contents.memory() < memory);
        contents.audit();
    }

    #[test]
    fn parts_restored_before_their_manifest_count_once() {
        let hash = Hasher::new(1).hash(NeedleId::new(1, 1));
        let at = Location { offset: 512, len: 1024 };
        let mut contents = Contents::new(Index::for_volume(1 << 30));
        contents.restore_parts(at.offset, 5000);
        assert_eq!(contents.live(), 5000);
        contents.insert(hash, at, 5000);
        contents.audit();
        assert_eq!(contents.live(), 6024);
        contents.insert(hash, at, 5000);
        assert_eq!(contents.live(), 6024, "a needle that is present counts once");
        assert_eq!(contents.parts(0).collect::<Vec<_>>(), [(512, 5000)]);
        assert_eq!((contents.parts(512).count(), contents.parts(513).count()), (1, 0));
        assert!(contents.remove(hash, at.offset));
        assert_eq!((contents.live(), contents.parts(0).count()), (0, 0));
    }

    #[test]
    fn a_replacement_that_the_checkpoint_contains_is_replayed_once() {
        let hash = Hasher::new(1).hash(NeedleId::new(1, 1));
        let at = |unit: u64| Location { offset: unit * 512, len: 1024 };
        let mut contents = Contents::new(Index::for_volume(1 << 30));
        contents.insert(hash, at(1), 0);
        contents.insert(hash, at(9), 700);
        assert!(contents.supersede(hash, at(1).offset, at(9), 700), "the old needle is removed");
        assert_eq!((contents.live(), contents.index().len()), (1724, 1));
        assert!(!contents.supersede(hash, at(1).offset, at(9), 700), "it is gone");
        assert!(!contents.supersede(hash, at(1).offset, at(12), 0), "nothing is replaced");
        assert!(contents.supersede(hash, at(9).offset, at(12), 0));
        contents.audit();
        assert_eq!((contents.live(), contents.index().len()), (1024, 1));
    }
}
