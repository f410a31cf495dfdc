//! The state that the operator sets for a volume: writable or read-only.

use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::error::StateError;
use crate::volume::format::SuperblockState;
use crate::volume::{Volume, WriteState};

impl Volume {
    /// Makes the volume read-only or writable. When this returns, the new state is on stable media. When
    /// the volume was made read-only, everything written before is on stable media, too, and nothing is
    /// appended to its log any more. A tail hint, which records where the log ends, may still be written. A
    /// copy of another volume that is made writable is one no more.
    ///
    /// The caller must not run two changes at the same time.
    ///
    /// # Errors
    /// See [`StateError`]. After a failed write the volume is poisoned.
    pub async fn set_read_only(&self, read_only: bool) -> Result<(), StateError> {
        let state = self.write_state.get();
        match (self.superblock_state.get(), read_only) {
            _ if self.is_suspect() => Err(StateError::Suspect),
            // The next start will find an unknown state, or no file: even a request that changes nothing is
            // refused.
            _ if matches!(state, WriteState::StateUnknown(_) | WriteState::Fenced(_)) => {
                Err(StateError::Poisoned)
            }
            // The volume takes no writes, and nothing can change that before a restart.
            (SuperblockState::Live, false) if state.error().is_some() => Err(StateError::Poisoned),
            (SuperblockState::Building | SuperblockState::Sealed, false) => Err(StateError::Sealed),
            (SuperblockState::Live, true) => self.close_to_writes().await,
            (SuperblockState::ReadOnly, false) => self.open_to_writes().await,
            (SuperblockState::Live, false) if self.replica.get().is_some() => {
                self.change_superblock(|superblock| superblock.replica = None).await
            }
            _ => Ok(()),
        }
    }

    async fn close_to_writes(&self) -> Result<(), StateError> {
        // In this order: a client that has been answered that the volume is read-only may copy the file
        // at once.
        self.write_state.update(WriteState::begin_read_only);
        if !chosen(Sabotage::ReadOnlyTooEarly) {
            self.log.settle().await;
        }
        let written = self.write_superblock_state(SuperblockState::ReadOnly).await;
        self.write_state.update(match written {
            Ok(()) => WriteState::finish_read_only,
            Err(_) => WriteState::abandon_read_only,
        });
        written
    }

    async fn open_to_writes(&self) -> Result<(), StateError> {
        let is_early = chosen(Sabotage::WritableTooEarly);
        if is_early {
            self.write_state.update(WriteState::make_writable);
        }
        self.write_superblock_state(SuperblockState::Live).await?;
        if !is_early {
            self.admit_writes();
        }
        // No blocks were reserved while the volume was read-only.
        self.note_demand();
        Ok(())
    }

    fn admit_writes(&self) {
        if !chosen(Sabotage::StayReadOnly) {
            self.write_state.update(WriteState::make_writable);
        }
    }

    async fn write_superblock_state(&self, state: SuperblockState) -> Result<(), StateError> {
        self.change_superblock(|superblock| {
            superblock.state = state;
            if state == SuperblockState::Live {
                superblock.replica = None;
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::{Cookie, NeedleId, VolumeId};
    use crate::runtime::buffer::{Pool, Region};
    use crate::runtime::op::{DirId, Op};
    use crate::runtime::sim::World;
    use crate::runtime::sim::disk::Image;
    use crate::runtime::{Runtime, split_mix};
    use crate::volume::{self, Draft, Expected, Preallocation, Refusal, Slot, Superblock};

    const STORE: [u8; 16] = [1; 16];

    fn superblock() -> Superblock {
        Superblock {
            compat: 0,
            ro_compat: 0,
            incompat: 0,
            volume: VolumeId(1),
            incarnation: 7,
            parent: 0,
            generation: 0,
            state: SuperblockState::Live,
            size: 1 << 20,
            unit: 512,
            chunk: 65_536,
            hash_seed: 42,
            store: STORE,
            created_ns: 0,
            revision: 1,
            history_from: 0,
            verified_ns: 0,
            replica: None,
            cluster: None,
        }
    }

    /// Regression, found by the simulation: a refused change left the volume closed with a different
    /// reason, and the next change claimed to have made it writable.
    #[test]
    fn state_change_of_a_poisoned_volume_is_refused() {
        let pool = Pool::new(&Region::map(1, 8 << 20).unwrap(), 0);
        let world = World::new(1, &Image::default());
        let (mut driver, mut state) = (world.driver(), 1);
        let mut runtime = Runtime::new(&driver, pool.clone(), move || split_mix(&mut state));
        let handle = runtime.handle().clone();
        runtime.block_on(&mut driver, async move {
            let expected = Expected {
                volume: VolumeId(1),
                generation: 0,
                store: STORE,
                hash_bits: None,
                segments_max: None,
                checkpoints: None,
            };
            handle.submit(Op::OpenDir { path: "data".into() }).await;
            let how = Preallocation::Reserve;
            volume::create(&handle, DirId(0), &superblock(), how, |_| ()).await.unwrap();
            let slot = Slot::new(volume::open(&handle, DirId(0), &expected).await.unwrap());
            slot.volume().fence();
            for read_only in [true, false, true] {
                let ordered = slot.set_read_only(read_only).await;
                assert_eq!(ordered, Err(StateError::Poisoned), "read-only: {read_only}");
                let draft = Draft::new(&pool, None, 4).unwrap();
                let put = slot.put(NeedleId::new(1, 0), Cookie(1), draft, None).await;
                assert_eq!(put, Err(Refusal::Poisoned), "read-only: {read_only}");
            }
        });
    }
}
