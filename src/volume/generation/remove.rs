//! Removing the files of a volume and their checkpoints.

use thiserror::Error;

use super::expected::Expected;
use super::generation_file::GenerationFile;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::VolumeId;
use crate::runtime::Handle;
use crate::runtime::op::{DirId, Op};
use crate::volume::error::IoError;
use crate::volume::io::outcome;
use crate::volume::names::{checkpoint_name, unfinished_checkpoint_name, volume_name};
use crate::volume::sync_dir::sync_dir;

/// Reason why a volume file was not durably removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotRemoved {
    /// The file still exists.
    #[error("cannot remove the file: {0}")]
    Kept(IoError),
    /// The name is removed, but not durably: the file may be back after a power cut, or be gone with
    /// everything that is still written to it.
    #[error("cannot sync the directory: {0}; until a restart it serves reads and takes no writes")]
    Nameless(IoError),
}

/// Removes one file of a volume and its checkpoint from `dir`. When this returns, the name of the file is
/// durably removed. Its space is freed when no one has the file open any more.
///
/// # Errors
/// See [`NotRemoved`].
pub async fn remove(
    handle: &Handle,
    dir: DirId,
    volume: VolumeId,
    generation: u64,
) -> Result<(), NotRemoved> {
    unlink(handle, dir, volume, generation).await.map_err(NotRemoved::Kept)?;
    sync_dir(handle, dir).await.map_err(NotRemoved::Nameless)
}

async fn unlink(
    handle: &Handle,
    dir: DirId,
    volume: VolumeId,
    generation: u64,
) -> Result<(), IoError> {
    // The checkpoint first, so that it does not remain alone. If it remains all the same, it does no harm:
    // it carries the incarnation of its volume file, so it is not used for a new file of the same name. The
    // next start removes it.
    for name in
        [checkpoint_name(volume, generation), unfinished_checkpoint_name(volume, generation)]
    {
        handle.submit(Op::Unlink { dir, name }).await;
    }
    let name = volume_name(volume, generation);
    outcome(&handle.submit(Op::Unlink { dir, name }).await).map(drop)
}

/// Removes files of a volume that do not count, in the order of the list, each with its checkpoint. A file is
/// taken off the list once its removal is durable. A file that is not there counts as removed as soon as the
/// directory is synced: an earlier attempt may have failed at that.
///
/// # Errors
/// The error of the operation; the list has the files that are still there, or may be.
pub async fn remove_others(
    handle: &Handle,
    files: &mut Vec<GenerationFile>,
) -> Result<(), IoError> {
    while let Some(file) = files.first() {
        let (dir, Expected { volume, generation, .. }) = (file.dir, file.expected);
        match unlink(handle, dir, volume, generation).await {
            Err(IoError::Errno(nix::libc::ENOENT)) | Ok(()) => sync_dir(handle, dir).await?,
            failed => return failed,
        }
        files.remove(0);
    }
    Ok(())
}

/// Removes all files of a volume durably: first `others`, by ascending generation, then generation `current`
/// in `dir`. So an interruption leaves the volume as it was, or an unfinished file, and never an older
/// generation alone. Files whose removal is durable are taken off `others`.
///
/// # Errors
/// See [`NotRemoved`], of the current file. If one of the others cannot be removed, the current file is kept.
pub async fn remove_all(
    handle: &Handle,
    others: &mut Vec<GenerationFile>,
    (dir, volume, current): (DirId, VolumeId, u64),
) -> Result<(), NotRemoved> {
    if chosen(Sabotage::RemoveHighestFirst) {
        remove(handle, dir, volume, current).await?;
        return remove_others(handle, others).await.map_err(NotRemoved::Kept);
    }
    remove_others(handle, others).await.map_err(NotRemoved::Kept)?;
    remove(handle, dir, volume, current).await
}
