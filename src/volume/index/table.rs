//! The table: a directory of segments, each a cuckoo hash table with two choices and 8-entry buckets.
//!
//! The leading bits of a hash select its segment, the other bits its two buckets in it. A segment grows by a
//! page at a time, to which half of the entries of as many other buckets move. A segment of twice its
//! initial size splits in two: its twins become the second segment, unchanged. Entries leave their segment
//! in no other way, and their own bits determine where they go: growing needs no ids and no reads.
//!
//! Entries that find no slot (when more ids have the same hash than two buckets hold) go to the stash, a
//! map beside the table: slow, but nothing is refused. The first few entries are in the stash, too, until
//! there is a table.

use std::collections::BTreeMap;

use super::layout::{Entry, EntryLayout, SECOND};
use super::memory::{Bucket, Compare, Memory, Plain, Work, best, prefetch};
use super::place::{Open, free, place_in, set_open};
use super::segment::{BUCKET_LEN, Segment};
use super::unit_number::UnitNumber;

/// Maximum average number of directory entries per segment. Hashes of a good distribution need 4.
pub(super) const DIRECTORY_RATIO_MAX: usize = 32;
/// Approximate memory for an entry of the stash (bytes): key, value, and half-filled nodes.
const STASH_ENTRY_BYTES: usize = 48;
/// Overhead of the heap for each allocation (bytes).
const ALLOCATION_BYTES: usize = 16;

/// Growth statistics of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Number of steps in which a segment grew or split.
    pub count: u64,
    /// Largest number of entries moved by one such step.
    pub moved_max: u64,
}

/// The table.
pub struct Table {
    pub(super) layout: EntryLayout,
    pub(super) memory: Memory,
    /// Maps the leading bits of a hash to its segment. The number of a segment is that of its slot. Empty
    /// until there is a table.
    pub(super) directory: Vec<u32>,
    /// Number of leading bits that the directory uses.
    pub(super) depth: u32,
    pub(super) segments: Vec<Segment>,
    /// Bitmap of buckets with a free slot, for each segment.
    #[expect(clippy::vec_box, reason = "so that a longer vector is not much to copy in one step")]
    pub(super) open: Vec<Box<Open>>,
    /// Number of buckets of all segments.
    pub(super) buckets: usize,
    /// Number of entries in all segments.
    pub(super) entries: usize,
    /// The stash: entries that found no slot, by hash and unit.
    pub(super) stash: BTreeMap<(u64, UnitNumber), Entry>,
    pub(super) starved: bool,
    pub(super) steps: Steps,
}

/// Value of a free slot.
const NO_ENTRY: Entry = 0;

/// Position of an entry in the table.
#[derive(Clone, Copy)]
pub(super) struct SlotPosition {
    slot: u32,
    bucket: usize,
    index: usize,
}

/// Matching entries in the two buckets of a hash: at most 16.
#[derive(Clone, Copy)]
pub(super) struct Matches<'a> {
    first: &'a Bucket,
    second: &'a Bucket,
    /// Bit `8 * side + index`.
    pub(super) set: u32,
}

impl Iterator for Matches<'_> {
    type Item = Entry;

    #[inline(always)]
    fn next(&mut self) -> Option<Entry> {
        if self.set == 0 {
            return None;
        }
        let at = self.set.trailing_zeros() as usize;
        self.set &= self.set - 1;
        Some(self.entry(at))
    }
}

impl Matches<'_> {
    #[inline]
    fn entry(&self, at: usize) -> Entry {
        let bucket = if at < BUCKET_LEN { self.first } else { self.second };
        bucket.0[at % BUCKET_LEN]
    }
}

/// Finds the newest entry of a hash in the table.
struct NewestBelow<'a> {
    table: &'a Table,
    hash: u64,
    bound: Entry,
}

impl Work for NewestBelow<'_> {
    type Output = Entry;

    #[inline(always)]
    fn run(self, compare: impl Compare) -> Entry {
        let Some(matches) = self.table.matches(compare, self.hash) else { return NO_ENTRY };
        let or_none = |entry: Entry, is: bool| if is { entry } else { NO_ENTRY };
        let below = |entry| or_none(entry, entry < self.bound);
        if matches.set & matches.set.wrapping_sub(1) == 0 {
            // None or one, in most cases: computed without a branch.
            let only = matches.entry(matches.set.trailing_zeros() as usize % (2 * BUCKET_LEN));
            return or_none(below(only), matches.set != 0);
        }
        matches.map(below).fold(NO_ENTRY, Entry::max)
    }
}

