//! An open generation of a volume: one file, one log, one index.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::base::limits::{ATTRIBUTES_MAX, LOG_START, NEEDLE_DATA_MAX, TRAILER};
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::VolumeId;
use crate::runtime::background::SharedPace;
use crate::runtime::op::DirId;
use crate::runtime::{Handle, KeyLocks};
use crate::volume::blocks::block_steps::BlockSteps;
use crate::volume::checkpoint::checkpoints::Checkpoints;
use crate::volume::format::{
    ClusterProperties, EarlierRange, NeedleLayout, Replica, Superblock, SuperblockState,
};
use crate::volume::generation::figures::Figures;
use crate::volume::generation::open_report::OpenReport;
use crate::volume::generation::write_state::{ReadOnlyReason, WriteState};
use crate::volume::index::Hasher;
use crate::volume::io::{Stats, VolumeFile};
use crate::volume::log::append_log::AppendLog;
use crate::volume::log::contents::Contents;
use crate::volume::log::{DamageSource, DamagedRange};
use crate::volume::object::cost::body_cost;

/// The part of the size of a full volume that must be free before it is open again.
const FREE_TO_OPEN: u64 = 20;

/// An open generation of a volume. It belongs to one shard, and only tasks of that shard use it. What
/// outlives a generation is in [`Slot`](crate::volume::Slot).
pub struct Volume {
    pub(in crate::volume) handle: Handle,
    /// Directory of the file.
    pub(in crate::volume) dir: DirId,
    pub(in crate::volume) file: Rc<VolumeFile>,
    /// The superblock as it was when the file was opened; fields that may change since are held
    /// separately.
    pub(in crate::volume) superblock: Superblock,
    /// The state that the operator set last, as it is stored in the superblock.
    pub(in crate::volume) superblock_state: Cell<SuperblockState>,
    pub(in crate::volume) revision: Cell<u64>,
    /// Features that a reader may ignore, as they are in the superblock now.
    pub(in crate::volume) ro_compat: Cell<u32>,
    /// Serialises changes of the superblock.
    pub(in crate::volume) superblock_turn: KeyLocks<()>,
    /// Incompatible features that the file uses, as stored in the superblock.
    pub(in crate::volume) incompat: Cell<u32>,
    /// Version from which the history is complete, as stored in the superblock.
    pub(in crate::volume) history_from: Cell<u64>,
    /// Begin of the last scrub that found nothing wrong, as stored in the superblock (nanoseconds since
    /// 1970).
    pub(in crate::volume) verified_ns: Cell<u64>,
    /// Whose copy the volume is, as stored in the superblock.
    pub(in crate::volume) replica: Cell<Option<Replica>>,
    /// What its cluster says about the volume, as stored in the superblock.
    pub(in crate::volume) cluster: RefCell<Option<ClusterProperties>>,
    /// Whether the volume was full when that was looked at last, in this generation or the one before.
    pub(in crate::volume) was_full: Cell<bool>,
    /// Whether the volume may be written; never [`WriteState::Full`], which is derived.
    pub(in crate::volume) write_state: Cell<WriteState>,
    pub(in crate::volume) hasher: Hasher,
    pub(in crate::volume) contents: RefCell<Contents>,
    pub(in crate::volume) log: AppendLog,
    pub(in crate::volume) extents: Cell<u64>,
    /// Damaged ranges of this file that were found at opening, and those of earlier generations.
    pub(in crate::volume) damage: RefCell<Vec<DamagedRange>>,
    pub(in crate::volume) open_report: OpenReport,
    /// Whether parts of the log could not be read at opening: an id that is not in the index may exist
    /// all the same.
    pub(in crate::volume) index_is_incomplete: bool,
    pub(in crate::volume) checkpoints: Checkpoints,
    pub(in crate::volume) steps: BlockSteps,
    /// Pace of background work on the disk of the file. Requests note on it how long they waited.
    pub(in crate::volume) pace: Rc<SharedPace>,
}

impl Volume {
    /// Returns the number of the volume.
    #[must_use]
    pub fn id(&self) -> VolumeId {
        self.superblock.volume
    }

