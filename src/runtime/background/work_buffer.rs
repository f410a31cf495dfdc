//! The buffer of a run.

use std::rc::Rc;

use super::reserved_buffer::ReservedBuffer;
use crate::runtime::buffer::Buf;

/// Reason why a run got no buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoWorkBuffer {
    /// Too few buffers were free for too long.
    NoneFree,
    /// The task was asked to stop.
    Stopped,
}

/// The buffer of a run. An operation takes it and puts it back. When this is dropped, the reserved buffer
/// returns to its queue, also if an operation lost it or the run did not end.
pub struct WorkBuffer {
    buf: Option<Buf>,
    /// Where the buffer belongs, if it is the reserved one.
    reserved: Option<Rc<ReservedBuffer>>,
}

impl WorkBuffer {
    pub(super) fn lent(buf: Buf, reserved: &Rc<ReservedBuffer>) -> Self {
        Self { buf: Some(buf), reserved: Some(Rc::clone(reserved)) }
    }

    pub(super) fn own(buf: Buf) -> Self {
        Self { buf: Some(buf), reserved: None }
    }

    /// Returns the memory.
    ///
    /// # Panics
    /// While an operation has the buffer, or after one has lost it.
    pub fn memory(&mut self) -> &mut Buf {
        self.buf.as_mut().expect("no operation has the buffer")
    }

    /// Takes the buffer for an operation.
    ///
    /// # Panics
    /// As [`Self::memory`].
    pub fn take(&mut self) -> Buf {
        self.buf.take().expect("no operation has the buffer")
    }

    /// Puts the buffer back after an operation.
    pub fn put_back(&mut self, buf: Buf) {
        self.buf = Some(buf);
    }
}

impl Drop for WorkBuffer {
    fn drop(&mut self) {
        if let Some(reserved) = &self.reserved {
            reserved.give_back(self.buf.take());
        }
    }
}
