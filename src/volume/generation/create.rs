//! Creating a volume file atomically: after a crash it exists completely or not at all.

use crate::base::limits::{BLOCK, LOG_START, TRAILER};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::Handle;
use crate::runtime::op::{DirId, FileId, Op, Piece};
use crate::volume::blocks::step::step_len;
use crate::volume::error::IoError;
use crate::volume::format::{PARTIAL, Superblock, SuperblockState, superblock_offsets};
use crate::volume::io::{VolumeFile, outcome};
use crate::volume::names::{unfinished_volume_name, volume_name};
use crate::volume::sync_dir::sync_dir;

/// How space is allocated for a new file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preallocation {
    /// Space is reserved. The file system records each block as written at its first write, which costs
    /// every small commit a second flush.
    #[default]
    Reserve,
    /// Every block is written once with zeros.
    Zeroed,
    /// The file gets its whole length, and the blocks before the log, of a first step of the log and after
    /// the log are reserved. The open volume reserves the others in steps. A file that the first step covers
    /// is reserved as a whole.
    InSteps,
}

/// Length of one write while zeroing (bytes).
const ZERO_PIECE: u64 = 1 << 20;

/// Creates the file of `superblock` in `dir`. When this returns, the complete file exists under its name,
/// on stable media; before that there is no file under that name. `progress` is called from time to time
/// with the number of bytes prepared.
///
/// # Errors
/// The step that failed, and the error of the operation. The file is removed.
pub async fn create(
    handle: &Handle,
    dir: DirId,
    superblock: &Superblock,
    preallocation: Preallocation,
    progress: impl Fn(u64),
) -> Result<(), (&'static str, IoError)> {
    create_file(handle, dir, superblock, preallocation, progress).await.map(drop)
}

/// As [`create`]. Returns the superblock as it is in the file.
pub(in crate::volume) async fn create_file(
    handle: &Handle,
    dir: DirId,
    superblock: &Superblock,
    preallocation: Preallocation,
    progress: impl Fn(u64),
) -> Result<Superblock, (&'static str, IoError)> {
    let (volume, generation) = (superblock.volume, superblock.generation);
    let finished = volume_name(volume, generation);
    let unfinished = unfinished_volume_name(volume, generation);
    let op = Op::Create { dir, name: unfinished.clone() };
    let created = outcome(&handle.submit(op).await);
    let created = created.map_err(|error| ("create the file", error))?;
    let id = FileId(u32::try_from(created).expect("a file number"));
    let file = VolumeFile::new(handle, id);
    let result = fill(handle, &file, superblock, preallocation, progress).await;
    file.close().await;
    let superblock = match result {
        Ok(superblock) => superblock,
        Err(error) => {
            handle.submit(Op::Unlink { dir, name: unfinished }).await;
            return Err(error);
        }
    };
    // The content is durable before the file gets its name, so the name never leads to an unfinished
    // file.
    let op = Op::Rename { dir, from: unfinished.clone(), to: finished.clone(), replace: false };
    if let Err(error) = outcome(&handle.submit(op).await) {
        handle.submit(Op::Unlink { dir, name: unfinished }).await;
        return Err(("name the file", error));
    }
    if superblock.state == SuperblockState::Building && chosen(Sabotage::NamelessGeneration) {
        return Ok(superblock);
    }
    if let Err(error) = sync_dir(handle, dir).await {
        // With a file of this name no volume of this number could be created before the next start.
        handle.submit(Op::Unlink { dir, name: finished }).await;
        return Err(("sync the directory", error));
    }
    Ok(superblock)
}

async fn fill(
    handle: &Handle,
    file: &VolumeFile,
    superblock: &Superblock,
    preallocation: Preallocation,
    progress: impl Fn(u64),
) -> Result<Superblock, (&'static str, IoError)> {
    let superblock = reserve(file, superblock, preallocation).await?;
    if preallocation == Preallocation::Zeroed {
        zero(handle, file, superblock.size, progress)
            .await
            .map_err(|error| ("zero the file", error))?;
    }
    for offset in superblock_offsets(superblock.size) {
        let no_buffer = || ("get a buffer", IoError::Errno(nix::libc::ENOBUFS));
        let mut buf = handle.pool().alloc(BLOCK as usize).ok_or_else(no_buffer)?;
        superblock.encode(&mut buf);
        let written = file.write_block(buf, offset).await;
        written.map_err(|error| ("write the superblock", error))?;
    }
    file.sync().await.map_err(|error| ("sync the file", error))?;
    Ok(superblock)
}

/// Reserves the blocks of a new file. Returns its superblock, which says whether all are reserved.
async fn reserve(
    file: &VolumeFile,
    superblock: &Superblock,
    preallocation: Preallocation,
) -> Result<Superblock, (&'static str, IoError)> {
    let (size, log_end) = (superblock.size, superblock.log_end());
    let first_end = LOG_START + step_len(size);
    let is_partial = preallocation == Preallocation::InSteps && first_end < log_end;
    let failed = |error| ("reserve space for the file", error);
    if !is_partial {
        file.allocate(0, size).await.map_err(failed)?;
        return Ok(superblock.clone());
    }
    file.set_len(size).await.map_err(|error| ("set the length of the file", error))?;
    file.allocate(0, first_end).await.map_err(failed)?;
    file.allocate(log_end, TRAILER).await.map_err(failed)?;
    Ok(Superblock { ro_compat: superblock.ro_compat | PARTIAL, ..superblock.clone() })
}

async fn zero(
    handle: &Handle,
    file: &VolumeFile,
    size: u64,
    progress: impl Fn(u64),
) -> Result<(), IoError> {
    let len = ZERO_PIECE.min(size);
    let buf = handle.pool().alloc(usize::try_from(len).expect("at most 1 MiB"));
    let mut buf = buf.ok_or(IoError::Errno(nix::libc::ENOBUFS))?;
    buf.fill(0);
    let mut offset = 0;
    while offset < size {
        let len = u32::try_from(len.min(size - offset)).expect("at most 1 MiB");
        let piece = Piece { buf: 0, start: 0, len };
        let mut bufs = file.write(vec![buf], vec![piece], offset, false).await?;
        buf = bufs.pop().expect("one buffer");
        offset += u64::from(len);
        progress(offset);
    }
    Ok(())
}