    /// Returns the generation: it rises with every compaction.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.superblock.generation
    }

    /// Returns the incarnation of the file.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.superblock.incarnation
    }

    /// Returns a number that all generations of the volume have, and practically no other volume.
    #[must_use]
    pub fn lineage(&self) -> u64 {
        self.superblock.lineage()
    }

    /// Returns the directory of the open file.
    #[must_use]
    pub fn dir(&self) -> DirId {
        self.dir
    }

    /// Counts the extents of the file, which change as long as its blocks are reserved in steps.
    pub(in crate::volume) async fn count_extents(&self) {
        self.extents.set(self.file.extents().await);
    }

    /// Returns the version from which on the log has every tombstone; 0 for all.
    #[must_use]
    pub fn history_from(&self) -> u64 {
        self.history_from.get()
    }

    /// Returns since when everything in the file is known to be as it was written (nanoseconds since 1970):
    /// the begin of the last scrub that found nothing wrong, or the creation of the file.
    #[must_use]
    pub fn verified_ns(&self) -> u64 {
        self.verified_ns.get().max(self.superblock.created_ns)
    }

    /// Returns the times at which everything in the file was right (nanoseconds since 1970): the begin of the
    /// last scrub that found nothing wrong (0 for none), and the creation of the file.
    pub(in crate::volume) fn verified_times(&self) -> [u64; 2] {
        [self.verified_ns.get(), self.superblock.created_ns]
    }

    /// The known damage in which no object is known, as a later generation remembers it.
    pub(in crate::volume) fn damage_without_owner(&self) -> Vec<EarlierRange> {
        let own = self.superblock.generation;
        let damage = self.damage.borrow();
        let ownerless = damage.iter().filter(|range| range.id.is_none());
        let remembered = ownerless.filter_map(|range| {
            let generation = match range.source {
                DamageSource::File => own,
                DamageSource::Generation(generation) => generation,
                DamageSource::Loss => return None,
            };
            let (offset, len) = (range.at.offset, range.at.len);
            Some(EarlierRange { generation, offset, len })
        });
        remembered.collect()
    }

    /// Returns the state that the operator set last.
    #[must_use]
    pub fn superblock_state(&self) -> SuperblockState {
        self.superblock_state.get()
    }

    /// Returns whether the volume may be written, and if not, why.
    #[must_use]
    pub fn write_state(&self) -> WriteState {
        match self.write_state.get().shown(|| self.is_full()) {
            WriteState::Writable | WriteState::Full if self.replica.get().is_some() => {
                WriteState::ReadOnly(ReadOnlyReason::Replica)
            }
            WriteState::Writable | WriteState::Full if self.is_closed_by_cluster() => {
                WriteState::ReadOnly(ReadOnlyReason::Cluster)
            }
            state => state,
        }
    }

    /// Returns whose copy the volume is; `None` if it is no copy.
    #[must_use]
    pub fn replica(&self) -> Option<Replica> {
        self.replica.get()
    }

    /// Returns whether the volume admits writes. A volume that was writable does so while it is being
    /// closed: what comes too late is refused when it is to join a commit.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.admit().is_ok()
    }

    /// Returns whether the append side ended for the life of the process: a write failed, or the volume
    /// was fenced.
    #[must_use]
    pub fn poisoned(&self) -> bool {
        self.write_state.get().error().is_some()
    }

    /// Returns whether a body of this length (bytes) still fits, with attributes of any permitted length.
    /// Blocks that are not reserved yet count as long as the file system has had space for them.
    #[must_use]
    pub fn has_space_for(&self, body_len: u64) -> bool {
        let cost = match usize::try_from(body_len) {
            Ok(len) if body_len <= NEEDLE_DATA_MAX => {
                NeedleLayout::data(ATTRIBUTES_MAX, len).len as u64
            }
            _ => body_cost(body_len),
        };
        let has_space = self.log.end_with(cost, true) <= self.reachable_end();
        has_space && !self.contents.borrow_mut().is_starved()
    }

    /// Returns whether the volume is full: a body of 1 MiB, the longest that one needle holds, does not
    /// fit after the committed end of the log, or the index has no memory for more needles. If the file
    /// system had no space for more blocks of the file, only those count that are reserved. A volume that was
    /// full stays so until a twentieth of its size is free: one that a compaction gains little for would be
    /// full again soon, and whoever assigns volumes would have to follow.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let len = usize::try_from(NEEDLE_DATA_MAX).expect("1 MiB");
        let mut needed = NeedleLayout::data(ATTRIBUTES_MAX, len).len as u64;
        if self.was_full.get() && !chosen(Sabotage::OpenFullAtOnce) {
            needed = needed.max(self.superblock.size / FREE_TO_OPEN);
        }
        let has_no_room = self.log.is_full(needed, self.reachable_end());
        let is_full = has_no_room || self.contents.borrow_mut().is_starved();
        self.was_full.set(is_full);
        is_full
    }

    /// Returns the counters of the volume.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.file.stats
    }

    /// Returns the known damage: ranges found damaged at opening, ranges that were damaged in an earlier
    /// generation, and lost objects that nothing has superseded.
    #[must_use]
    pub fn damage(&self) -> Vec<DamagedRange> {
        let (damage, contents) = (self.damage.borrow(), self.contents.borrow());
        damage.iter().copied().chain(contents.losses()).collect()
    }

    /// Returns the other findings of opening.
    #[must_use]
    pub fn open_report(&self) -> &OpenReport {
        &self.open_report
    }

    /// Returns the current figures.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let contents = self.contents.borrow();
        let index = contents.index().figures();
        let (tail, live) = (self.log.tail(), contents.live());
        Figures {
            size: self.superblock.size,
            used: tail + TRAILER,
            unreserved: self.log.unreserved(),
            unavailable: if self.steps.has_failed() { self.log.unreserved() } else { 0 },
            live,
            // A forged manifest may claim more parts than the log holds.
            dead: (tail - LOG_START).saturating_sub(live),
            oldest_dead_ns: contents.properties().oldest_dead(),
            expired: self.expired_by(self.handle.wall()),
            key_max: contents.properties().key_max(),
            needles: index.needles,
            index: contents.memory() as u64,
            index_slots: index.slots,
            index_overflow: index.overflow,
            index_steps: index.steps,
            index_step_max: index.step_max,
            extents: self.extents.get(),
            damaged: (self.damage.borrow().len() + contents.losses().len()) as u64,
            checkpoint: self.checkpoints.figures(tail),
        }
    }

    /// Returns the highest version that was given to a needle or tombstone: the time of the last write
    /// (nanoseconds since 1970), unless the wall clock went back; 0 if there is none.
    #[must_use]
    pub fn newest_version(&self) -> u64 {
        self.log.end().version
    }

    /// Returns the live bytes of the objects whose day of expiry is over at `now` (nanoseconds since 1970).
    #[must_use]
    pub fn expired_by(&self, now: u64) -> u64 {
        let contents = self.contents.borrow();
        contents.properties().expiry().expired_by(now).min(contents.live())
    }

    /// Length of the buffer that the log holds for its own writes (bytes); 0 while a write uses it.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.log.buffer_bytes()
    }

    /// Recounts all accounts while the volume is idle: nothing is claimed, and the live bytes are those of
    /// the index. Takes time proportional to the size of the index.
    ///
    /// # Panics
    /// If a count is wrong.
    pub fn expect_rest(&self) {
        self.log.expect_rest();
        self.contents.borrow().audit();
    }
}

