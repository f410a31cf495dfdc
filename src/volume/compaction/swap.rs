//! The new generation takes the place of the old one.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::copier::Copier;
use super::not_compacted::NotCompacted;
use super::pass::Pass;
use crate::base::limits::BLOCK;
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::background::{BackgroundRun, Pace};
use crate::runtime::buffer::Buf;
use crate::runtime::op::{DirId, Op};
use crate::runtime::{ClosedGate, within};
use crate::volume::error::IoError;
use crate::volume::format::{
    ClusterProperties, INCOMPAT_LOSSES, RISING_MAX, Replica, SuperblockState, superblock_offsets,
};
use crate::volume::generation::remove::remove;
use crate::volume::io::outcome;
use crate::volume::log::reservation::Reservation;
use crate::volume::names::volume_name;
use crate::volume::object::upload_key::UploadKey;
use crate::volume::slot::compaction_progress::GateTimes;
use crate::volume::slot::uploads::{PartPlace, UploadedPart};
use crate::volume::{Slot, Volume, WriteState};

/// Longest time for which writers wait while the generation is exchanged, until the exchange is put off
/// (nanoseconds).
const GATE_DEADLINE_NS: u64 = 1_000_000_000;

/// Called when the slot was exchanged, before writers go on: the new file is monitored from now on. Returns
/// why it cannot be.
pub type OnSwap<'a> = &'a dyn Fn(&Volume) -> Result<(), IoError>;

/// An upload in progress, as it continues in the new generation.
struct MovedUpload {
    key: UploadKey,
    parts: Vec<UploadedPart>,
    reservation: Reservation,
}

/// Exchanges the generation of a slot.
pub struct Swap<'a> {
    /// The slot.
    pub slot: &'a Rc<Slot>,
    /// The old generation.
    pub old: &'a Rc<Volume>,
    /// The new generation.
    pub new: &'a Rc<Volume>,
    /// Directory of the new generation.
    pub dir: DirId,
    /// What was copied so far.
    pub copier: &'a mut Copier,
    /// End of the old log up to which everything was carried over (bytes).
    pub from: u64,
    /// Where the time for which the gate was closed is added.
    pub gate: &'a mut GateTimes,
}

impl<'a> Swap<'a> {
    /// Closes the gate, carries over the rest, and makes the new generation the current one.
    ///
    /// # Errors
    /// [`NotCompacted::WritersHang`]: may be tried again. After any other error the old generation goes on;
    /// after [`NotCompacted::Undecided`] without writes.
    pub async fn exchange(mut self, on_swap: OnSwap<'_>) -> Result<(), NotCompacted> {
        let _change = self.slot.changes.lock(()).await;
        expect_compactable(self.old)?;
        let began = self.old.handle.now();
        let exchanged = self.exchange_behind_gate(began, on_swap).await;
        self.gate.add(self.old.handle.now() - began);
        exchanged
    }

    /// Exchanges the generation. The gate is open again when this ends, however it ends.
    async fn exchange_behind_gate(
        &mut self,
        began: u64,
        on_swap: OnSwap<'_>,
    ) -> Result<(), NotCompacted> {
        let closed = self.close_gate(began).await?;
        expect_compactable(self.old)?;
        self.carry_rest().await?;
        let uploads = self.move_uploads().await?;
        self.copier.writer.flush().await?;
        self.write_hint().await?;
        self.sync().await?;
        self.expect_name().await?;
        let block = self.old.handle.pool().alloc(BLOCK as usize);
        let block =
            block.ok_or(NotCompacted::Io("get a buffer", IoError::Errno(nix::libc::ENOBUFS)))?;
        // From here on nothing fails but writes to the disks.
        let closed = still_closed(closed);
        self.remove_old_early().await;
        self.mark_move().await?;
        self.make_live(block).await?;
        // From here on the new generation counts.
        self.take_over(uploads);
        self.monitor(on_swap);
        drop(closed);
        Ok(())
    }

