//! A buffer that is kept for background work.

use std::cell::{Cell, RefCell};

use crate::runtime::Handle;
use crate::runtime::buffer::Buf;

/// A buffer of the pool that only background work uses, one run at a time.
pub(super) struct ReservedBuffer {
    handle: Handle,
    len: usize,
    buf: RefCell<Option<Buf>>,
    is_lent: Cell<bool>,
}

impl ReservedBuffer {
    /// Takes `len` bytes from the pool permanently, if they are free now.
    pub(super) fn new(handle: &Handle, len: usize) -> Self {
        let buf = RefCell::new(handle.pool().alloc(len));
        Self { handle: handle.clone(), len, buf, is_lent: Cell::new(false) }
    }

    /// Takes the buffer if it is free. The caller must return it with [`Self::give_back`].
    pub(super) fn lend(&self) -> Option<Buf> {
        let buf = self.buf.take()?;
        self.is_lent.set(true);
        Some(buf)
    }

    /// Whether the buffer is lent, so that it will come back.
    pub(super) fn is_lent(&self) -> bool {
        self.is_lent.get()
    }

    /// Returns the buffer. If a failed operation lost it, another one is taken from the pool.
    ///
    /// # Panics
    /// If it is not lent.
    pub(super) fn give_back(&self, buf: Option<Buf>) {
        assert!(self.is_lent.replace(false), "the reserved buffer came back twice");
        self.buf.replace(buf.or_else(|| self.handle.pool().alloc(self.len)));
    }

    /// Length of the buffer while it is not lent (bytes).
    pub(super) fn free_bytes(&self) -> usize {
        self.buf.borrow().as_ref().map_or(0, |buf| buf.len())
    }
}
