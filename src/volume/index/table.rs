//! The table: a directory of segments, each a cuckoo hash table of two choices and 8-entry buckets.
//!
//! The leading bits of a hash name its segment, the rest its two buckets in it. A segment grows by a page
//! at a time, to which half of the entries of as many other buckets move; one of twice its first size
//! becomes two, as it stands. Entries never leave their segment but so, and what they hold says where they
//! go: growing needs no ids and no reads.
//!
//! What finds no place (more ids with the same hash than two buckets hold) goes to a map beside: slow, but
//! nothing is refused. The first few are there too, until there is a table.

mod growth;
mod saved;

use std::collections::BTreeMap;

use super::layout::{Entry, Layout, SECOND};
use super::memory::{Bucket, Compare, Memory, Plain, Work, best, prefetch};
use super::place::{Open, free, place_in, set_open};
use super::segment::{BUCKET_LEN, BUCKETS_MIN, Segment};

/// So many parts of the directory may belong to one segment on average: honest hashes need 4.
const DIRECTORY_RATIO_MAX: usize = 32;
/// So many entries need no table: to map memory takes longer than all that is done with so few.
const FEW: usize = 12;
/// What an entry of the map beside takes, about (bytes): key, value, and half-filled nodes.
const BESIDE_BYTES: usize = 48;
/// What the heap adds to each allocation (bytes).
const ALLOCATION_BYTES: usize = 16;

/// How the table is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Steps in which a segment grew or split.
    pub count: u64,
    /// Entries that such a step moved at most.
    pub moved_max: u64,
}

pub struct Table {
    layout: Layout,
    memory: Memory,
    /// By the leading bits of a hash: number of its segment, which is that of its slot. Empty until the
    /// first entry comes.
    directory: Vec<u32>,
    /// How many bits these are.
    depth: u32,
    segments: Vec<Segment>,
    /// For each of them.
    #[expect(clippy::vec_box, reason = "so that a longer vector is not much to copy in one step")]
    open: Vec<Box<Open>>,
    /// Buckets of all segments.
    buckets: usize,
    /// Entries in them.
    entries: usize,
    /// What found no place: by hash and unit.
    beside: BTreeMap<(u64, u64), Entry>,
    starved: bool,
    steps: Steps,
}

/// Not an entry, but a free place.
const NO_ENTRY: Entry = 0;

/// The place of an entry in the table.
#[derive(Clone, Copy)]
struct Place {
    slot: u32,
    bucket: usize,
    index: usize,
}

/// What the buckets of a hash hold of it: at most 16 entries.
#[derive(Clone, Copy)]
struct Matches<'a> {
    first: &'a Bucket,
    second: &'a Bucket,
    /// Bit `8 * side + index`.
    set: u32,
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

/// Searches for the newest entry of a hash in the table.
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
            // One or none, most often: without a branch for which.
            let only = matches.entry(matches.set.trailing_zeros() as usize % (2 * BUCKET_LEN));
            return or_none(below(only), matches.set != 0);
        }
        matches.map(below).fold(NO_ENTRY, Entry::max)
    }
}

