//! Opening a volume file: validate it, recover the log, write a seal and a hint, start to serve.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::expected::Expected;
use super::hints::{Hints, read_hints};
use super::open_context::OpenContext;
use super::open_report::OpenReport;
use super::superblock_copies::{check, newest, read_copies, settle_superblock};
use super::write_state::{ReadOnlyReason, WriteState};
use crate::base::limits::BLOCK;
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::background::SharedPace;
use crate::runtime::buffer::Buf;
use crate::runtime::op::{DirId, FileId, Op};
use crate::runtime::{Handle, KeyLocks};
use crate::volume::blocks;
use crate::volume::blocks::block_steps::BlockSteps;
use crate::volume::blocks::first_step::reserve_first;
use crate::volume::blocks::step::step_len;
use crate::volume::checkpoint::CheckpointFigures;
use crate::volume::checkpoint::checkpoints::Checkpoints;
use crate::volume::checkpoint::load::{Loaded, load};
use crate::volume::checkpoint::task::start;
use crate::volume::error::{IoError, OpenError, Undecided};
use crate::volume::format::{PARTIAL, Superblock, TailHint};
use crate::volume::io::{VolumeFile, outcome};
use crate::volume::log::append_log::AppendLog;
use crate::volume::log::committer;
use crate::volume::log::recover::{Recovered, RecoveryInput, recover};
use crate::volume::log::scan::{ScanBuffer, WINDOW};
use crate::volume::names::volume_name;
use crate::volume::{Hasher, Volume};

/// Opens a volume file and recovers it. When this returns, the volume serves.
///
/// # Errors
/// See [`OpenError`]. Damage inside the log is not an error: the volume reports it.
pub async fn open(
    handle: &Handle,
    dir: DirId,
    expected: &Expected,
) -> Result<Rc<Volume>, OpenError> {
    open_for(handle, dir, expected, OpenMode::Serve, NO_CONTEXT).await
}

/// No progress callback, no checkpoint queue, and no data directory that is not in use.
const NO_CONTEXT: OpenContext<'static> =
    OpenContext { progress: &|_| (), checkpoint_queue: None, pace: None, all_directories: true };

/// Opens a volume as [`open`] does, with a progress callback and the checkpoint queue of its shard.
///
/// # Errors
/// See [`OpenError`].
pub async fn open_with(
    handle: &Handle,
    dir: DirId,
    expected: &Expected,
    context: OpenContext<'_>,
) -> Result<Rc<Volume>, OpenError> {
    open_for(handle, dir, expected, OpenMode::Serve, context).await
}

