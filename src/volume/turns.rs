//! Who may write a checkpoint now, and the memory for it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::format::PIECE_MAX;
use crate::buffer::{Buf, Pool};
use crate::op::DirId;
use crate::runtime::{Handle, KeyLocks, Locked, Signal};

/// Shared by the volumes of a shard: one checkpoint at a time goes to each data directory, and one of them
/// finds a buffer however many the clients hold. Without it, uploads that never end would keep checkpoints
/// from being written, and the log that a start has to read would have no bound.
pub struct Turns {
    dirs: KeyLocks<DirId>,
    spare: RefCell<Option<Buf>>,
    is_lent: Cell<bool>,
}

impl Turns {
    /// Takes a buffer from the pool for good, if there is one now.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        let spare = RefCell::new(handle.pool().alloc(PIECE_MAX));
        Self { dirs: KeyLocks::new(handle), spare, is_lent: Cell::new(false) }
    }

    /// Waits until it is the turn of a volume in `dir`: nothing when `stop` was set before. Who sets it
    /// raises `work`.
    pub async fn next(
        &self,
        dir: DirId,
        stop: &Cell<bool>,
        work: &Signal,
    ) -> Option<Locked<DirId>> {
        let mut turn = pin!(self.dirs.lock(dir));
        while !stop.get() {
            let mut raised = pin!(work.wait());
            // The turn first: a future that has it and is dropped would keep it.
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

    /// The buffer, if it is at home. Who takes it gives it back.
    pub fn borrow_buffer(&self) -> Option<Buf> {
        let buf = self.spare.take()?;
        self.is_lent.set(true);
        Some(buf)
    }

    /// What is at home of it (bytes).
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.spare.borrow().as_ref().map_or(0, |buf| buf.len())
    }

    /// Whether the buffer comes back.
    pub fn is_lent(&self) -> bool {
        self.is_lent.get()
    }

    /// Brings the buffer back, or another one in the place of one that was lost with a failed operation.
    pub fn return_buffer(&self, buf: Option<Buf>, pool: &Pool) {
        self.is_lent.set(false);
        self.spare.replace(buf.or_else(|| pool.alloc(PIECE_MAX)));
    }
}
