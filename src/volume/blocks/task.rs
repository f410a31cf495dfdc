//! The task that keeps blocks reserved ahead of the log while the volume serves.

use std::rc::Rc;

use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::Volume;
use crate::volume::error::StateError;
use crate::volume::format::PARTIAL;

/// Starts the task, if the file is partial.
pub fn start(volume: &Rc<Volume>) {
    if volume.is_partial() {
        volume.steps.task.start(run(Rc::clone(volume)));
    }
}

async fn run(volume: Rc<Volume>) {
    let is_due = || volume.is_work_due();
    let attempt = async || volume.keep_ahead().await;
    volume.steps.task.repeat(is_due, None, attempt).await;
}

impl Volume {
    /// Returns whether the superblock says that the blocks of the file are reserved in steps.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.ro_compat.get() & PARTIAL != 0
    }

    /// Wakes the task if it has something to do.
    pub(in crate::volume) fn note_demand(&self) {
        if self.is_work_due() {
            self.steps.task.wake();
        }
    }

    fn is_work_due(&self) -> bool {
        let takes_writes = self.write_state.get().takes_puts();
        self.is_partial() && takes_writes && (self.is_reserved() || self.is_step_due())
    }

    /// Returns whether all blocks of the log are reserved.
    fn is_reserved(&self) -> bool {
        let is_early = chosen(Sabotage::WholeTooEarly);
        self.log.unreserved() <= if is_early { self.steps.step } else { 0 }
    }

    /// Returns whether less than half a step is free behind everything claimed and the space reserved for
    /// tombstones. After a step that failed, the next one is due in any case: until one succeeds, the volume
    /// refuses what does not fit.
    fn is_step_due(&self) -> bool {
        if self.steps.has_failed() {
            return !chosen(Sabotage::GiveUpReserving);
        }
        self.log.end_with(self.steps.step / 2, true) > self.log.reserved_end()
    }

    async fn keep_ahead(&self) {
        if !self.is_reserved() {
            // The outcome was logged and recorded.
            let _ = self.take_step().await;
            return;
        }
        let cleared = self.change_superblock(|superblock| superblock.ro_compat &= !PARTIAL).await;
        let (now, backoff) = (self.handle.now(), self.steps.task.backoff());
        match cleared {
            Ok(()) => {
                backoff.succeeded();
                self.count_extents().await;
            }
            Err(StateError::NoBuffer) => backoff.postponed(now),
            Err(error) => {
                backoff.failed(now);
                tracing::error!(
                    volume = self.superblock.volume.0,
                    "the superblock could not be changed although all blocks of the file are reserved: \
                     {error}"
                );
            }
        }
    }
}
