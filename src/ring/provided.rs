//! Provided buffers, from which the kernel picks one when bytes have arrived
//! (`io_uring_register_buf_ring(3)`), so that a waiting connection holds no buffer.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::base::limits::{HEAD_BUFFER, HEAD_BUFFERS, RECEIVE_HEADROOM};
use crate::runtime::buffer::{Buf, PAGE, Pool};

/// Id of the only group of provided buffers.
pub const GROUP: u16 = 0;

/// The ring of provided buffers: memory shared with the kernel.
pub struct Provided {
    entries: NonNull<BufRingEntry>,
    tail: u16,
    /// Buffer of each buffer id; `None` while the buffer is in use.
    buffers: Vec<Option<Buf>>,
    /// Buffer ids without a buffer.
    missing: Vec<u16>,
}

const _: () = assert!(HEAD_BUFFERS.is_power_of_two());

fn layout() -> Layout {
    let len = usize::from(HEAD_BUFFERS) * size_of::<BufRingEntry>();
    Layout::from_size_align(len, PAGE).expect("a small, aligned table")
}

impl Provided {
    /// Registers the ring of buffers, which is empty until [`Self::refill`].
    ///
    /// # Errors
    /// The kernel's, when the registration fails.
    pub fn new(ring: &IoUring) -> io::Result<Self> {
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc_zeroed(layout()) };
        let Some(entries) = NonNull::new(memory.cast()) else { handle_alloc_error(layout()) };
        let buffers = (0..HEAD_BUFFERS).map(|_| None).collect();
        let missing = (0..HEAD_BUFFERS).rev().collect();
        let provided = Self { entries, tail: 0, buffers, missing };
        let address = entries.as_ptr() as u64;
        // SAFETY: the table is aligned to a page, long enough, and freed only by `drop`, when the
        // ring is closed (`Ring` drops it after the ring).
        unsafe { ring.submitter().register_buf_ring_with_flags(address, HEAD_BUFFERS, GROUP, 0) }?;
        Ok(provided)
    }

    /// Takes the buffer that the kernel filled.
    ///
    /// # Panics
    /// When the kernel names a buffer that it was not given.
    pub fn take(&mut self, number: u16) -> Buf {
        self.missing.push(number);
        self.buffers[usize::from(number)]
            .take()
            .expect("the kernel picks one of the provided buffers")
    }

    /// Replaces the taken buffers from `pool` and returns the number of buffers that the kernel has.
    pub fn refill(&mut self, pool: &Pool) -> usize {
        if self.missing.is_empty() {
            return usize::from(HEAD_BUFFERS);
        }
        let before = self.tail;
        while let Some(&number) = self.missing.last() {
            let Some(mut buf) = pool.alloc(HEAD_BUFFER) else { break };
            self.missing.pop();
            let slot = usize::from(self.tail % HEAD_BUFFERS);
            // SAFETY: the slot is inside the table.
            let mut entry = unsafe { self.entries.add(slot) };
            // SAFETY: initialised memory that this struct owns. The kernel reads only slots below the
            // published tail, and this slot is not below it.
            let entry = unsafe { entry.as_mut() };
            entry.set_addr(buf.address_mut(RECEIVE_HEADROOM) as u64);
            let room = HEAD_BUFFER - RECEIVE_HEADROOM;
            entry.set_len(u32::try_from(room).expect("below HEAD_BUFFER"));
            entry.set_bid(number);
            self.buffers[usize::from(number)] = Some(buf);
            self.tail = self.tail.wrapping_add(1);
        }
        if self.tail != before {
            self.publish();
        }
        usize::from(HEAD_BUFFERS) - self.missing.len()
    }

    fn publish(&mut self) {
        // SAFETY: the table's first entry is initialised memory.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: the tail is an aligned u16 inside the table, which the kernel reads as an atomic
        // and only this struct writes.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        // SAFETY: allocated with the same layout; the ring that knew of it is closed.
        unsafe { dealloc(self.entries.as_ptr().cast(), layout()) };
    }
}
