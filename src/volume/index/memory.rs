//! Memory for segments, directly from the kernel: a segment uses only the pages that it touches.
//!
//! Each segment has a slot of [`BUCKETS_MAX`] buckets of address space, in which pages are allocated when
//! they are touched. Slots are mapped in chunks of doubling size, so a small volume has one small mapping
//! and a large one a few dozen. They are unmapped when the index is dropped.
#![expect(unsafe_code, reason = "maps table memory, hands out slices of it")]

mod bucket;

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

pub use bucket::{Bucket, Compare, Plain, Work, best, prefetch};

use super::segment::{BUCKETS_MAX, BUCKETS_MIN, BUCKETS_STEP};

/// Address space of a slot (bytes).
const SLOT: usize = BUCKETS_MAX * size_of::<Bucket>();
/// Maximum number of slots in a chunk: 128 MiB of address space.
const CHUNK_SLOTS_MAX: usize = 1024;

const _: () = assert!(BUCKETS_MAX == 2 * BUCKETS_MIN);
const _: () =
    assert!(size_of::<Bucket>() == 64 && (BUCKETS_STEP * size_of::<Bucket>()).is_multiple_of(4096));

struct Chunk {
    base: NonNull<u8>,
    len: usize,
}

/// The slots of an index.
pub struct Memory {
    /// Start of each slot in use.
    slots: Vec<NonNull<Bucket>>,
    chunks: Vec<Chunk>,
    /// Number of slots in all chunks.
    mapped: usize,
    /// Maximum number of slots that may be mapped; for tests of memory shortage.
    pub(super) slots_max: usize,
}

impl Memory {
    /// Creates a memory without slots that maps at most `slots_max` of them.
    pub fn new(slots_max: usize) -> Self {
        Self { slots: Vec::new(), chunks: Vec::new(), mapped: 0, slots_max }
    }

    /// Makes sure that `more` slots can be added. Returns whether they can.
    pub fn reserve(&mut self, more: usize) -> bool {
        let missing = (self.slots.len() + more).saturating_sub(self.mapped);
        missing == 0 || self.map(missing.max(self.mapped.min(CHUNK_SLOTS_MAX)))
    }

    fn map(&mut self, slots: usize) -> bool {
        if self.mapped + slots > self.slots_max {
            return false;
        }
        let len = NonZeroUsize::new(slots * SLOT).expect("at least one slot");
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice aliases nothing.
        let Ok(base) = (unsafe { mmap_anonymous(None, len, prot, flags) }) else { return false };
        let base = base.cast::<u8>();
        // A huge page would take up memory in full once one of its bytes is touched. On a kernel without
        // huge pages the advice fails, and is not needed.
        // SAFETY: advice about our own whole mapping; it does not change its content.
        let _ = unsafe { madvise(base.cast(), len.get(), MmapAdvise::MADV_NOHUGEPAGE) };
        self.chunks.push(Chunk { base, len: len.get() });
        self.mapped += slots;
        true
    }

    /// Adds a slot with empty buckets. Returns its number. The slot must have been reserved.
    ///
    /// # Panics
    /// If it was not reserved.
    pub fn add(&mut self) -> u32 {
        let number = self.slots.len();
        assert!(number < self.mapped, "a slot is reserved before it is added");
        let chunk = self.chunks.last().expect("mapped slots are in a chunk");
        let left = (self.mapped - number) * SLOT;
        assert!(left <= chunk.len, "a chunk is mapped when all before it are used up");
        let at = chunk.len - left;
        // SAFETY: not all slots of the last chunk are in use, so this is the start of one.
        let slot = unsafe { chunk.base.add(at) };
        if number == self.slots.capacity() {
            self.slots.reserve_exact((number / 8).max(1));
        }
        self.slots.push(slot.cast());
        u32::try_from(number).expect("address space limits slots to fewer than 2^32")
    }

    /// Returns a bucket of a slot.
    #[inline]
    pub fn bucket(&self, slot: u32, bucket: usize) -> &Bucket {
        assert!(bucket < BUCKETS_MAX);
        let base = self.slots[slot as usize];
        // SAFETY: inside the slot.
        let at = unsafe { base.add(bucket) };
        // SAFETY: mapped (zeroed by the kernel at first, hence initialised) as long as `self` exists,
        // aligned, and borrowed with it.
        unsafe { at.as_ref() }
    }

