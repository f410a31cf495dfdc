//! The table: a directory of segments, each a cuckoo hash table of two choices and 8-entry buckets.
//!
//! The leading bits of a hash name its segment, the rest its two buckets in it. A segment grows by a page
//! at a time, to which half of the entries of as many other buckets move; one of twice its first size
//! becomes two, as it stands. Entries never leave their segment but so, and what they hold says where they
//! go: growing needs no ids and no reads.
//!
//! What finds no place (more ids with the same hash than two buckets hold) goes to a map beside: slow, but
//! nothing is refused. The first few are there too, until there is a table.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::layout::{Entry, Layout, SECOND};
use super::memory::{Bucket, Compare, Memory, Plain, Work, best, prefetch};
use super::segment::{BUCKET_LEN, BUCKETS_MAX, BUCKETS_MIN, BUCKETS_STEP, Segment};

/// A search for a place looks at so many buckets at most.
const SEARCH_MAX: usize = 128;
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

/// Which buckets of a segment have a free place: so that a search for one touches few buckets.
type Open = [u64; BUCKETS_MAX / 64];

fn is_open(open: &Open, bucket: usize) -> bool {
    open[bucket / 64] >> (bucket % 64) & 1 == 1
}

fn set_open(open: &mut Open, bucket: usize, is: bool) {
    let word = &mut open[bucket / 64];
    *word = *word & !(1 << (bucket % 64)) | u64::from(is) << (bucket % 64);
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

/// Which places of a bucket are free: a bit for each.
#[inline(always)]
fn free(compare: impl Compare, bucket: &Bucket) -> u32 {
    compare.matching(bucket, Entry::MAX, 0)
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

    /// A segment grows, if it must by splitting before: whether it did.
    fn step(&mut self, slot: u32) -> bool {
        let segment = self.segments[slot as usize];
        let moved = if segment.buckets() < BUCKETS_MAX {
            self.grow(slot)
        } else if self.may_split(segment) {
            self.split(slot)
        } else {
            return false;
        };
        self.steps.count += 1;
        self.steps.moved_max = self.steps.moved_max.max(moved);
        self.settle_beside(segment);
        true
    }

    /// Whether there is memory for another segment, in a directory that is not out of proportion:
    /// hashes that are all alike cannot make it larger and larger.
    fn may_split(&mut self, segment: Segment) -> bool {
        let depth = u32::from(segment.depth) + 1;
        if depth > self.layout.depth_max() {
            return false;
        }
        let more = depth > self.depth;
        if more && 1 << depth > DIRECTORY_RATIO_MAX * (self.segments.len() + 1) {
            return false;
        }
        if more && self.directory.try_reserve_exact(self.directory.len()).is_err() {
            return false;
        }
        self.starved = !self.memory.reserve(1);
        !self.starved
    }

    /// Splits as many buckets of a segment as a page holds: how many entries moved.
    fn grow(&mut self, slot: u32) -> u64 {
        let segment = &mut self.segments[slot as usize];
        let from = usize::from(segment.split);
        let buckets = self.memory.buckets_mut(slot, segment.buckets() + BUCKETS_STEP);
        let (base, twins) = buckets.split_at_mut(BUCKETS_MIN + from);
        let open = &mut self.open[slot as usize];
        let mut moved = 0;
        for (at, (bucket, twin)) in
            (from..from + BUCKETS_STEP).zip(base[from..].iter_mut().zip(twins))
        {
            for (entry, place) in bucket.0.iter_mut().zip(&mut twin.0) {
                let goes = segment.is_twins(&self.layout, *entry);
                *place = if goes { *entry } else { 0 };
                *entry = if goes { 0 } else { *entry };
                moved += u64::from(goes);
            }
            set_open(open, at, free(Plain, bucket) != 0);
            set_open(open, at + BUCKETS_MIN, free(Plain, twin) != 0);
        }
        segment.split += BUCKETS_STEP as u16;
        self.buckets += BUCKETS_STEP;
        moved
    }

    /// Makes two segments of one all of whose buckets are split: how many entries moved.
    fn split(&mut self, slot: u32) -> u64 {
        let old = self.segments[slot as usize];
        let depth = u32::from(old.depth) + 1;
        if depth > self.depth {
            // In place, from the end: there is room.
            let len = self.directory.len();
            self.directory.resize(2 * len, 0);
            for at in (0..len).rev() {
                let owner = self.directory[at];
                self.directory[2 * at..2 * at + 2].fill(owner);
            }
            self.depth = depth;
        }
        let new = self.memory.add();
        let moved = self.memory.move_twins(slot, new);
        let prefix = old.prefix << 1;
        self.segments[slot as usize] =
            Segment { len: old.len - moved, ..Segment::new(prefix, depth) };
        if self.segments.len() == self.segments.capacity() {
            self.segments.reserve_exact(self.segments.len() / 8 + 1);
            self.open.reserve_exact(self.segments.len() / 8 + 1);
        }
        let mut open = Box::new([u64::MAX; _]);
        let half = BUCKETS_MIN / 64;
        open[..half].copy_from_slice(&self.open[slot as usize][half..]);
        self.open.push(open);
        self.segments.push(Segment { len: moved, ..Segment::new(prefix | 1, depth) });
        let spread = self.depth - depth;
        let (from, to) = ((prefix as usize | 1) << spread, (prefix as usize + 2) << spread);
        self.directory[from..to].fill(new);
        u64::from(moved)
    }

    /// What stands beside the table and belongs to a segment that has just grown gets another chance.
    fn settle_beside(&mut self, segment: Segment) {
        if self.beside.is_empty() {
            return;
        }
        let hashes = segment.hashes(&self.layout);
        let range = (*hashes.start(), 0)..=(*hashes.end(), u64::MAX);
        let waiting: Vec<_> = self.beside.range(range).map(|(key, entry)| (*key, *entry)).collect();
        for (key, entry) in waiting {
            if self.place_now(Plain, key.0, entry) {
                self.beside.remove(&key);
            }
        }
    }

    /// The segment in which the hash `from` belongs, which must be its first; and the first hash of the
    /// next one. Nothing when there is none.
    pub fn segment_from(&self, from: u64) -> Option<(&Segment, &[Bucket], u64)> {
        if self.directory.is_empty() || from >> self.layout.hash_bits() > 0 {
            return None;
        }
        let slot = self.slot_of(from);
        let segment = &self.segments[slot as usize];
        let hashes = segment.hashes(&self.layout);
        debug_assert_eq!(*hashes.start(), from, "segments split, and never become one");
        let buckets = self.memory.buckets(slot, segment.buckets());
        Some((segment, buckets, hashes.end() + 1))
    }

    /// At most so many of the entries beside the table, by hash and unit, behind `behind`.
    pub fn beside_behind(
        &self,
        behind: Option<(u64, u64)>,
        most: usize,
    ) -> impl Iterator<Item = ((u64, u64), Entry)> + use<'_> {
        let begin = behind.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.beside.range((begin, Bound::Unbounded));
        range.take(most).map(|(key, entry)| (*key, *entry))
    }

    /// Adds the next segment, in the order of hashes, to a table that is being put together: the first
    /// hash behind it. Nothing when it does not belong there, or there is no memory for it.
    pub fn restore(
        &mut self,
        from: u64,
        (prefix, depth): (u32, u32),
        content: impl ExactSizeIterator<Item = [Entry; BUCKET_LEN]>,
    ) -> Option<u64> {
        let layout = &self.layout;
        let buckets = content.len();
        let split = buckets.checked_sub(BUCKETS_MIN)?;
        let fits = (layout.depth_min..=layout.depth_max()).contains(&depth)
            && u64::from(prefix) >> depth == 0
            && split <= BUCKETS_MAX - BUCKETS_MIN
            && split.is_multiple_of(BUCKETS_STEP);
        if !fits {
            return None;
        }
        let split = u16::try_from(split).expect("a segment is small");
        let mut segment = Segment { split, ..Segment::new(prefix, depth) };
        let hashes = segment.hashes(layout);
        if *hashes.start() != from || !self.memory.reserve(1) {
            return None;
        }
        let slot = self.memory.add();
        let mut open = Box::new([u64::MAX; _]);
        for (at, (bucket, entries)) in
            self.memory.buckets_mut(slot, buckets).iter_mut().zip(content).enumerate()
        {
            bucket.0 = entries;
            let places = free(Plain, bucket);
            set_open(&mut open, at, places != 0);
            segment.len += (BUCKET_LEN as u32 - places.count_ones()) as u16;
        }
        self.buckets += buckets;
        self.entries += usize::from(segment.len);
        self.segments.push(segment);
        self.open.push(open);
        self.depth = self.depth.max(depth);
        Some(hashes.end() + 1)
    }

    /// Ends what [`Self::restore`] began, all of whose hashes below `end` have a segment: whether it is a
    /// whole table now.
    pub fn restored(&mut self, end: u64) -> bool {
        if self.segments.is_empty() {
            return true;
        }
        let honest = 1_usize << self.depth <= 2 * DIRECTORY_RATIO_MAX * (self.segments.len() + 1);
        if end != 1 << self.layout.hash_bits() || !honest {
            return false;
        }
        self.directory.reserve_exact(1 << self.depth);
        for (slot, segment) in (0..).zip(&self.segments) {
            let parts = 1_usize << (self.depth - u32::from(segment.depth));
            self.directory.resize(self.directory.len() + parts, slot);
        }
        self.segments.shrink_to_fit();
        self.open.shrink_to_fit();
        true
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

/// Puts an entry into a bucket that has a free place: which one that was.
#[inline(always)]
fn fill(
    compare: impl Compare,
    bucket: &mut Bucket,
    open: &mut Open,
    number: usize,
    entry: Entry,
) -> usize {
    let places = free(compare, bucket);
    let index = places.trailing_zeros() as usize;
    bucket.0[index] = entry;
    set_open(open, number, places & (places - 1) != 0);
    index
}

/// Puts an entry into one of its two buckets: whether there was, or could be made, room.
#[inline(always)]
fn place_in(
    compare: impl Compare,
    layout: &Layout,
    segment: Segment,
    buckets: &mut [Bucket],
    open: &mut Open,
    hash: u64,
    entry: Entry,
) -> bool {
    let places = segment.places(layout, hash);
    for (bucket, side) in places.into_iter().zip([0, SECOND]) {
        if is_open(open, bucket) {
            fill(compare, &mut buckets[bucket], open, bucket, entry | side);
            return true;
        }
    }
    kick(compare, layout, segment, buckets, open, places, entry)
}

/// A search begins at the two buckets of an entry.
const ROOTS: usize = 2;

/// A bucket that a search has reached, and how.
#[derive(Clone, Copy, Default)]
struct Reached {
    bucket: u16,
    /// The step before it, and the entry there that would move here.
    before: u8,
    index: u8,
}

const _: () = assert!(SEARCH_MAX <= 1 << u8::BITS && BUCKETS_MAX <= 1 << u16::BITS);

/// Makes room for an entry in one of its buckets, which are full, by moving others to their other
/// buckets: the shortest way there is. Whether there is one.
#[inline(always)]
fn kick(
    compare: impl Compare,
    layout: &Layout,
    segment: Segment,
    buckets: &mut [Bucket],
    open: &mut Open,
    roots: [usize; ROOTS],
    entry: Entry,
) -> bool {
    let mut reached = [Reached::default(); SEARCH_MAX];
    let mut seen: Open = [0; _];
    let mut len = 0;
    for root in roots {
        set_open(&mut seen, root, true);
        reached[len].bucket = root as u16;
        len += 1;
    }
    let mut at = 0;
    while at < len {
        let here = usize::from(reached[at].bucket);
        let others = buckets[here].0.map(|entry| segment.other(layout, here, entry));
        let leads_out = (0..)
            .zip(others)
            .fold(0_u32, |set, (index, other)| set | u32::from(is_open(open, other)) << index);
        if leads_out != 0 {
            let index = leads_out.trailing_zeros() as usize;
            return move_along(
                compare,
                buckets,
                open,
                &reached[..=at],
                others[index],
                index,
                entry,
            );
        }
        for (index, other) in (0..).zip(others) {
            if len < SEARCH_MAX && !is_open(&seen, other) {
                set_open(&mut seen, other, true);
                reached[len] = Reached { bucket: other as u16, before: at as u8, index };
                len += 1;
                // It is looked at soon, and most likely not in the cache; neither are the others.
                prefetch(&buckets[other]);
            }
        }
        at += 1;
    }
    false
}

/// The way that a search has found, which ends at place `index` of the last bucket of `reached`: what
/// stands there moves to `open_bucket`, what is before it on the way moves there, and so on.
#[inline(always)]
fn move_along(
    compare: impl Compare,
    buckets: &mut [Bucket],
    open: &mut Open,
    reached: &[Reached],
    open_bucket: usize,
    index: usize,
    entry: Entry,
) -> bool {
    let (mut step, mut index) = (reached.len() - 1, index);
    let mut from = usize::from(reached[step].bucket);
    let moving = buckets[from].0[index] ^ SECOND;
    fill(compare, &mut buckets[open_bucket], open, open_bucket, moving);
    while step >= ROOTS {
        let before = usize::from(reached[step].before);
        let (to, hole) = (from, index);
        index = usize::from(reached[step].index);
        from = usize::from(reached[before].bucket);
        buckets[to].0[hole] = buckets[from].0[index] ^ SECOND;
        step = before;
    }
    buckets[from].0[index] = if step == 0 { entry } else { entry | SECOND };
    true
}
