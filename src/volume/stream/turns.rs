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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::runtime::sim::disk::Image;
    use crate::volume::tests::rig::Rig;

    #[test]
    fn stop_waits_for_the_piece_that_is_read_and_none_begins_until_they_are_resumed() {
        let mut rig = Rig::new(&Image::default());
        let handle = rig.handle();
        rig.run(async move {
            let (turns, has_ended) =
                (Rc::new(StreamTurns::new(&handle)), Rc::new(Cell::new(false)));
            let piece = turns.take().await.unwrap();
            let (stopped, ended) = (Rc::clone(&turns), Rc::clone(&has_ended));
            handle.spawn(async move {
                stopped.stop().await;
                ended.set(true);
            });
            handle.sleep_until(handle.now() + 1_000_000).await;
            assert!(turns.is_stopping() && !has_ended.get(), "a piece is being read");
            drop(piece);
            handle.sleep_until(handle.now() + 1_000_000).await;
            assert!(has_ended.get());
            assert_eq!(turns.take().await.map(drop), Err(NotStreamed::Closing));
            turns.resume();
            assert_eq!(turns.take().await.map(drop), Ok(()));
        });
    }
}
