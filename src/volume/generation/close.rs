//! The end of a volume: closing, and removal of its file.

use std::rc::Rc;

use crate::base::account::AUDITED;
use crate::volume::checkpoint::task::start;
use crate::volume::{ReadOnlyReason, Volume, WriteState};

impl Volume {
    /// Closes the volume: commits everything admitted, writes a clean-close hint, and writes a
    /// checkpoint. Nothing may be read or written afterwards.
    pub async fn close(&self) {
        self.checkpoints.stop().await;
        self.steps.stop().await;
        if self.write_state.get() != WriteState::ReadOnly(ReadOnlyReason::Inspection) {
            self.close_log().await;
            if AUDITED {
                self.contents.borrow().audit();
            }
            // The outcome was logged.
            let _ = self.checkpoint().await;
        }
        self.file.close().await;
    }

    /// Stops the checkpoint writer, including a checkpoint in progress, until
    /// [`Self::resume_checkpoints`].
    pub async fn stop_checkpoints(&self) {
        self.checkpoints.stop().await;
    }

    /// Asks the background tasks of the volume to stop. [`Self::close`] waits for them.
    pub fn begin_to_close(&self) {
        self.checkpoints.begin_to_stop();
        self.steps.begin_to_stop();
    }

    /// Resumes checkpoints after an attempt to remove the file failed. The checkpoint may have been
    /// removed by that attempt.
    pub fn resume_checkpoints(self: &Rc<Self>) {
        self.checkpoints.forget();
        start(self);
    }

    /// Ends the append side of a volume whose file was removed. Reads in progress may finish; the file is
    /// closed when the last of them ends.
    pub async fn retire(&self) {
        self.checkpoints.stop().await;
        self.steps.stop().await;
        self.close_log().await;
    }
}
