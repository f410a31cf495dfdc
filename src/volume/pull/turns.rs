//! The turns of the steps of pulls.

use std::cell::Cell;

use super::not_pulled::NotPulled;
use crate::runtime::Handle;
use crate::volume::stream::turns::StreamTurns;

/// The pulls into a volume make one step at a time, and only the one that has begun last goes on.
pub struct PullTurns {
    turns: StreamTurns,
    /// Number of the pull that has begun last.
    last: Cell<u64>,
}

impl PullTurns {
    /// No pull yet.
    pub fn new(handle: &Handle) -> Self {
        Self { turns: StreamTurns::new(handle), last: Cell::new(0) }
    }

    /// Waits for the turn of a step, which ends when the result is dropped.
    ///
    /// # Errors
    /// [`NotPulled::Closing`].
    pub(super) async fn take(&self) -> Result<impl Drop, NotPulled> {
        self.turns.take().await.map_err(|_| NotPulled::Closing)
    }

    /// Waits for the turn of a step of the pull `number`, as [`Self::take`] does.
    ///
    /// # Errors
    /// [`NotPulled::Superseded`], [`NotPulled::Closing`].
    pub(super) async fn take_for(&self, number: u64) -> Result<impl Drop, NotPulled> {
        let turn = self.take().await?;
        if number == self.last.get() { Ok(turn) } else { Err(NotPulled::Superseded) }
    }

    /// Begins a pull. Returns its number.
    pub(super) fn begin(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    /// Asks pulls to end as soon as possible. None makes a further step.
    pub fn begin_to_stop(&self) {
        self.turns.begin_to_stop();
    }

    /// Waits until no step runs. None makes a further one.
    pub async fn stop(&self) {
        self.turns.stop().await;
    }

    /// Lets pulls begin again.
    pub fn resume(&self) {
        self.turns.resume();
    }
}
