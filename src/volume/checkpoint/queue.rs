//! The queue of checkpoint writers, and the buffer that they share.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use crate::runtime::buffer::{Buf, Pool};
use crate::runtime::op::DirId;
use crate::runtime::{Handle, KeyLocks, Locked, Signal};
use crate::volume::format::PIECE_LEN_MAX;

/// Coordinates the checkpoints of all volumes of a shard: at most one checkpoint at a time is written to
/// each data directory, and one writer always gets a buffer, however many buffers clients hold. Without
/// the reserved buffer, uploads that never end could prevent checkpoints, and the log that a start has to
/// read would be unbounded.
pub struct CheckpointQueue {
    dirs: KeyLocks<DirId>,
    spare: RefCell<Option<Buf>>,
    is_lent: Cell<bool>,
}

impl CheckpointQueue {
    /// Takes a buffer from the pool permanently, if one is free now.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        let spare = RefCell::new(handle.pool().alloc(PIECE_LEN_MAX));
        Self { dirs: KeyLocks::new(handle), spare, is_lent: Cell::new(false) }
    }

    /// Waits until a volume in `dir` may write its checkpoint. Returns `None` when `stop` is set before
    /// that; the code that sets `stop` must also raise `work`.
    pub async fn next(
        &self,
        dir: DirId,
        stop: &Cell<bool>,
        work: &Signal,
    ) -> Option<Locked<DirId>> {
        let mut turn = pin!(self.dirs.lock(dir));
        while !stop.get() {
            let mut raised = pin!(work.wait());
            // Polled first: a future that already holds the lock and is dropped would keep it.
            let taken = poll_fn(|cx| match turn.as_mut().poll(cx) {
                Poll::Ready(turn) => Poll::Ready(Some(turn)),
                Poll::Pending => raised.as_mut().poll(cx).map(|()| None),
            });
            if let Some(turn) = taken.await {
                return Some(turn);
            }
        }
        None
    }

    /// Takes the shared buffer if it is free. The caller must return it with [`Self::return_buffer`].
    pub fn borrow_buffer(&self) -> Option<Buf> {
        let buf = self.spare.take()?;
        self.is_lent.set(true);
        Some(buf)
    }

    /// Length of the shared buffer while it is not lent (bytes).
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.spare.borrow().as_ref().map_or(0, |buf| buf.len())
    }

    /// Returns whether the buffer is lent, so that it will come back.
    pub fn is_lent(&self) -> bool {
        self.is_lent.get()
    }

    /// Returns the shared buffer. If a failed operation lost it, another one is taken from the pool.
    pub fn return_buffer(&self, buf: Option<Buf>, pool: &Pool) {
        self.is_lent.set(false);
        self.spare.replace(buf.or_else(|| pool.alloc(PIECE_LEN_MAX)));
    }
}
