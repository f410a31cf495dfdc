//! The way into the log, and its end: a volume decides by its [`WriteState`] whether needles may join a
//! commit.

use super::joined::Joined;
use super::pending::Pending;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::NeedleId;
use crate::volume::error::{IoError, Refusal};
use crate::volume::{FenceReason, Volume, WriteState};

impl Volume {
    /// Adds needles to the forming commit; all of them go into the same commit.
    ///
    /// # Errors
    /// [`Refusal::Poisoned`], [`Refusal::ReadOnly`], [`Refusal::Closing`], [`Refusal::Full`].
    ///
    /// # Panics
    /// If they are too many or too long for one commit.
    pub(in crate::volume) fn append(&self, needles: Vec<Pending>) -> Result<Joined, Refusal> {
        let state = self.write_state.get();
        let deletes = needles.iter().all(Pending::is_tombstone);
        let permitted = match if deletes { state.takes_deletes() } else { state.takes_puts() } {
            true if self.takes(&needles) && !self.is_closed_to(deletes) => Ok(()),
            true => Err(Refusal::ReadOnly),
            false => Err(state.refusal(self.superblock_state.get())),
        };
        let of_upload = needles.iter().filter(|needle| needle.header.kind.is_of_upload());
        let uploaded: Vec<NeedleId> = of_upload.map(|needle| needle.header.id).collect();
        let joined = self.log.join(needles, permitted);
        self.note_demand();
        let joined = joined?;
        // Until they are published. After a failed write they stay held, and no upload is completed.
        let mut contents = self.contents.borrow_mut();
        uploaded.into_iter().for_each(|id| contents.properties_mut().hold_parts(id));
        Ok(joined)
    }

    /// Whether needles come from where this volume takes them: a copy takes those of its source, and only a
    /// copy does.
    fn takes(&self, needles: &[Pending]) -> bool {
        let is_replica = self.replica.get().is_some();
        needles.iter().all(|needle| needle.is_copy == is_replica)
            || chosen(Sabotage::WriteToReplica)
    }

    /// Whether the cluster of the volume has closed it to such needles.
    fn is_closed_to(&self, deletes: bool) -> bool {
        if deletes { self.is_closed_to_deletes() } else { self.is_closed_by_cluster() }
    }

    /// Adds needles as [`Self::append`] does. If the blocks of the file are reserved in steps, waits until
    /// those that the needles need are reserved, as long as the file system has them.
    ///
    /// # Errors
    /// As [`Self::append`].
    ///
    /// # Panics
    /// As [`Self::append`].
    pub(in crate::volume) async fn append_with_blocks(
        &self,
        needles: Vec<Pending>,
    ) -> Result<Joined, Refusal> {
        // What belongs to an upload has its reservation, whose blocks are reserved.
        if needles.iter().all(|needle| needle.reserved == 0) {
            let deletes = needles.iter().all(Pending::is_tombstone);
            self.await_blocks(needles.iter().map(Pending::len).sum(), !deletes).await;
        }
        self.append(needles)
    }

    /// Poisons the volume: ends the append side for the life of the process and fails all waiting
    /// writers.
    pub(in crate::volume) fn poison(&self, error: IoError) {
        if !chosen(Sabotage::WriteAfterFailure) {
            self.write_state.update(|state| state.poison(error));
        }
        self.log.fail_waiting(error);
    }

    /// Fences the volume for the life of the process, because its file is no longer where it was: a
    /// restart would not find anything written to it.
    pub fn fence(&self) {
        if !chosen(Sabotage::WriteAfterFailure) {
            self.write_state.update(WriteState::fence);
        }
        self.log.fail_waiting(IoError::Errno(nix::libc::ENOENT));
    }

    /// Ends the writes to a volume whose file cannot be monitored: fences it if there is no such file, and
    /// poisons it after another error, as of the device. Only in the second case can a restart help.
    pub fn end_unmonitored(&self, error: IoError) {
        match error {
            IoError::Errno(nix::libc::ENOENT | nix::libc::ENOTDIR) => self.fence(),
            error => self.poison(error),
        }
    }

    /// Makes the volume suspect: it admits no more writes, until [`Self::clear`]. What was admitted is
    /// written.
    pub fn suspect(&self) {
        if !chosen(Sabotage::WriteToSuspect) {
            self.write_state.update(WriteState::suspect);
        }
    }

    /// Ends the suspicion. Returns whether the volume was suspect.
    pub fn clear(&self) -> bool {
        let was_suspect = self.is_suspect();
        let set = self.superblock_state.get();
        self.write_state.update(|state| state.clear(set));
        was_suspect
    }

    /// Returns whether the volume is suspect.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.write_state.get() == WriteState::Fenced(FenceReason::Suspect)
    }

    /// Ends the append side because the state in the superblock is unknown.
    pub(in crate::volume) fn lose_state(&self, error: IoError) {
        self.write_state.update(|state| state.lose_state(error));
        self.log.fail_waiting(error);
    }

    /// Waits until everything that has joined a commit is written and the log is closed.
    pub(in crate::volume) async fn close_log(&self) {
        self.write_state.update(WriteState::begin_to_close);
        self.log.work.raise();
        self.log.ended.wait().await;
    }
}
