//! Changes of the superblock while the volume is open.

use crate::base::limits::BLOCK;
use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::Volume;
use crate::volume::error::{IoError, StateError};
use crate::volume::format::{RISING_MAX, Superblock, superblock_offsets};

impl Volume {
    /// Returns the superblock as it is on stable media now.
    pub(in crate::volume) fn current_superblock(&self) -> Superblock {
        Superblock {
            state: self.superblock_state.get(),
            incompat: self.incompat.get(),
            ro_compat: self.ro_compat.get(),
            history_from: self.history_from.get(),
            verified_ns: self.verified_ns.get(),
            replica: self.replica.get(),
            cluster: self.cluster.borrow().clone(),
            revision: self.revision.get(),
            ..self.superblock.clone()
        }
    }

    /// Changes the superblock. When this returns, the change is on
    /// stable media, in all copies. Changes are made one after the other, each of what the one before it has
    /// left.
    ///
    /// # Errors
    /// See [`StateError`], except [`StateError::Sealed`]. After a failed write the volume is poisoned; if its
    /// state was to change, that is unknown.
    pub(in crate::volume) async fn change_superblock(
        &self,
        change: impl FnOnce(&mut Superblock),
    ) -> Result<(), StateError> {
        let turn = self.superblock_turn.lock(()).await;
        if chosen(Sabotage::InterleavedSuperblocks) {
            drop(turn);
        }
        if self.poisoned() {
            return Err(StateError::Poisoned);
        }
        let before = self.current_superblock();
        let mut superblock = before.clone();
        change(&mut superblock);
        superblock.revision += 1;
        if superblock.revision >= RISING_MAX {
            return Err(StateError::Failed(IoError::Errno(nix::libc::EOVERFLOW)));
        }
        if let Err(error) = self.write_copies(&superblock).await {
            if let StateError::Failed(error) = error {
                let has_same_state = before.state == superblock.state
                    && before.ro_compat == superblock.ro_compat
                    && before.cluster == superblock.cluster;
                match has_same_state {
                    true => self.poison(error),
                    false => self.lose_state(error),
                }
            }
            return Err(error);
        }
        self.revision.set(superblock.revision);
        self.superblock_state.set(superblock.state);
        self.ro_compat.set(superblock.ro_compat);
        self.verified_ns.set(superblock.verified_ns);
        self.replica.set(superblock.replica);
        self.cluster.replace(superblock.cluster);
        Ok(())
    }

    /// Records that everything in the file was verified by a scrub that began at `began` (nanoseconds since
    /// 1970), unless nothing is written to the file any more.
    ///
    /// # Errors
    /// As [`Self::change_superblock`].
    pub(in crate::volume) async fn record_verified(&self, began: u64) -> Result<(), StateError> {
        if !self.write_state.get().takes_hints() {
            return Ok(());
        }
        self.change_superblock(|superblock| superblock.verified_ns = began).await
    }

    /// Writes all copies of the superblock.
    async fn write_copies(&self, superblock: &Superblock) -> Result<(), StateError> {
        let mut buf = self.handle.pool().alloc(BLOCK as usize).ok_or(StateError::NoBuffer)?;
        // One valid copy is enough, and the newest counts. The copies are written one after the other, so
        // that one is always valid.
        for offset in superblock_offsets(superblock.size) {
            if chosen(Sabotage::ForgetState) {
                break;
            }
            superblock.encode(&mut buf);
            let written = self.file.write_block(buf, offset).await;
            buf = written.map_err(StateError::Failed)?;
        }
        Ok(())
    }
}