/// Opens a volume file read-only, and recovers it as [`open`] does, but only in memory: the file is not
/// changed. The volume takes no writes. What opening for writing would have repaired is in its
/// [`OpenReport`].
///
/// # Errors
/// See [`OpenError`].
pub async fn open_read_only(
    handle: &Handle,
    dir: DirId,
    expected: &Expected,
) -> Result<Rc<Volume>, OpenError> {
    open_for(handle, dir, expected, OpenMode::Inspect, NO_CONTEXT).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenMode {
    Serve,
    Inspect,
}

async fn open_for(
    handle: &Handle,
    dir: DirId,
    expected: &Expected,
    mode: OpenMode,
    context: OpenContext<'_>,
) -> Result<Rc<Volume>, OpenError> {
    // Buffers first, so that a lack of buffers is found before any other step.
    let window = handle.pool().alloc(usize::try_from(WINDOW).expect("about 1.5 MiB"));
    let memory = ScanBuffer::new(Some(window.ok_or(OpenError::NoBuffer)?));
    let block = handle.pool().alloc(BLOCK as usize).ok_or(OpenError::NoBuffer)?;
    let name = volume_name(expected.volume, expected.generation);
    let write = mode == OpenMode::Serve;
    let opened = outcome(&handle.submit(Op::Open { dir, name, write }).await);
    let number = opened.map_err(|error| OpenError::Io("open the file", error))?;
    let id = FileId(u32::try_from(number).expect("a file number"));
    let file = Rc::new(VolumeFile::new(handle, id));
    let (place, buffers) = ((dir, id, Rc::clone(&file)), (block, memory));
    let opened = open_file(handle, place, buffers, expected, mode, context).await;
    if opened.is_err() {
        file.close().await;
    }
    opened
}

/// Everything that follows relies on what is read from here on. It must not be something that only a cache of
/// the device or the kernel holds and that a power cut could still undo.
async fn sync_first(file: &VolumeFile) -> Result<(), OpenError> {
    if chosen(Sabotage::SkipSyncAtOpen) {
        return Ok(());
    }
    file.sync().await.map_err(|error| OpenError::Io("sync the file", error))
}

/// The tail hint on which recovery relies: the log goes at least that far.
fn trusted(hint: Option<TailHint>) -> Option<TailHint> {
    hint.filter(|_| !chosen(Sabotage::IgnoreHint))
}

/// A torn end of the log is what a power cut leaves, and no reason to refuse the volume.
fn expect_usable(recovered: &Recovered) -> Result<(), OpenError> {
    match recovered.torn {
        Some(_) if chosen(Sabotage::RefuseTornTail) => {
            Err(OpenError::Io("recover the log", IoError::Errno(nix::libc::EIO)))
        }
        _ => Ok(()),
    }
}

async fn open_file(
    handle: &Handle,
    (dir, id, file): (DirId, FileId, Rc<VolumeFile>),
    (block, memory): (Buf, ScanBuffer),
    expected: &Expected,
    mode: OpenMode,
    context: OpenContext<'_>,
) -> Result<Rc<Volume>, OpenError> {
    if mode == OpenMode::Serve {
        sync_first(&file).await?;
    }
    let len = outcome(&handle.submit(Op::FileLen { file: id }).await);
    let len = len.map_err(|error| OpenError::Io("read the length of the file", error))?;
    let copies = read_copies(handle, &file, len).await?;
    let (superblock, bad_copies) = newest(&copies).map_err(OpenError::Superblock)?;
    check(&superblock, expected, len)?;
    let (superblock, repaired) = match mode {
        OpenMode::Serve if may_have_moved(&superblock, context) => {
            return Err(Undecided::MayHaveMoved(superblock.generation).into());
        }
        OpenMode::Serve => settle_superblock(handle, &file, superblock, &bad_copies).await,
        OpenMode::Inspect => (superblock, Ok(())),
    };

    let hasher = match expected.hash_bits {
        None => Hasher::new(superblock.hash_seed),
        Some(bits) => Hasher::with_bits(superblock.hash_seed, bits),
    };
    let Hints { newest: hint, damaged: hint_damaged, unread } =
        read_hints(handle, &file, &superblock).await?;
    let input = RecoveryInput {
        file: &file,
        memory: &memory,
        incarnation: superblock.incarnation,
        log_end: superblock.log_end(),
        hint: trusted(hint),
        hasher,
        size: superblock.size,
        segments_max: expected.segments_max.unwrap_or(usize::MAX),
        progress: context.progress,
    };
    let policy = expected.checkpoints.filter(|_| mode == OpenMode::Serve);
    let (recovered, figures, exact) = match policy {
        Some(_) => recover_from_checkpoint(handle, dir, &superblock, &input).await,
        None => (recover(&input, None).await, CheckpointFigures::default(), false),
    };
    expect_usable(&recovered)?;
    let queue = context.checkpoint_queue.cloned();
    let checkpoints = Checkpoints::new(handle, dir, queue, policy, (figures, exact));
    let unread = unread + recovered.unread;
    let readable = unread == 0 || chosen(Sabotage::UnreadIsEmpty);
    let epoch = if mode == OpenMode::Serve { handle.random() } else { 0 };
    let log = continued_log(handle, block, &superblock, hint, &recovered, epoch);
    let mut step_error = None;
    let write_state = match mode {
        OpenMode::Serve => {
            let begin = if readable { repaired } else { Err(IoError::Errno(nix::libc::EIO)) };
            let begin = match begin {
                Ok(()) => first_step(&log, &file, &superblock, &recovered).await,
                failed => failed.map(|()| None),
            };
            let begin = begin.map(|error| step_error = error);
            begin_epoch(&log, &file, &superblock, &recovered, begin).await
        }
        OpenMode::Inspect => WriteState::ReadOnly(ReadOnlyReason::Inspection),
    };
    let steps = BlockSteps::new(handle, superblock.size, step_error);
    let open_report = OpenReport {
        superblock: bad_copies,
        hint_damaged,
        commits: recovered.commits,
        end: recovered.end,
        ending: recovered.ending,
    };
    let extents = Cell::new(file.extents().await);
    let volume = Rc::new(Volume {
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
        write_state: Cell::new(write_state),
        superblock,
        hasher,
        contents: RefCell::new(recovered.contents),
        log,
        extents,
        damage: RefCell::new(recovered.damage),
        open_report,
        index_is_incomplete: !readable,
        checkpoints,
        steps,
        pace: context.pace.map_or_else(|| Rc::new(SharedPace::alone(handle)), |of| of(dir)),
    });
    if mode == OpenMode::Serve {
        handle.spawn(committer::run(Rc::clone(&volume)));
        start(&volume);
        blocks::task::start(&volume);
    }
    Ok(volume)
}

/// Whether a newer generation may be in a data directory that is not in use.
fn may_have_moved(superblock: &Superblock, context: OpenContext<'_>) -> bool {
    let is_ruled_out = context.all_directories || chosen(Sabotage::IgnoreMissingDirectory);
    superblock.is_moving() && !is_ruled_out
}

/// Recovers from the checkpoint and the log after it, if there is a checkpoint that the log confirms;
/// otherwise reads the whole log. Also returns whether the checkpoint is exact: it contains nothing from
/// after its covered position.
async fn recover_from_checkpoint(
    handle: &Handle,
    dir: DirId,
    superblock: &Superblock,
    log: &RecoveryInput<'_>,
) -> (Recovered, CheckpointFigures, bool) {
    let mut figures = CheckpointFigures::default();
    let mut exact = false;
    let why = match load(handle, dir, superblock, log).await {
        Loaded::Absent => None,
        Loaded::Unusable(why) => Some(why),
        Loaded::Usable(saved, len) => {
            (figures.tail, figures.len) = (saved.covers.tail, len);
            exact = saved.covers == saved.reached;
            let reached = saved.reached.tail;
            let recovered = recover(log, Some(*saved)).await;
            if recovered.end.tail >= reached || chosen(Sabotage::CheckpointBeforeLog) {
                figures.opened_from = recovered.began;
                figures.opened_read = recovered.bytes_read;
                return (recovered, figures, exact);
            }
            figures = CheckpointFigures::default();
            exact = false;
            Some("the log ends before its reached position".to_owned())
        }
    };
    if let Some(why) = why {
        figures.discarded = 1;
        tracing::warn!(
            volume = superblock.volume.0,
            "the checkpoint cannot be used: {why}; reading the whole log instead"
        );
    }
    let recovered = recover(log, None).await;
    figures.opened_from = recovered.began;
    figures.opened_read = recovered.bytes_read;
    (recovered, figures, exact)
}

/// Creates the append side, which continues where the recovered log ends.
fn continued_log(
    handle: &Handle,
    block: Buf,
    superblock: &Superblock,
    hint: Option<TailHint>,
    recovered: &Recovered,
    epoch: u64,
) -> AppendLog {
    let last = TailHint {
        number: hint.map_or(0, |hint| hint.number),
        epoch,
        tail: 0,
        sequence: 0,
        record_checksum: 0,
        version: 0,
        clean: false,
    };
    let (incarnation, log_end) = (superblock.incarnation, superblock.log_end());
    let mut end = recovered.end;
    end.sequence -= u64::from(end.sequence > 0 && chosen(Sabotage::ReuseSequence));
    let log = AppendLog::new(handle, block, incarnation, superblock.size, log_end, end, last);
    if superblock.ro_compat & PARTIAL != 0 {
        log.begin_partial();
    }
    log
}

/// Reserves the first step of a partial file, so that the volume takes writes when it is open. Returns the
/// error of the step, with which the volume serves all the same.
async fn first_step(
    log: &AppendLog,
    file: &VolumeFile,
    superblock: &Superblock,
    recovered: &Recovered,
) -> Result<Option<IoError>, IoError> {
    if superblock.ro_compat & PARTIAL == 0 {
        return Ok(None);
    }
    let (step, seals) = (step_len(superblock.size), recovered.torn.is_some());
    let failed = reserve_first(log, file, step, seals).await?;
    if let Some(error) = failed {
        let reserved = log.reserved_end() - log.tail();
        tracing::warn!(
            volume = superblock.volume.0,
            "cannot reserve more blocks of the volume file: {error}; {reserved} bytes are reserved, and \
             uploads that do not fit into them are answered with 507; this is tried again; free space on the \
             disk"
        );
    }
    Ok(failed)
}

/// Writes the seal of a torn tail and a hint with the recovered end of the log, before anything else is
/// written. If that is not possible, the volume is poisoned. Returns whether it may be written.
async fn begin_epoch(
    log: &AppendLog,
    file: &VolumeFile,
    superblock: &Superblock,
    recovered: &Recovered,
    repaired: Result<(), IoError>,
) -> WriteState {
    let state = WriteState::opened(superblock.state);
    // After a failed write nothing more is written. If sectors could not be read, their content is
    // unknown, and the log might be continued over acknowledged data.
    let begun = match repaired {
        Ok(()) => write_seal_and_hint(log, file, recovered).await,
        failed => failed,
    };
    let Err(error) = begun else { return state };
    tracing::error!(
        volume = superblock.volume.0,
        "the volume cannot be read in full or written to ({error}): it serves reads only until \
         the daemon is restarted; check the kernel log and the disk"
    );
    if chosen(Sabotage::WriteAfterFailure) { state } else { state.poison(error) }
}

async fn write_seal_and_hint(
    log: &AppendLog,
    file: &VolumeFile,
    recovered: &Recovered,
) -> Result<(), IoError> {
    if let Some(seal) = recovered.torn {
        log.seal(file, seal).await?;
    }
    log.write_hint(file, false).await
}
