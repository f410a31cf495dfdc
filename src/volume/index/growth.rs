//! Growth: by a page of buckets at a time, or by splitting a segment of twice its initial size in two.

use super::memory::Plain;
use super::place::{free, set_open};
use super::segment::{BUCKETS_MAX, BUCKETS_MIN, BUCKETS_STEP, Segment};
use super::table::{DIRECTORY_RATIO_MAX, Table};
use super::unit_number::UnitNumber;

impl Table {
    /// Grows a segment, or splits it if it has its maximum size. Returns whether it did.
    pub(super) fn step(&mut self, slot: u32) -> bool {
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
        self.unstash(segment);
        true
    }

    /// Returns whether a segment may split: there is memory for another one, and the directory stays in
    /// proportion, so that equal hashes cannot enlarge it without limit.
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

    /// Splits as many buckets of a segment as a page holds. Returns the number of entries moved.
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

    /// Makes two segments of one whose buckets are all split. Returns the number of entries moved.
    fn split(&mut self, slot: u32) -> u64 {
        let old = self.segments[slot as usize];
        let depth = u32::from(old.depth) + 1;
        if depth > self.depth {
            // In place, from the end: the memory was reserved.
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

    /// Tries again to move the entries of the stash that belong to a segment that has just grown into the
    /// table.
    fn unstash(&mut self, segment: Segment) {
        if self.stash.is_empty() {
            return;
        }
        let hashes = segment.hashes(&self.layout);
        let range = (*hashes.start(), UnitNumber::MIN)..=(*hashes.end(), UnitNumber::MAX);
        let waiting: Vec<_> = self.stash.range(range).map(|(key, entry)| (*key, *entry)).collect();
        for (key, entry) in waiting {
            if self.place_now(Plain, key.0, entry) {
                self.stash.remove(&key);
            }
        }
    }
}
