//! Volume 1, which a start creates when its data directories hold no volume.

use super::control::Control;
use super::error::StartError;
use super::space::{place_of, space};
use super::store::Store;
use super::volume_files::{self, FoundVolume};
use crate::base::types::VolumeId;
use crate::node::config::Config;
use crate::volume::IoError;

/// Id of the first volume.
const FIRST: VolumeId = VolumeId(1);

/// What a daemon does at the start when its data directories hold no volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstVolume {
    /// Creates volume 1.
    Create,
    /// Creates none: the command that runs the daemon creates volumes as needed.
    Leave,
}

/// Returns all volumes found; creates volume 1 if there is none and `first` asks for it. A node of a cluster
/// creates none: the cluster does.
///
/// # Errors
/// [`StartError`]: the files cannot be listed, or volume 1 cannot be created.
pub fn find_volumes(
    control: &mut Control,
    stores: &[Store],
    config: &Config,
    first: FirstVolume,
) -> Result<Vec<FoundVolume>, StartError> {
    let mut volumes = volume_files::volumes(stores)?;
    let Store { path, dir, .. } = &stores[0];
    // Volume 1 may be on a disk that is missing.
    if volumes.is_empty()
        && first == FirstVolume::Create
        && !config.cluster.is_on()
        && volume_files::all_in_use(stores)
        && let Some(dir) = dir
    {
        let superblock = volume_files::superblock(dir, FIRST, config.volume_size.bytes());
        let (handle, preallocation) =
            (control.handle().clone(), volume_files::preallocation(config));
        let target = path.clone();
        check_room(config)?;
        let created = control.block_on(async move {
            volume_files::create(&handle, target, &superblock, preallocation, |_| ()).await
        });
        created.map_err(|(what, error)| not_created(config, what, error))?;
        tracing::info!("created volume 1 of {} in {}", config.volume_size, path.display());
        volumes.push(FoundVolume::single(FIRST, 0, 0));
    }
    Ok(volumes)
}

/// Checks that the first volume fits into the first data directory, as far as its file system reports free
/// space. Without this check, a reservation that fails would use up all space for a moment, and writes of
/// other programs would fail meanwhile.
///
/// # Errors
/// [`StartError::Create`] with ENOSPC.
pub fn check_room(config: &Config) -> Result<(), StartError> {
    let size = config.volume_size.bytes();
    let has_room = |place| space(place).map_or(true, |(free, _)| free >= size);
    if place_of(&config.data[0]).is_none_or(has_room) {
        return Ok(());
    }
    Err(not_created(config, "reserve space for the file", IoError::Errno(nix::libc::ENOSPC)))
}

/// The error for a first volume that could not be created; `what` is the step that failed.
fn not_created(config: &Config, what: &'static str, error: IoError) -> StartError {
    let (path, size) = (config.data[0].clone(), config.volume_size);
    StartError::Create { id: FIRST, path, what, error, size }
}