#[cfg(test)]
mod tests {
    use crate::base::limits::TOMBSTONE_RESERVE;
    use crate::volume::log::LogEnd;
    use crate::volume::tests::rig::{Rig, superblock};
    use crate::volume::{Superblock, Volume};

    /// Moves the end of the log, as if needles had been written there, so that this number of bytes is free.
    fn leave(volume: &Volume, free: u64) {
        let end = volume.log.end();
        let tail = volume.superblock.log_end() - TOMBSTONE_RESERVE - free;
        let sequence = end.sequence + 1;
        volume.log.advance(end, LogEnd { record_at: end.tail, tail, sequence, ..end });
    }

    #[test]
    fn volume_is_full_below_a_mebibyte_and_then_until_a_twentieth_is_free() {
        let (_rig, slot) = Rig::with(Superblock { size: 64 << 20, ..superblock() });
        let volume = slot.volume();
        assert!(!volume.is_full());
        leave(&volume, 3 << 20);
        assert!(!volume.is_full(), "less than a twentieth is free, and it was not full");
        // As of the generation before.
        volume.was_full.set(true);
        assert!(volume.is_full() && volume.was_full.get());
        volume.was_full.set(false);
        leave(&volume, (1 << 20) + 16_384);
        assert!(!volume.is_full());
        leave(&volume, 1 << 20);
        assert!(volume.is_full());
    }
}