/// Puts an entry where it belongs: whether it was not there already.
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
    pub fn new(layout: Layout, slots_max: usize) -> Self {
        Self {
            layout,
            memory: Memory::new(slots_max),
            directory: Vec::new(),
            depth: layout.depth_min,
            segments: Vec::new(),
            open: Vec::new(),
            buckets: 0,
            entries: 0,
            beside: BTreeMap::new(),
            starved: false,
            steps: Steps::default(),
        }
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The segment of a hash. There are some.
    #[inline(always)]
    fn slot_of(&self, hash: u64) -> u32 {
        self.directory[(hash >> (self.layout.hash_bits() - self.depth)) as usize]
    }

    /// Segment and buckets of a hash; nothing when the table has none.
    #[inline(always)]
    fn places(&self, hash: u64) -> Option<(u32, [usize; 2])> {
        if self.directory.is_empty() {
            return None;
        }
        let slot = self.slot_of(hash);
        let segment = self.segments[slot as usize];
        Some((slot, segment.places(&self.layout, hash)))
    }

    /// Begins to load the buckets of a hash into the cache.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some((slot, buckets)) = self.places(hash) {
            for bucket in buckets {
                prefetch(self.memory.bucket(slot, bucket));
            }
        }
    }

    /// Entries of a hash in the table.
    #[inline(always)]
    fn matches(&self, compare: impl Compare, hash: u64) -> Option<Matches<'_>> {
        let (slot, buckets) = self.places(hash)?;
        let [first, second] = buckets.map(|bucket| self.memory.bucket(slot, bucket));
        let (compared, wanted) = (self.layout.compared(), self.layout.tag(hash));
        let mut set = compare.matching(first, compared, wanted)
            | compare.matching(second, compared, wanted | SECOND) << BUCKET_LEN;
        if wanted == 0 {
            // A free place looks like an entry with this tag.
            set &= !free(compare, first);
        }
        Some(Matches { first, second, set })
    }

    /// Entries of a hash, in no order.
    pub fn entries(&self, hash: u64) -> impl Iterator<Item = Entry> + use<'_> {
        self.matches(Plain, hash).into_iter().flatten().chain(self.beside(hash))
    }

    /// The newest entry of a hash that is less than `bound`.
    pub fn newest_below(&self, hash: u64, bound: Entry) -> Option<Entry> {
        let in_table = best(NewestBelow { table: self, hash, bound });
        let beside = self.beside(hash).filter(|entry| *entry < bound).fold(NO_ENTRY, Entry::max);
        Some(in_table.max(beside)).filter(|newest| *newest != NO_ENTRY)
    }

    /// Entries of a hash beside the table.
    #[inline]
    fn beside(&self, hash: u64) -> impl Iterator<Item = Entry> + use<'_> {
        let some =
            (!self.beside.is_empty()).then(|| self.beside.range((hash, 0)..=(hash, u64::MAX)));
        some.into_iter().flatten().map(|(_, entry)| *entry)
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Entry> + use<'_> {
        let slots = (0..).zip(&self.segments);
        let buckets =
            slots.flat_map(|(slot, segment)| self.memory.buckets(slot, segment.buckets()));
        let entries = buckets.flat_map(|bucket| bucket.0).filter(|entry| *entry != 0);
        entries.chain(self.beside.values().copied())
    }

    #[inline(always)]
    fn find(&self, compare: impl Compare, hash: u64, unit: u64) -> Option<Place> {
        let mut matches = self.matches(compare, hash)?;
        while matches.set != 0 {
            let at = matches.set.trailing_zeros() as usize;
            if self.layout.unit(matches.entry(at)) == unit {
                let (slot, buckets) = self.places(hash)?;
                let (bucket, index) = (buckets[at / BUCKET_LEN], at % BUCKET_LEN);
                return Some(Place { slot, bucket, index });
            }
            matches.set &= matches.set - 1;
        }
        None
    }

    fn at_mut(&mut self, place: Place) -> &mut Entry {
        let buckets = self.memory.buckets_mut(place.slot, place.bucket + 1);
        &mut buckets[place.bucket].0[place.index]
    }

    /// Adds an entry (one of a first bucket): whether it was not there already.
    pub fn insert(&mut self, hash: u64, entry: Entry) -> bool {
        best(Insert { table: self, hash, entry })
    }

    #[inline(always)]
    fn insert_by(&mut self, compare: impl Compare, hash: u64, entry: Entry) -> bool {
        let unit = self.layout.unit(entry);
        if self.find(compare, hash, unit).is_some() || self.beside.contains_key(&(hash, unit)) {
            return false;
        }
        if !self.place(compare, hash, entry) {
            self.beside.insert((hash, unit), entry);
        }
        true
    }

    /// Puts an entry into the table: whether it has a place there.
    #[inline(always)]
    fn place(&mut self, compare: impl Compare, hash: u64, entry: Entry) -> bool {
        if self.directory.is_empty() && (self.beside.len() < FEW || !self.begin()) {
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
        // Entries of the same hash stay together however much it grows.
        let same = self.matches(compare, hash).map_or(0, |matches| matches.set.count_ones());
        let slot = self.slot_of(hash);
        let honest = self.segments[slot as usize].is_crowded() && same < BUCKET_LEN as u32;
        honest && self.step(slot) && self.place_now(compare, hash, entry)
    }

    #[inline(always)]
    fn place_now(&mut self, compare: impl Compare, hash: u64, entry: Entry) -> bool {
        let slot = self.slot_of(hash);
        let segment = &mut self.segments[slot as usize];
        let buckets = self.memory.buckets_mut(slot, segment.buckets());
        let open = &mut self.open[slot as usize];
        let placed = place_in(compare, &self.layout, *segment, buckets, open, hash, entry);
        segment.len += u16::from(placed);
        self.entries += usize::from(placed);
        placed
    }

    /// The first segments: whether there is memory for them.
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
        let first = std::mem::take(&mut self.beside);
        for (key, entry) in first {
            if !self.place_now(Plain, key.0, entry) {
                self.beside.insert(key, entry);
            }
        }
        true
    }

    /// Takes an entry out of the table.
    pub fn remove(&mut self, hash: u64, unit: u64) -> Option<Entry> {
        let Some(place) = self.find(Plain, hash, unit) else {
            return self.beside.remove(&(hash, unit));
        };
        self.segments[place.slot as usize].len -= 1;
        set_open(&mut self.open[place.slot as usize], place.bucket, true);
        self.entries -= 1;
        Some(std::mem::take(self.at_mut(place)))
    }

    /// Puts another entry of the same hash (one of a first bucket) in the place of one.
    pub fn replace(&mut self, hash: u64, unit: u64, new: Entry) -> Option<Entry> {
        if let Some(place) = self.find(Plain, hash, unit) {
            let entry = self.at_mut(place);
            let side = *entry & SECOND;
            return Some(std::mem::replace(entry, new | side));
        }
        let old = self.beside.remove(&(hash, unit))?;
        self.beside.insert((hash, self.layout.unit(new)), new);
        Some(old)
    }

    pub fn len(&self) -> usize {
        self.entries + self.beside.len()
    }

    /// Slots of the table.
    pub fn slots(&self) -> usize {
        self.buckets * BUCKET_LEN
    }

    /// Entries that found no place in it.
    pub fn len_beside(&self) -> usize {
        if self.directory.is_empty() && !self.starved {
            return 0;
        }
        self.beside.len()
    }

    pub fn steps(&self) -> Steps {
        self.steps
    }

    /// Whether there is no memory to grow. Asks for it again.
    pub fn is_starved(&mut self) -> bool {
        if self.starved {
            let wanted = if self.directory.is_empty() { 1 << self.layout.depth_min } else { 1 };
            self.starved = !self.memory.reserve(wanted);
        }
        self.starved
    }

    /// Memory (bytes): all of it, also what is about to be used.
    pub fn memory(&self) -> usize {
        self.buckets * size_of::<Bucket>()
            + self.memory.overhead()
            + self.directory.capacity() * size_of::<u32>()
            + self.segments.capacity() * size_of::<Segment>()
            + self.open.capacity() * size_of::<Box<Open>>()
            + self.open.len() * (size_of::<Open>() + ALLOCATION_BYTES)
            + self.beside.len() * BESIDE_BYTES
    }
}
