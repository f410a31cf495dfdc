//! The steps of a scrub: their pace, and what ends it early.

use thiserror::Error;

use crate::runtime::Handle;
use crate::runtime::background::{BackgroundRun, Stopped};

/// Reason why a scrub ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Interrupted {
    /// The volume is being closed or deleted.
    #[error("the volume is being closed")]
    Stopped,
    /// The volume is being compacted, so that it will have another file.
    #[error("the volume is being compacted")]
    Compacting,
}

impl From<Stopped> for Interrupted {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// The steps of a scrub.
pub(in crate::volume) struct Steps<'a> {
    /// Pace, and the request to stop.
    pub run: BackgroundRun<'a>,
    /// Whether a compaction needs the volume.
    pub is_needed: &'a dyn Fn() -> bool,
    /// Handle of the runtime.
    pub handle: &'a Handle,
    /// Bytes that had been read when the last step ended.
    pub read: u64,
    /// Position in the log at which the present step began (bytes).
    pub step_from: u64,
}

/// Bytes of the log after which a step ends.
const STEP: u64 = 1 << 20;

impl Steps<'_> {
    /// Begins to count the bytes of another reader.
    pub fn begin_reader(&mut self) {
        self.read = 0;
    }

    /// Begins a walk at `at` (bytes).
    pub fn begin_walk(&mut self, at: u64) {
        self.step_from = at;
    }

    /// Ends a step if the walk has come far enough since the last one: to `at`, with `read` bytes read in
    /// all.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub async fn reached(&mut self, at: u64, read: u64) -> Result<(), Interrupted> {
        if at.saturating_sub(self.step_from) < STEP {
            return Ok(());
        }
        self.step_from = at;
        self.end(read).await
    }

    /// Ends a step, up to which `read` bytes were read, and waits until the next one may begin.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub async fn end(&mut self, read: u64) -> Result<(), Interrupted> {
        let bytes = read - self.read;
        self.read = read;
        self.run.end_step(bytes).await?;
        self.go_on()
    }

    /// Lets other tasks run.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub async fn yield_now(&mut self) -> Result<(), Interrupted> {
        self.handle.yield_now().await;
        self.go_on()
    }

    fn go_on(&self) -> Result<(), Interrupted> {
        if (self.is_needed)() { Err(Interrupted::Compacting) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::runtime::background::{BackgroundTask, Backoff, Pace};
    use crate::runtime::sim::disk::Image;
    use crate::volume::tests::rig::{Rig, SECOND};

    #[test]
    fn step_takes_the_time_of_its_bytes_and_ends_for_a_compaction_or_a_stop() {
        let mut rig = Rig::new(&Image::default());
        let handle = rig.handle();
        rig.run(async move {
            let task = BackgroundTask::new(&handle, Backoff::new(0, 0));
            let run = BackgroundRun::new(&handle, Some(&task), Pace::at_most(1_000_000));
            let (is_needed, began) = (Cell::new(false), handle.now());
            let is_asked = || is_needed.get();
            let mut steps =
                Steps { run, is_needed: &is_asked, handle: &handle, read: 0, step_from: 0 };
            let seconds = || (handle.now() - began + SECOND / 2) / SECOND;
            assert_eq!((steps.end(2_000_000).await, seconds()), (Ok(()), 2));
            assert_eq!((steps.end(3_000_000).await, seconds()), (Ok(()), 3));
            steps.begin_reader();
            assert_eq!((steps.end(1_000_000).await, seconds()), (Ok(()), 4));
            steps.begin_walk(5 * STEP);
            is_needed.set(true);
            assert_eq!(steps.reached(6 * STEP - 1, 9_000_000).await, Ok(()), "within a step");
            assert_eq!(steps.reached(6 * STEP, 2_000_000).await, Err(Interrupted::Compacting));
            assert_eq!(seconds(), 5);
            assert_eq!(steps.yield_now().await, Err(Interrupted::Compacting));
            is_needed.set(false);
            assert_eq!(steps.yield_now().await, Ok(()));
            task.begin_to_stop();
            assert_eq!(steps.end(4_000_000).await, Err(Interrupted::Stopped));
            assert_eq!(seconds(), 5);
        });
    }
}
