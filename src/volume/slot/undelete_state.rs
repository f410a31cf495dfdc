//! Taking photos back: how far the last order is.

use std::cell::Cell;

use crate::base::types::NeedleId;
use crate::runtime::Handle;
use crate::runtime::background::{BackgroundTask, Backoff};
use crate::volume::undelete::NotUndeleted;

/// How far an order to take a photo back is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UndeleteProgress {
    /// Random number of the order.
    pub operation: u64,
    /// The photo.
    pub id: NeedleId,
    /// Bytes of the log that were searched.
    pub done: u64,
    /// Bytes of the log that are searched at most.
    pub total: u64,
    /// The result; `None` while it is being done.
    pub result: Option<Result<(), NotUndeleted>>,
}

/// Taking photos back, one at a time.
pub struct UndeleteState {
    /// The task that does it.
    pub task: BackgroundTask,
    /// How far the last order is.
    pub progress: Cell<Option<UndeleteProgress>>,
    is_stopped: Cell<bool>,
}

impl UndeleteState {
    /// No order yet.
    pub fn new(handle: &Handle) -> Self {
        Self {
            task: BackgroundTask::new(handle, Backoff::new(0, 0)),
            progress: Cell::new(None),
            is_stopped: Cell::new(false),
        }
    }

    /// Changes the progress, if there is any.
    pub fn update(&self, change: impl FnOnce(UndeleteProgress) -> UndeleteProgress) {
        self.progress.set(self.progress.get().map(change));
    }

    /// Whether no order may begin.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.get()
    }

    /// Asks the task to end as soon as possible. No further one begins.
    pub fn begin_to_stop(&self) {
        self.is_stopped.set(true);
        self.task.begin_to_stop();
    }

    /// Waits until the task has ended. No further one begins.
    pub async fn stop(&self) {
        self.is_stopped.set(true);
        self.task.stop().await;
    }

    /// Allows orders again.
    pub fn resume(&self) {
        self.is_stopped.set(false);
    }
}
