//! What the operator says of a volume: that it takes writes, or that it does not.

use super::Volume;
use super::error::{IoError, StateError};
use super::format::{RISING_MAX, Superblock, VolumeState, superblock_offsets};
use crate::limits::BLOCK;
use crate::sabotage::{Sabotage, chosen};

impl Volume {
    /// What the operator last said of it.
    #[must_use]
    pub fn state(&self) -> VolumeState {
        self.state.get()
    }

    /// Makes the volume read-only, or writable again. When this returns, the new state is on stable
    /// media; made read-only, everything written before is too, and nothing is added to its log any more.
    /// A tail hint, which says where the log ends, may still be written.
    ///
    /// One change at a time: the caller sees to it.
    ///
    /// # Errors
    /// See [`StateError`]. After a failed write the volume takes no more writes at all.
    pub async fn set_read_only(&self, read_only: bool) -> Result<(), StateError> {
        match (self.state.get(), read_only) {
            // What the next start will find is not known: not even that nothing changes may be said.
            _ if self.state_is_lost.get() => Err(StateError::Poisoned),
            (VolumeState::Building | VolumeState::Sealed, false) => Err(StateError::Sealed),
            (VolumeState::Live, true) => self.close_to_writes().await,
            (VolumeState::ReadOnly, false) => {
                if chosen(Sabotage::WritableTooEarly) {
                    self.log.accept(true);
                }
                self.write_state(VolumeState::Live).await?;
                self.log.accept(true);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn close_to_writes(&self) -> Result<(), StateError> {
        // In this order: who is told that the volume is read-only may copy the file at once.
        self.log.accept(false);
        if !chosen(Sabotage::ReadOnlyTooEarly) {
            self.log.settle().await;
        }
        let written = self.write_state(VolumeState::ReadOnly).await;
        if matches!(written, Err(StateError::NoBuffer)) {
            self.log.accept(true);
        }
        written
    }

    async fn write_state(&self, state: VolumeState) -> Result<(), StateError> {
        if self.log.poisoned() {
            return Err(StateError::Poisoned);
        }
        let revision = self.revision.get() + 1;
        if revision >= RISING_MAX {
            return Err(StateError::Failed(IoError::Errno(nix::libc::EOVERFLOW)));
        }
        let superblock = Superblock { state, revision, ..self.superblock.clone() };
        let mut buf = self.handle.pool().alloc(BLOCK as usize).ok_or(StateError::NoBuffer)?;
        // Any valid copy will do, and the newest counts: written one after the other, there always
        // is one.
        for offset in superblock_offsets(superblock.size) {
            if chosen(Sabotage::ForgetState) {
                break;
            }
            superblock.encode(&mut buf);
            buf = match self.file.write_block(buf, offset).await {
                Ok(buf) => buf,
                Err(error) => return Err(self.state_is_unknown(error)),
            };
        }
        self.revision.set(revision);
        self.state.set(state);
        Ok(())
    }

    fn state_is_unknown(&self, error: IoError) -> StateError {
        self.log.poison(error);
        self.state_is_lost.set(true);
        StateError::Failed(error)
    }
}
