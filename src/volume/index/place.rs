//! Inserting an entry into a segment: into one of its two buckets, or into a slot that another entry
//! frees by moving to its own other bucket (cuckoo hashing; the shortest path is found breadth first).

use super::layout::{Entry, EntryLayout, SECOND};
use super::memory::{Bucket, Compare, prefetch};
use super::segment::{BUCKETS_MAX, Segment};

/// Maximum number of buckets that a search visits.
const SEARCH_MAX: usize = 128;

/// Bitmap of the buckets of a segment that have a free slot, so that a search touches few buckets.
pub type Open = [u64; BUCKETS_MAX / 64];

#[inline(always)]
pub fn is_open(open: &Open, bucket: usize) -> bool {
    open[bucket / 64] >> (bucket % 64) & 1 == 1
}

#[inline(always)]
pub fn set_open(open: &mut Open, bucket: usize, is: bool) {
    let word = &mut open[bucket / 64];
    *word = *word & !(1 << (bucket % 64)) | u64::from(is) << (bucket % 64);
}

/// Returns the free slots of a bucket, one bit each.
#[inline(always)]
pub fn free(compare: impl Compare, bucket: &Bucket) -> u32 {
    compare.matching(bucket, Entry::MAX, 0)
}

/// Puts an entry into a bucket that has a free slot. Returns the index of that slot.
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

/// Puts an entry into one of its two buckets. Returns whether there was a free slot, or one could be
/// made.
#[inline(always)]
pub fn place_in(
    compare: impl Compare,
    layout: &EntryLayout,
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

/// Number of buckets at which a search begins: the two buckets of an entry.
const ROOTS: usize = 2;

/// A bucket reached by a search, and the step that led to it.
#[derive(Clone, Copy, Default)]
struct Reached {
    bucket: u16,
    /// The preceding step, and the index of the entry there that would move here.
    before: u8,
    index: u8,
}

const _: () = assert!(SEARCH_MAX <= 1 << u8::BITS && BUCKETS_MAX <= 1 << u16::BITS);

/// Makes space for an entry in one of its two full buckets, by moving other entries to their other
/// buckets along the shortest path. Returns whether there is such a path.
#[inline(always)]
fn kick(
    compare: impl Compare,
    layout: &EntryLayout,
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
                // It will be visited soon, and is probably not in the cache. Neither are the other new
                // ones.
                prefetch(&buckets[other]);
            }
        }
        at += 1;
    }
    false
}

/// Moves the entries along the path that a search has found. The path ends at slot `index` of the last
/// bucket of `reached`: the entry there moves to `open_bucket`, the preceding entry on the path moves to
/// the freed slot, and so on.
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