    /// Returns the first `len` buckets of a slot.
    #[inline]
    pub fn buckets(&self, slot: u32, len: usize) -> &[Bucket] {
        assert!(len <= BUCKETS_MAX);
        let base = self.slots[slot as usize];
        // SAFETY: inside the slot; as in `bucket`.
        unsafe { std::slice::from_raw_parts(base.as_ptr(), len) }
    }

    /// Returns the first `len` buckets of a slot, mutable.
    #[inline]
    pub fn buckets_mut(&mut self, slot: u32, len: usize) -> &mut [Bucket] {
        assert!(len <= BUCKETS_MAX);
        let base = self.slots[slot as usize];
        // SAFETY: as in `buckets`; slots do not overlap, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(base.as_ptr(), len) }
    }

    /// Moves the second half of a slot to the first half of another, and returns its pages to the kernel.
    /// Returns the number of entries moved.
    ///
    /// # Panics
    /// If both are the same slot.
    pub fn move_twins(&mut self, from: u32, to: u32) -> u16 {
        assert!(from != to);
        let (source, target) = (self.slots[from as usize], self.slots[to as usize]);
        // SAFETY: the second half is inside the slot.
        let twins = unsafe { source.add(BUCKETS_MIN) };
        // SAFETY: two halves of different slots, which do not overlap, and `&mut self` makes the access
        // exclusive. All of it is mapped and initialised.
        unsafe { std::ptr::copy_nonoverlapping(twins.as_ptr(), target.as_ptr(), BUCKETS_MIN) };
        let bytes = (BUCKETS_MAX - BUCKETS_MIN) * size_of::<Bucket>();
        // SAFETY: whole pages of our own mapping, borrowed by nobody; they read as zeros afterwards.
        let given = unsafe { madvise(twins.cast(), bytes, MmapAdvise::MADV_DONTNEED) };
        given.expect("our own pages can be returned to the kernel");
        let moved = self.buckets(to, BUCKETS_MIN).iter().flat_map(|bucket| bucket.0);
        u16::try_from(moved.filter(|entry| *entry != 0).count())
            .expect("a segment has at most 16,384 entries")
    }

    /// Returns the address space of one slot to the kernel. Returns whether there was one. To be called only
    /// when the slots are no longer used: they may not be accessed afterwards.
    pub fn release_slot(&mut self) -> bool {
        self.slots.clear();
        let Some(chunk) = self.chunks.last_mut() else { return false };
        chunk.len -= SLOT;
        // SAFETY: inside the mapping, or at its end.
        let last = unsafe { chunk.base.add(chunk.len) };
        // SAFETY: the last part of our own mapping. `slots` is empty, so that nothing refers to it.
        let unmapped = unsafe { munmap(last.cast(), SLOT) };
        unmapped.expect("unmapping our own mapping");
        if chunk.len == 0 {
            self.chunks.pop();
        }
        true
    }

    /// Memory used besides the pages of segments (bytes).
    pub fn overhead(&self) -> usize {
        self.slots.capacity() * size_of::<NonNull<Bucket>>()
            + self.chunks.capacity() * size_of::<Chunk>()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for chunk in self.chunks.drain(..) {
            // SAFETY: the mapping belongs to `self`, and every borrow of it was a borrow of `self`.
            let unmapped = unsafe { munmap(chunk.base.cast(), chunk.len) };
            unmapped.expect("unmapping our own mapping");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn no_slot_is_accessed_once_one_was_released() {
        let mut memory = Memory::new(usize::MAX);
        for slot in 0..3 {
            assert!(memory.reserve(1));
            assert_eq!(memory.add(), slot);
        }
        // The last one is not in use.
        assert!(memory.mapped > 3 && memory.release_slot());
        for slot in 0..3 {
            let accessed = catch_unwind(AssertUnwindSafe(|| memory.bucket(slot, 0).0[0]));
            assert!(accessed.is_err(), "slot {slot}");
        }
    }

    #[test]
    fn table_of_slots_is_moved_rarely_and_hardly_longer_than_needed() {
        let mut memory = Memory::new(usize::MAX);
        let (mut capacity, mut moves) = (0, 0);
        for slots in 1..=2000 {
            assert!(memory.reserve(1));
            memory.add();
            if memory.slots.capacity() != capacity {
                (capacity, moves) = (memory.slots.capacity(), moves + 1);
            }
            assert!(capacity <= slots + slots / 8 + 1, "{capacity} for {slots} slots");
        }
        assert!(moves < 100, "{moves}");
    }
}
