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

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::runtime::sim::disk::Image;
    use crate::volume::tests::rig::Rig;

    #[test]
    fn stop_waits_for_the_step_that_runs_and_none_follows_until_they_are_resumed() {
        let mut rig = Rig::new(&Image::default());
        let handle = rig.handle();
        rig.run(async move {
            let (turns, has_ended) = (Rc::new(PullTurns::new(&handle)), Rc::new(Cell::new(false)));
            let first = turns.begin();
            let step = turns.take_for(first).await.unwrap();
            let (stopped, ended) = (Rc::clone(&turns), Rc::clone(&has_ended));
            handle.spawn(async move {
                stopped.stop().await;
                ended.set(true);
            });
            handle.sleep_until(handle.now() + 1_000_000).await;
            assert!(!has_ended.get(), "a step runs");
            drop(step);
            handle.sleep_until(handle.now() + 1_000_000).await;
            assert!(has_ended.get());
            assert_eq!(turns.take().await.map(drop), Err(NotPulled::Closing));
            assert_eq!(turns.take_for(first).await.map(drop), Err(NotPulled::Closing));
            turns.resume();
            assert_eq!(turns.take_for(first).await.map(drop), Ok(()));
            let second = turns.begin();
            assert_eq!(turns.take_for(first).await.map(drop), Err(NotPulled::Superseded));
            assert_eq!(turns.take_for(second).await.map(drop), Ok(()));
        });
    }
}
