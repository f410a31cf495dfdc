//! The file of the new generation: created, opened while it is being built, and removed if the compaction
//! ends early.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::not_compacted::NotCompacted;
use super::order::CompactionOrder;
use crate::base::limits::{BLOCK, LOG_START};
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::VolumeId;
use crate::runtime::background::SharedPace;
use crate::runtime::op::{DirId, FileId, Op};
use crate::runtime::{Handle, KeyLocks};
use crate::volume::blocks::block_steps::BlockSteps;
use crate::volume::blocks::step::step_len;
use crate::volume::checkpoint::CheckpointFigures;
use crate::volume::checkpoint::checkpoints::Checkpoints;
use crate::volume::error::IoError;
use crate::volume::format::{PARTIAL, Superblock, SuperblockState, TailHint};
use crate::volume::generation::create::create_file;
use crate::volume::generation::remove::remove_others;
use crate::volume::index::Index;
use crate::volume::io::{VolumeFile, outcome};
use crate::volume::log::append_log::AppendLog;
use crate::volume::log::contents::Contents;
use crate::volume::log::{Ending, LogEnd};
use crate::volume::names::volume_name;
use crate::volume::{Expected, GenerationFile, OpenReport, Volume, WriteState};

/// Creates the file of the next generation of `old`, and opens it to be built.
///
/// # Errors
/// [`NotCompacted::InTheWay`]. [`NotCompacted::Io`]: the file may be there.
pub async fn create_target(
    old: &Rc<Volume>,
    order: &CompactionOrder,
) -> Result<Rc<Volume>, NotCompacted> {
    let handle = &old.handle;
    let superblock = Superblock {
        incarnation: handle.random(),
        parent: parent_of(old),
        generation: old.superblock.generation + 1,
        state: first_state(old),
        size: if chosen(Sabotage::IgnoreSize) { old.superblock.size } else { order.size },
        store: order.store.unwrap_or(old.superblock.store),
        created_ns: handle.wall(),
        revision: 1,
        // Features of the old file, which the new one does not have yet.
        incompat: 0,
        ro_compat: 0,
        history_from: 0,
        verified_ns: 0,
        replica: None,
        cluster: None,
        ..old.superblock.clone()
    };
    let created = create_file(handle, order.target, &superblock, order.preallocation, |_| ()).await;
    let superblock = created.map_err(|(what, error)| match error {
        IoError::Errno(nix::libc::EEXIST) => NotCompacted::InTheWay,
        error => NotCompacted::Io(what, error),
    })?;
    let pace = Rc::clone(order.target_pace.as_ref().unwrap_or(&old.pace));
    open_target(old, order.target, superblock, pace).await
}

/// The incarnation of which the new generation is a copy.
fn parent_of(old: &Volume) -> u64 {
    if chosen(Sabotage::ForgetParent) { 0 } else { old.superblock.incarnation }
}

/// The state of a generation that does not count yet.
fn first_state(old: &Volume) -> SuperblockState {
    match chosen(Sabotage::NeverBuilding) {
        true => old.superblock_state.get(),
        false => SuperblockState::Building,
    }
}

/// The file of a generation of a volume.
pub fn generation_file(
    volume: VolumeId,
    generation: u64,
    dir: DirId,
    store: [u8; 16],
) -> GenerationFile {
    let expected = Expected {
        volume,
        generation,
        store,
        hash_bits: None,
        segments_max: None,
        checkpoints: None,
    };
    GenerationFile { dir, expected }
}

async fn open_target(
    old: &Rc<Volume>,
    dir: DirId,
    superblock: Superblock,
    pace: Rc<SharedPace>,
) -> Result<Rc<Volume>, NotCompacted> {
    let handle = &old.handle;
    let failed = |error| NotCompacted::Io("open the new file", error);
    let block = handle.pool().alloc(BLOCK as usize);
    let block = block.ok_or(failed(IoError::Errno(nix::libc::ENOBUFS)))?;
    let name = volume_name(superblock.volume, superblock.generation);
    let opened = outcome(&handle.submit(Op::Open { dir, name, write: true }).await);
    let id = FileId(u32::try_from(opened.map_err(failed)?).expect("a file number"));
    let file = Rc::new(VolumeFile::with_stats(handle, id, Rc::clone(&old.file.stats)));
    let end = LogEnd { record_at: 0, tail: LOG_START, sequence: 0, record_checksum: 0, version: 0 };
    let hint = TailHint {
        number: 0,
        epoch: handle.random(),
        tail: 0,
        sequence: 0,
        record_checksum: 0,
        version: 0,
        clean: false,
    };
    let (incarnation, log_end) = (superblock.incarnation, superblock.log_end());
    let log = AppendLog::new(handle, block, incarnation, superblock.size, log_end, end, hint);
    if superblock.ro_compat & PARTIAL != 0 {
        log.begin_partial();
        log.extend_reserved(LOG_START + step_len(superblock.size));
    }
    let figures = (CheckpointFigures::default(), false);
    let checkpoints =
        Checkpoints::new(handle, dir, old.checkpoints.queue(), old.checkpoints.policy(), figures);
    let open_report = OpenReport {
        superblock: Vec::new(),
        hint_damaged: false,
        commits: 0,
        end,
        ending: Ending::Open,
    };
    Ok(Rc::new(Volume {
        handle: handle.clone(),
        dir,
        file,
        superblock_state: Cell::new(superblock.state),
        revision: Cell::new(superblock.revision),
        ro_compat: Cell::new(superblock.ro_compat),
        superblock_turn: KeyLocks::new(handle),
        incompat: Cell::new(superblock.incompat),
        history_from: Cell::new(superblock.history_from),
        verified_ns: Cell::new(superblock.verified_ns),
        replica: Cell::new(superblock.replica),
        cluster: RefCell::new(superblock.cluster.clone()),
        was_full: Cell::new(false),
        write_state: Cell::new(WriteState::Building),
        hasher: old.hasher,
        contents: RefCell::new(Contents::new(Index::for_volume(superblock.size))),
        log,
        extents: Cell::new(0),
        damage: RefCell::default(),
        open_report,
        index_is_incomplete: false,
        checkpoints,
        steps: BlockSteps::new(handle, superblock.size, None),
        pace,
        superblock,
    }))
}

/// Closes the file of a generation that was not finished.
pub async fn close_target(new: Rc<Volume>) {
    new.checkpoints.stop().await;
    new.file.close().await;
}

/// Removes the file of a generation that was not finished, if it is there. Returns whether it is certainly
/// gone.
pub async fn discard_target(handle: &Handle, target: GenerationFile) -> bool {
    let (volume, generation) = (target.expected.volume.0, target.generation());
    let Err(error) = remove_others(handle, &mut vec![target]).await else { return true };
    tracing::warn!(
        volume,
        "the unfinished generation {generation} could not be removed: {error}; the next start removes it"
    );
    false
}
