//! Removing a volume file and its checkpoint.

use thiserror::Error;

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

/// Removes the file of a generation that nobody has served.
///
/// # Errors
/// That of the removal, or of syncing the directory.
pub async fn remove_file(
    handle: &Handle,
    dir: DirId,
    volume: VolumeId,
    generation: u64,
) -> Result<(), IoError> {
    match remove(handle, dir, volume, generation).await {
        Ok(()) => Ok(()),
        Err(NotRemoved::Kept(error) | NotRemoved::Nameless(error)) => Err(error),
    }
}

/// Removes a volume's file and its checkpoint from `dir`. When this returns, the name of the file is
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
    // The checkpoint first, so that it does not remain alone. If it remains all the same, it does no harm:
    // it carries the incarnation of its volume file, so it is not used for a new file of the same name.
    for name in
        [checkpoint_name(volume, generation), unfinished_checkpoint_name(volume, generation)]
    {
        handle.submit(Op::Unlink { dir, name }).await;
    }
    let name = volume_name(volume, generation);
    outcome(&handle.submit(Op::Unlink { dir, name }).await).map_err(NotRemoved::Kept)?;
    sync_dir(handle, dir).await.map_err(NotRemoved::Nameless)
}
