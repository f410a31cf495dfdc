//! Steps: reserving blocks ahead of the log while the volume is open.
//!
//! A step is durable before anything is admitted into it. So a power cut takes away no block that was
//! admitted into, and a start on a full disk finds the blocks that its seal and its deletes need.

use crate::base::limits::BLOCK;
use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::Volume;
use crate::volume::error::IoError;

/// Error of a step after the volume began to close.
const ENDED: IoError = IoError::Errno(nix::libc::ECANCELED);
/// Error of a step beyond the end of the log.
const NO_ROOM: IoError = IoError::Errno(nix::libc::ENOSPC);

impl Volume {
    /// Reserves blocks so that the log can take `bytes` more bytes of needles, without the space that is
    /// reserved for tombstones. When this returns, they are reserved on stable media. Does nothing for a file
    /// whose blocks are all reserved. Where a whole step does not fit on the disk, a shorter one is taken.
    ///
    /// # Errors
    /// The error of the operation; `ENOSPC` also if the log is too short; the error that ended the append
    /// side, if one did; `ECANCELED` while the volume is being closed.
    pub async fn reserve_ahead(&self, bytes: u64) -> Result<(), IoError> {
        let _turn = self.steps.turn.lock(()).await;
        let mut reserved = self.reserve(bytes, true).await;
        let least = self.log.end_with(bytes, true).saturating_sub(self.log.reserved_end());
        let (least, mut step) = (least.next_multiple_of(BLOCK), self.steps.step);
        while reserved == Err(NO_ROOM) && least < step && least <= self.log.unreserved() {
            step = (step / 2 / BLOCK * BLOCK).max(least);
            reserved = self.reserve_next(step.min(self.log.unreserved())).await;
        }
        reserved
    }

    /// Waits until the blocks for `len` bytes of needles are reserved, if the file is partial and the last
    /// step did not fail; `spare` as for [`AppendLog::end_with`].
    ///
    /// [`AppendLog::end_with`]: crate::volume::log::append_log::AppendLog::end_with
    pub(in crate::volume) async fn await_blocks(&self, len: u64, spare: bool) {
        while self.is_in_reach(len, spare) {
            let _turn = self.steps.turn.lock(()).await;
            // The step of another one has succeeded or failed meanwhile.
            if self.is_in_reach(len, spare) && self.reserve(len, spare).await.is_err() {
                return;
            }
        }
    }

    /// Returns whether blocks are to be reserved for `len` bytes of needles, and may be.
    fn is_in_reach(&self, len: u64, spare: bool) -> bool {
        let end = self.log.end_with(len, spare);
        end > self.log.reserved_end() && end <= self.reachable_end()
    }

    /// Returns the end of the log as far as it can be used now (bytes): up to where blocks are reserved if
    /// the last step failed, or if no more steps follow.
    pub(in crate::volume) fn reachable_end(&self) -> u64 {
        let is_growing = !self.steps.has_failed()
            && !self.steps.ended.get()
            && self.write_state.get().takes_puts();
        if is_growing { self.superblock.log_end() } else { self.log.reserved_end() }
    }

    /// Tries a step that failed again, without its pause, because space was freed on the disk.
    pub(in crate::volume) async fn retry_step(&self) {
        if self.steps.has_failed() {
            // The outcome is logged and recorded.
            let _ = self.take_step().await;
        }
    }

    /// Takes one step, if there are blocks that are not reserved.
    pub(super) async fn take_step(&self) -> Result<(), IoError> {
        let _turn = self.steps.turn.lock(()).await;
        match self.steps.step.min(self.log.unreserved()) {
            0 => Ok(()),
            len => self.reserve_next(len).await,
        }
    }

    /// Reserves as many steps as `len` more bytes of needles need. The caller must have the turn.
    async fn reserve(&self, len: u64, spare: bool) -> Result<(), IoError> {
        let (from, wanted) = (self.log.reserved_end(), self.log.end_with(len, spare));
        if wanted <= from {
            return Ok(());
        }
        if wanted > self.superblock.log_end() {
            return Err(NO_ROOM);
        }
        let steps = (wanted - from).next_multiple_of(self.steps.step);
        self.reserve_next(steps.min(self.log.unreserved())).await
    }

    /// Reserves `len` bytes from the reserved end on. The caller must have the turn.
    async fn reserve_next(&self, len: u64) -> Result<(), IoError> {
        if self.steps.ended.get() {
            return Err(ENDED);
        }
        self.may_reserve()?;
        let from = self.log.reserved_end();
        if let Err(error) = self.file.allocate(from, len).await {
            self.step_failed(len, error);
            return Err(error);
        }
        self.may_reserve()?;
        if !chosen(Sabotage::SkipStepSync)
            && let Err(error) = self.file.sync().await
        {
            self.poison(error);
            tracing::error!(
                volume = self.superblock.volume.0,
                "a sync failed: {error}; the volume is poisoned and takes no writes until the daemon is \
                 restarted; reads continue; check the kernel log and the disk"
            );
            return Err(error);
        }
        self.log.extend_reserved(from + len);
        // After the last step the file is whole.
        self.note_demand();
        self.steps.task.backoff().succeeded();
        if self.steps.failed.take().is_some() {
            tracing::info!(
                volume = self.superblock.volume.0,
                "the file system has space again: {len} bytes of the volume file were reserved"
            );
        }
        Ok(())
    }

    /// Checks that the file may still be changed.
    fn may_reserve(&self) -> Result<(), IoError> {
        self.write_state.get().error().map_or(Ok(()), Err)
    }

    fn step_failed(&self, len: u64, error: IoError) {
        self.steps.failed.set(Some(error));
        self.steps.task.backoff().failed(self.handle.now());
        // The task tries again when the pause is over, also if no step is due any more.
        self.steps.task.wake();
        tracing::warn!(
            volume = self.superblock.volume.0,
            "cannot reserve {len} more bytes of the volume file: {error}; uploads that do not fit into what \
             is reserved are answered with 507; this is tried again; free space on the disk"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use crate::volume::tests::rig::{Rig, SECOND, superblock};
    use crate::volume::{Preallocation, Superblock};

    #[test]
    fn step_is_taken_from_the_first_byte_on_that_is_not_reserved() {
        let small = Superblock { size: 1 << 20, ..superblock() };
        let (mut rig, slot) = Rig::preallocated(small, Preallocation::InSteps);
        // The step that is due at the start.
        rig.sleep(SECOND / 2);
        let volume = slot.volume();
        let (end, operations) = (volume.log.reserved_end(), rig.world.operations());
        let rest = end - volume.log.end_with(0, true);
        let mut reserve = |bytes| {
            let volume = Rc::clone(&volume);
            rig.run(async move { volume.reserve_ahead(bytes).await })
        };
        assert_eq!(reserve(rest), Ok(()));
        assert_eq!(volume.log.reserved_end(), end);
        assert_eq!(reserve(rest + 1), Ok(()));
        assert_eq!(volume.log.reserved_end(), end + volume.steps.step);
        assert_eq!(rig.world.operations(), operations + 2, "it is reserved and synced");
    }
}
