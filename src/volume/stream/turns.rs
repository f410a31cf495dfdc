//! Turns of the streams of a volume.

use std::cell::Cell;

use super::not_read::NotStreamed;
use crate::runtime::{Handle, KeyLocks};

/// The streams of a volume read one piece at a time, so that they take one buffer in all.
pub struct StreamTurns {
    turns: KeyLocks<()>,
    is_stopping: Cell<bool>,
}

impl StreamTurns {
    /// No stream yet.
    pub fn new(handle: &Handle) -> Self {
        Self { turns: KeyLocks::new(handle), is_stopping: Cell::new(false) }
    }

    /// Waits for the turn to read a piece, which ends when the result is dropped.
    ///
    /// # Errors
    /// [`NotStreamed::Closing`].
    pub async fn take(&self) -> Result<impl Drop, NotStreamed> {
        let turn = self.turns.lock(()).await;
        if self.is_stopping() { Err(NotStreamed::Closing) } else { Ok(turn) }
    }

    /// Whether pieces are to end as soon as possible.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    /// Asks pieces to end as soon as possible. No further one begins.
    pub fn begin_to_stop(&self) {
        self.is_stopping.set(true);
    }

    /// Waits until no piece is being read. No further one begins.
    pub async fn stop(&self) {
        self.begin_to_stop();
        drop(self.turns.lock(()).await);
    }

    /// Allows pieces again.
    pub fn resume(&self) {
        self.is_stopping.set(false);
    }
}