impl Table {
    pub fn new(layout: EntryLayout, slots_max: usize) -> Self {
        Self {
            layout,
            memory: Memory::new(slots_max),
            directory: Vec::new(),
            depth: layout.depth_min,
            segments: Vec::new(),
            open: Vec::new(),
            buckets: 0,
            entries: 0,
            stash: BTreeMap::new(),
            starved: false,
            steps: Steps::default(),
        }
    }

    pub fn layout(&self) -> &EntryLayout {
        &self.layout
    }

    /// Returns the segment of a hash. The table must not be empty.
    #[inline(always)]
    pub(super) fn slot_of(&self, hash: u64) -> u32 {
        self.directory[(hash >> (self.layout.hash_bits() - self.depth)) as usize]
    }

    /// Returns segment and buckets of a hash; `None` when there is no table yet.
    #[inline(always)]
    fn places(&self, hash: u64) -> Option<(u32, [usize; 2])> {
        if self.directory.is_empty() {
            return None;
        }
        let slot = self.slot_of(hash);
        let segment = self.segments[slot as usize];
        Some((slot, segment.places(&self.layout, hash)))
    }

    /// Starts loading the buckets of a hash into the cache.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some((slot, buckets)) = self.places(hash) {
            for bucket in buckets {
                prefetch(self.memory.bucket(slot, bucket));
            }
        }
    }

    /// Returns the entries of a hash in the table.
    #[inline(always)]
    pub(super) fn matches(&self, compare: impl Compare, hash: u64) -> Option<Matches<'_>> {
        let (slot, buckets) = self.places(hash)?;
        let [first, second] = buckets.map(|bucket| self.memory.bucket(slot, bucket));
        let (compared, wanted) = (self.layout.compared(), self.layout.tag(hash));
        let mut set = compare.matching(first, compared, wanted)
            | compare.matching(second, compared, wanted | SECOND) << BUCKET_LEN;
        if wanted == 0 {
            // A free slot looks like an entry with this tag.
            set &= !free(compare, first);
        }
        Some(Matches { first, second, set })
    }

    /// Returns the entries of a hash, in no particular order.
    pub fn entries(&self, hash: u64) -> impl Iterator<Item = Entry> + use<'_> {
        self.matches(Plain, hash).into_iter().flatten().chain(self.stash(hash))
    }

    /// Returns the newest entry of a hash that is below `bound`.
    pub fn newest_below(&self, hash: u64, bound: Entry) -> Option<Entry> {
        let in_table = best(NewestBelow { table: self, hash, bound });
        let stash = self.stash(hash).filter(|entry| *entry < bound).fold(NO_ENTRY, Entry::max);
        Some(in_table.max(stash)).filter(|newest| *newest != NO_ENTRY)
    }

    /// Returns the entries of a hash in the stash.
    #[inline]
    fn stash(&self, hash: u64) -> impl Iterator<Item = Entry> + use<'_> {
        let some = (!self.stash.is_empty())
            .then(|| self.stash.range((hash, UnitNumber::MIN)..=(hash, UnitNumber::MAX)));
        some.into_iter().flatten().map(|(_, entry)| *entry)
    }

    /// Returns all entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Entry> + use<'_> {
        let slots = (0..).zip(&self.segments);
        let buckets =
            slots.flat_map(|(slot, segment)| self.memory.buckets(slot, segment.buckets()));
        let entries = buckets.flat_map(|bucket| bucket.0).filter(|entry| *entry != 0);
        entries.chain(self.stash.values().copied())
    }

    /// Returns all entries with the kept bits of their hashes, in no particular order.
    pub fn hashed(&self) -> impl Iterator<Item = (u64, Entry)> + use<'_> {
        let slots = (0..).zip(&self.segments);
        let buckets = slots.flat_map(|(slot, segment)| {
            let buckets = self.memory.buckets(slot, segment.buckets()).iter().enumerate();
            buckets.map(move |(number, bucket)| (segment, number, bucket.0))
        });
        let in_table = buckets.flat_map(move |(segment, number, entries)| {
            let entries = entries.into_iter().filter(|entry| *entry != NO_ENTRY);
            entries.map(move |entry| (segment.hash(&self.layout, number, entry), entry))
        });
        in_table.chain(self.stash.iter().map(|((hash, _), entry)| (*hash, *entry)))
    }

    #[inline(always)]
    pub(super) fn find(
        &self,
        compare: impl Compare,
        hash: u64,
        unit: UnitNumber,
    ) -> Option<SlotPosition> {
        let mut matches = self.matches(compare, hash)?;
        while matches.set != 0 {
            let at = matches.set.trailing_zeros() as usize;
            if self.layout.unit(matches.entry(at)) == unit {
                let (slot, buckets) = self.places(hash)?;
                let (bucket, index) = (buckets[at / BUCKET_LEN], at % BUCKET_LEN);
                return Some(SlotPosition { slot, bucket, index });
            }
            matches.set &= matches.set - 1;
        }
        None
    }

    fn at_mut(&mut self, place: SlotPosition) -> &mut Entry {
        let buckets = self.memory.buckets_mut(place.slot, place.bucket + 1);
        &mut buckets[place.bucket].0[place.index]
    }

    #[inline(always)]
    pub(super) fn place_now(&mut self, compare: impl Compare, hash: u64, entry: Entry) -> bool {
        let slot = self.slot_of(hash);
        let segment = &mut self.segments[slot as usize];
        let buckets = self.memory.buckets_mut(slot, segment.buckets());
        let open = &mut self.open[slot as usize];
        let placed = place_in(compare, &self.layout, *segment, buckets, open, hash, entry);
        segment.len += u16::from(placed);
        self.entries += usize::from(placed);
        placed
    }

    /// Removes an entry, and returns it.
    pub(super) fn remove(&mut self, hash: u64, unit: UnitNumber) -> Option<Entry> {
        let Some(place) = self.find(Plain, hash, unit) else {
            return self.stash.remove(&(hash, unit));
        };
        self.segments[place.slot as usize].len -= 1;
        set_open(&mut self.open[place.slot as usize], place.bucket, true);
        self.entries -= 1;
        Some(std::mem::take(self.at_mut(place)))
    }

    /// Replaces an entry by another one of the same hash (in the form for its first bucket). Returns the
    /// old one.
    pub(super) fn replace(&mut self, hash: u64, unit: UnitNumber, new: Entry) -> Option<Entry> {
        if let Some(place) = self.find(Plain, hash, unit) {
            let entry = self.at_mut(place);
            let side = *entry & SECOND;
            return Some(std::mem::replace(entry, new | side));
        }
        let old = self.stash.remove(&(hash, unit))?;
        self.stash.insert((hash, self.layout.unit(new)), new);
        Some(old)
    }

    pub fn len(&self) -> usize {
        self.entries + self.stash.len()
    }

    /// Number of slots of the table.
    pub fn slots(&self) -> usize {
        self.buckets * BUCKET_LEN
    }

    /// Number of entries in the stash because they found no slot. Does not count the first few before
    /// there is a table.
    pub fn stash_len(&self) -> usize {
        if self.directory.is_empty() && !self.starved {
            return 0;
        }
        self.stash.len()
    }

    pub fn steps(&self) -> Steps {
        self.steps
    }

    /// Returns whether memory to grow is lacking, after trying to get it again.
    pub fn is_starved(&mut self) -> bool {
        if self.starved {
            let wanted = if self.directory.is_empty() { 1 << self.layout.depth_min } else { 1 };
            self.starved = !self.memory.reserve(wanted);
        }
        self.starved
    }

    /// Memory in use (bytes), including what was allocated but is not used yet.
    pub fn memory(&self) -> usize {
        self.buckets * size_of::<Bucket>()
            + self.memory.overhead()
            + self.directory.capacity() * size_of::<u32>()
            + self.segments.capacity() * size_of::<Segment>()
            + self.open.capacity() * size_of::<Box<Open>>()
            + self.open.len() * (size_of::<Open>() + ALLOCATION_BYTES)
            + self.stash.len() * STASH_ENTRY_BYTES
    }
}
