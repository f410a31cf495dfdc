//! Inserting an entry into the table, which grows for it, or into the stash.

use super::layout::Entry;
use super::memory::{Compare, Plain, Work, best};
use super::segment::{BUCKET_LEN, BUCKETS_MIN, Segment};
use super::table::Table;

/// Number of entries that need no table: mapping memory takes longer than all operations on so few.
const STASH_ONLY_MAX: usize = 12;

/// Inserts an entry. Returns `false` if it was already present.
struct Insert<'a> {
    table: &'a mut Table,
    hash: u64,
    entry: Entry,
}

impl Work for Insert<'_> {
    type Output = bool;

    #[inline(always)]
    fn run(self, compare: impl Compare) -> bool {
        self.table.insert_by(compare, self.hash, self.entry)
    }
}

impl Table {
    /// Inserts an entry (in the form for its first bucket). Returns `false` if it was already present.
    pub fn insert(&mut self, hash: u64, entry: Entry) -> bool {
        best(Insert { table: self, hash, entry })
    }

    #[inline(always)]
    fn insert_by(&mut self, compare: impl Compare, hash: u64, entry: Entry) -> bool {
        let unit = self.layout.unit(entry);
        if self.find(compare, hash, unit).is_some() || self.stash.contains_key(&(hash, unit)) {
            return false;
        }
        if !self.place(compare, hash, entry) {
            self.stash.insert((hash, unit), entry);
        }
        true
    }

    /// Puts an entry into the table. Returns whether it found a slot.
    #[inline(always)]
    fn place(&mut self, compare: impl Compare, hash: u64, entry: Entry) -> bool {
        if self.directory.is_empty() && (self.stash.len() < STASH_ONLY_MAX || !self.begin()) {
            return false;
        }
        let slot = self.slot_of(hash);
        let segment = self.segments[slot as usize];
        if usize::from(segment.len) >= segment.limit() {
            self.step(slot);
        }
        if self.place_now(compare, hash, entry) {
            return true;
        }
        // Entries of the same hash stay together however much the segment grows.
        let same = self.matches(compare, hash).map_or(0, |matches| matches.set.count_ones());
        let slot = self.slot_of(hash);
        let needs_space = self.segments[slot as usize].is_nearly_full() && same < BUCKET_LEN as u32;
        needs_space && self.step(slot) && self.place_now(compare, hash, entry)
    }

    /// Creates the first segments. Returns whether there is memory for them.
    fn begin(&mut self) -> bool {
        let count = 1_u32 << self.layout.depth_min;
        self.starved = !self.memory.reserve(count as usize);
        if self.starved {
            return false;
        }
        for prefix in 0..count {
            let slot = self.memory.add();
            self.directory.push(slot);
            self.segments.push(Segment::new(prefix, self.layout.depth_min));
            self.open.push(Box::new([u64::MAX; _]));
            self.buckets += BUCKETS_MIN;
        }
        let first = std::mem::take(&mut self.stash);
        for (key, entry) in first {
            if !self.place_now(Plain, key.0, entry) {
                self.stash.insert(key, entry);
            }
        }
        true
    }
}
