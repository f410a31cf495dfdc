//! State of the reservation of blocks of a volume.

use std::cell::Cell;

use super::step::step_len;
use crate::base::limits::{RESERVE_RETRY_MAX_NS, RESERVE_RETRY_NS};
use crate::runtime::background::{BackgroundTask, Backoff};
use crate::runtime::{Handle, KeyLocks};
use crate::volume::error::IoError;

/// State of the reservation of blocks of a volume. How far they are reserved is in the log.
pub struct BlockSteps {
    /// Length of a step (bytes).
    pub(super) step: u64,
    /// The task that takes steps ahead of the log.
    pub(super) task: BackgroundTask,
    /// Serialises the steps of the task and those that writers wait for.
    pub(super) turn: KeyLocks<()>,
    /// Error of the last step, until a step succeeds.
    pub(super) failed: Cell<Option<IoError>>,
    /// Whether steps have ended for the life of the process, because the volume is being closed.
    pub(super) ended: Cell<bool>,
}

impl BlockSteps {
    /// Creates the state for a file of `size` bytes. `failed` is the error of the step at its opening.
    pub fn new(handle: &Handle, size: u64, failed: Option<IoError>) -> Self {
        let backoff = Backoff::new(RESERVE_RETRY_NS, RESERVE_RETRY_MAX_NS);
        if failed.is_some() {
            backoff.failed(handle.now());
        }
        Self {
            step: step_len(size),
            task: BackgroundTask::new(handle, backoff),
            turn: KeyLocks::new(handle),
            failed: Cell::new(failed),
            ended: Cell::new(false),
        }
    }

    /// Returns whether the last step failed.
    pub fn has_failed(&self) -> bool {
        self.failed.get().is_some()
    }

    /// Asks the task to stop. [`Self::stop`] waits for it.
    pub fn begin_to_stop(&self) {
        self.task.begin_to_stop();
    }

    /// Ends all steps. When this returns, none is in flight and none will follow.
    pub async fn stop(&self) {
        self.ended.set(true);
        self.task.stop().await;
        drop(self.turn.lock(()).await);
    }
}