    /// Lets no more writes in, and waits for those that are inside.
    async fn close_gate(&self, began: u64) -> Result<ClosedGate<'a>, NotCompacted> {
        let is_long = chosen(Sabotage::LongClosedGate);
        let deadline = began + if is_long { 60 * GATE_DEADLINE_NS } else { GATE_DEADLINE_NS };
        let slot: &'a Rc<Slot> = self.slot;
        let closed = slot.gate.close(deadline).await.ok_or(NotCompacted::WritersHang)?;
        self.settle_writers(deadline).await?;
        Ok(closed)
    }

    async fn settle_writers(&self, deadline: u64) -> Result<(), NotCompacted> {
        if chosen(Sabotage::SwapBeforeSettled) {
            return Ok(());
        }
        let settled = within(&self.old.handle, deadline, self.old.log.settle()).await;
        settled.ok_or(NotCompacted::WritersHang)
    }

    async fn remove_old_early(&self) {
        if chosen(Sabotage::RemoveOldFirst) {
            let superblock = &self.old.superblock;
            let (volume, generation) = (superblock.volume, superblock.generation);
            // The mistake is that it is gone, whether this succeeds or not.
            let _ = remove(&self.old.handle, self.old.dir(), volume, generation).await;
        }
    }

    /// Marks the old file if the volume moves: a start that finds only that one must not serve it any more.
    async fn mark_move(&self) -> Result<(), NotCompacted> {
        if self.dir == self.old.dir() || chosen(Sabotage::MoveWithoutMark) {
            return Ok(());
        }
        let marked = self.old.begin_move().await;
        marked.map_err(|_| NotCompacted::State(self.old.write_state()))
    }

    /// Has the new file monitored. If it cannot be, the volume takes no more writes.
    fn monitor(&self, on_swap: OnSwap<'_>) {
        if let Err(error) = on_swap(self.new)
            && !chosen(Sabotage::ServeUnwatched)
        {
            tracing::error!(
                volume = self.new.id().0,
                "the file of the new generation cannot be monitored: {error}. The volume takes no more writes"
            );
            self.new.end_unmonitored(error);
        }
    }

    async fn carry_rest(&mut self) -> Result<(), NotCompacted> {
        let mut run = BackgroundRun::new(&self.old.handle, None, Pace::UNLIMITED);
        let to = self.old.log.tail();
        self.copier.reader.clear();
        let mut pass =
            Pass { old: self.old, copier: self.copier, run: &mut run, to, on_step: &|_, _| () };
        pass.carry_all(self.from).await
    }

    /// Carries over the parts of uploads in progress, and reserves space for what they still append.
    async fn move_uploads(&mut self) -> Result<Vec<MovedUpload>, NotCompacted> {
        let mut moved = Vec::new();
        for (key, parts, left) in self.slot.uploads.open() {
            let mut places = Vec::with_capacity(parts.len());
            for UploadedPart { place, len } in parts {
                let old =
                    place.offset().map_err(|_| NotCompacted::State(self.old.write_state()))?;
                let offset = self.copier.carry_upload_part(old, len).await?;
                places.push(UploadedPart { place: PartPlace::At(offset), len });
            }
            self.copier.writer.flush().await?;
            match self.new.reserve_ahead(left).await {
                // Then it cannot be reserved in the log either.
                Ok(()) | Err(IoError::Errno(nix::libc::ENOSPC)) => {}
                Err(error) => return Err(NotCompacted::Io("reserve space", error)),
            }
            let reservation = Reservation::new(self.new, left);
            let reservation = match reservation {
                None if chosen(Sabotage::SwapWithoutRoom) => {
                    Reservation::of_what_is_free(self.new, left)
                }
                reservation => reservation.ok_or(NotCompacted::UploadsDoNotFit)?,
            };
            moved.push(MovedUpload { key, parts: places, reservation });
        }
        Ok(moved)
    }

    /// Writes the first tail hint of the new generation, without a flush. It carries the highest version of
    /// the old one, so that versions go on rising.
    async fn write_hint(&self) -> Result<(), NotCompacted> {
        self.new.log.raise_version(self.highest_version());
        if chosen(Sabotage::HintAfterLive) {
            return Ok(());
        }
        let written = self.new.log.write_unsynced_hint(&self.new.file).await;
        written.map_err(|error| NotCompacted::Io("write a tail hint", error))
    }

    fn highest_version(&self) -> u64 {
        if chosen(Sabotage::ForgetHighestVersion) { 0 } else { self.old.log.end().version }
    }

    /// Makes the log and the tail hint durable, with one flush: nothing looks at them before the new
    /// generation counts.
    async fn sync(&self) -> Result<(), NotCompacted> {
        if chosen(Sabotage::LiveBeforeSync) {
            return Ok(());
        }
        self.new.file.sync().await.map_err(|error| NotCompacted::Io("sync the new file", error))
    }

    /// Checks that the name of the new file still leads to it.
    async fn expect_name(&self) -> Result<(), NotCompacted> {
        let superblock = &self.new.superblock;
        let name = volume_name(superblock.volume, superblock.generation);
        let op = Op::IsNameOf { dir: self.dir, name, file: self.new.file.number() };
        let is_name = outcome(&self.new.handle.submit(op).await);
        match is_name
            .map_err(|error| NotCompacted::Io("look at the name of the new file", error))?
        {
            1 => Ok(()),
            _ if chosen(Sabotage::IgnoreName) => Ok(()),
            _ => Err(NotCompacted::Io("find the new file", IoError::Errno(nix::libc::ENOENT))),
        }
    }

    /// Writes the superblock copies with the state that the volume has. The first of them is the atomic
    /// point; the others are flushed together.
    async fn make_live(&self, mut block: Buf) -> Result<(), NotCompacted> {
        let (old, new) = (self.old, self.new);
        let revision = new.revision.get() + 1;
        assert!(revision < RISING_MAX, "a new file has few revisions");
        new.revision.set(revision);
        new.superblock_state.set(self.state_now());
        if self.copier.has_losses() {
            new.incompat.set(new.incompat.get() | INCOMPAT_LOSSES);
        }
        new.replica.set(self.replica_now());
        new.cluster.replace(self.cluster_now());
        new.history_from.set(old.history_from.get().max(self.copier.history_from()));
        let superblock = new.current_superblock();
        let [first, others @ ..] = superblock_offsets(superblock.size);
        superblock.encode(&mut block);
        let block = match new.file.write_block(block, first).await {
            Ok(block) => block,
            Err(error) => {
                self.end_writes(error);
                return Err(NotCompacted::Undecided(error));
            }
        };
        if let Err(error) = self.write_other_copies(block, others).await {
            // A restart finds the first copy: the new generation counts, but takes no writes.
            new.write_state.set(WriteState::StateUnknown(error));
        }
        Ok(())
    }

    /// The state of the volume, which may have been changed while it was copied.
    fn state_now(&self) -> SuperblockState {
        let is_old = chosen(Sabotage::StateOfTheBegin);
        if is_old { SuperblockState::Live } else { self.old.superblock_state.get() }
    }

    /// Whose copy the volume is: more may have been copied meanwhile.
    fn replica_now(&self) -> Option<Replica> {
        if chosen(Sabotage::CompactionForgetsReplica) { None } else { self.old.replica.get() }
    }

    /// What the cluster says about the volume. The highest key so far goes along: the new log may lack it.
    fn cluster_now(&self) -> Option<ClusterProperties> {
        let properties = self.old.cluster.borrow().clone();
        let properties = properties.filter(|_| !chosen(Sabotage::CompactionDropsCluster))?;
        Some(ClusterProperties { key_floor: key_floor(self.old), ..properties })
    }

    /// Ends the writes to the volume, since it is not known which generation a start will find.
    fn end_writes(&self, error: IoError) {
        if !chosen(Sabotage::WriteWhileUndecided) {
            self.old.lose_state(error);
        }
    }

    async fn write_other_copies(&self, mut block: Buf, offsets: [u64; 2]) -> Result<(), IoError> {
        for offset in offsets {
            block = self.new.file.write_unsynced_block(block, offset).await?;
        }
        self.new.file.sync().await
    }

    /// Makes the new generation the current one. Nothing is awaited here.
    fn take_over(&mut self, uploads: Vec<MovedUpload>) {
        let (old, new) = (self.old, self.new);
        // An upload may have ended since its parts were carried over, or have begun since: then it has no
        // parts yet.
        let mut moved: BTreeMap<UploadKey, MovedUpload> =
            uploads.into_iter().map(|upload| (upload.key, upload)).collect();
        self.slot.uploads.for_each(|key, upload| {
            let (parts, reservation) = match moved.remove(&key) {
                Some(MovedUpload { parts, reservation, .. }) => (parts, reservation),
                None => (Vec::new(), Reservation::of_what_is_free(new, upload.reservation.left())),
            };
            assert_eq!(
                parts.len(),
                upload.parts.len(),
                "no part is added while the gate is closed"
            );
            if !chosen(Sabotage::KeepUploadOffsets) {
                upload.parts = parts;
            }
            upload.reservation = reservation;
            new.contents.borrow_mut().properties_mut().hold_parts(upload.id);
        });
        new.contents.borrow_mut().properties_mut().abandon_unheld();
        new.was_full.set(old.is_full());
        let is_suspect = old.is_suspect() && self.dir == old.dir();
        old.supersede();
        self.slot.replace(new);
        new.begin_to_serve();
        if is_suspect {
            // Another directory is another disk.
            new.suspect();
        }
    }
}

