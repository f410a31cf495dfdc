//! What the background tasks of a shard share.

use std::rc::Rc;

use super::reserved_buffer::ReservedBuffer;
use crate::runtime::op::DirId;
use crate::runtime::{Handle, KeyLocks, Locked};

/// Coordinates one kind of background work of all volumes of a shard: at most one run at a time in each data
/// directory, and one run always gets a buffer, however many buffers clients hold. Without the reserved
/// buffer, uploads that never end could prevent background work for ever.
pub struct BackgroundQueue {
    dirs: KeyLocks<DirId>,
    reserved: Rc<ReservedBuffer>,
}

impl BackgroundQueue {
    /// Creates a queue with a reserved buffer of `buffer_len` bytes, which is taken from the pool
    /// permanently, if it is free now.
    #[must_use]
    pub fn new(handle: &Handle, buffer_len: usize) -> Self {
        let reserved = Rc::new(ReservedBuffer::new(handle, buffer_len));
        Self { dirs: KeyLocks::new(handle), reserved }
    }

    /// Waits until a run in `dir` may begin. Dropping the result ends the turn.
    pub async fn turn(&self, dir: DirId) -> Locked<DirId> {
        self.dirs.lock(dir).await
    }

    /// Length of the reserved buffer while no run uses it (bytes).
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.reserved.free_bytes()
    }

    pub(super) fn reserved(&self) -> &Rc<ReservedBuffer> {
        &self.reserved
    }
}
