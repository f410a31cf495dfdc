//! The checkpoints of a volume: settings, figures, and the state of their writer.

use std::cell::Cell;
use std::rc::Rc;

use super::checkpointing::Checkpointing;
use super::figures::CheckpointFigures;
use crate::base::limits::{CHECKPOINT_RETRY_MAX_NS, CHECKPOINT_RETRY_NS, LOG_START};
use crate::runtime::Handle;
use crate::runtime::background::{BackgroundQueue, BackgroundTask, Backoff};
use crate::runtime::op::DirId;

/// The checkpoints of a volume.
pub struct Checkpoints {
    pub(super) dir: DirId,
    /// Queue shared with the other volumes of the shard.
    pub(super) queue: Option<Rc<BackgroundQueue>>,
    /// `None` when the volume has no checkpoints.
    pub(super) policy: Option<Checkpointing>,
    pub(super) figures: Cell<CheckpointFigures>,
    /// Whether the current checkpoint contains nothing from after its covered position.
    pub(super) exact: Cell<bool>,
    /// The writer.
    pub(super) task: BackgroundTask,
    /// Whether the index must not be saved, because it differs from the log.
    pub(super) is_distrusted: Cell<bool>,
}

impl Checkpoints {
    /// Creates the checkpoint state of a volume that was opened with these figures.
    pub fn new(
        handle: &Handle,
        dir: DirId,
        queue: Option<Rc<BackgroundQueue>>,
        policy: Option<Checkpointing>,
        (figures, exact): (CheckpointFigures, bool),
    ) -> Self {
        let backoff = Backoff::new(CHECKPOINT_RETRY_NS, CHECKPOINT_RETRY_MAX_NS);
        Self {
            dir,
            queue,
            policy,
            figures: Cell::new(figures),
            exact: Cell::new(exact),
            task: BackgroundTask::new(handle, backoff),
            is_distrusted: Cell::new(false),
        }
    }

    /// Queue shared with the other volumes of the shard.
    pub fn queue(&self) -> Option<Rc<BackgroundQueue>> {
        self.queue.clone()
    }

    /// Settings; `None` when the volume has no checkpoints.
    pub fn policy(&self) -> Option<Checkpointing> {
        self.policy
    }

    /// Length of the log that a start would have to read (bytes).
    fn age(&self, tail: u64) -> u64 {
        tail.saturating_sub(self.figures.get().tail.max(LOG_START))
    }

    /// Returns whether a log that ends at `tail` needs a new checkpoint.
    pub(super) fn is_due(&self, tail: u64) -> bool {
        self.policy.is_some_and(|policy| self.age(tail) >= policy.interval)
    }

    /// Records that the log has grown to `tail`.
    pub fn note(&self, tail: u64) {
        if self.is_due(tail) {
            self.task.wake();
        }
    }

    /// Returns the figures for a log that ends at `tail`.
    pub fn figures(&self, tail: u64) -> CheckpointFigures {
        CheckpointFigures { age: self.age(tail), ..self.figures.get() }
    }

    /// Changes the figures.
    pub(super) fn change(&self, change: impl FnOnce(&mut CheckpointFigures)) {
        let mut figures = self.figures.get();
        change(&mut figures);
        self.figures.set(figures);
    }

    /// Asks the writer to stop, also within a checkpoint.
    pub fn begin_to_stop(&self) {
        self.task.begin_to_stop();
    }

    /// Records that the current checkpoint was removed, or may have been.
    pub fn forget(&self) {
        self.change(|figures| (figures.tail, figures.len) = (0, 0));
    }

    /// Stops the writer and waits until it has ended.
    pub async fn stop(&self) {
        self.task.stop().await;
    }
}