/// Highest key that the old log may have and the new one not.
fn key_floor(old: &Volume) -> u64 {
    if chosen(Sabotage::CompactionForgetsKeyFloor) { 0 } else { old.max_key().unwrap_or(0) }
}

/// Keeps the gate closed until the new generation counts.
fn still_closed(closed: ClosedGate<'_>) -> Option<ClosedGate<'_>> {
    (!chosen(Sabotage::OpenGateBeforeLive)).then_some(closed)
}

/// Checks that a volume may be compacted.
///
/// # Errors
/// [`NotCompacted::State`].
pub fn expect_compactable(volume: &Volume) -> Result<(), NotCompacted> {
    if chosen(Sabotage::CompactAnyState) {
        return Ok(());
    }
    let state = volume.write_state();
    if volume.index_is_incomplete {
        return Err(NotCompacted::Incomplete);
    }
    match state {
        WriteState::Writable | WriteState::Full => Ok(()),
        WriteState::ReadOnly(reason) if reason.may_write_file() => Ok(()),
        WriteState::Fenced(reason) if reason.may_write_file() => Ok(()),
        WriteState::ReadOnly(_)
        | WriteState::Fenced(_)
        | WriteState::Poisoned(_)
        | WriteState::StateUnknown(_)
        | WriteState::Closing
        | WriteState::Closed
        | WriteState::Building
        | WriteState::Superseded => Err(NotCompacted::State(state)),
    }
}
