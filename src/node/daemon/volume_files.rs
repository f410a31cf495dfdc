//! The volume files in the data directories: the list at the start, and new ones.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::StartError;
use super::random::random;
use super::store::Store;
use crate::base::limits::{CHUNK, UNIT};
use crate::base::sys;
use crate::base::types::VolumeId;
use crate::node::config::{Config, Prealloc};
use crate::node::datadir::DataDir;
use crate::runtime::Handle;
use crate::runtime::op::{DirId, Op};
use crate::volume::{self, IoError, Preallocation, Superblock, SuperblockState};

/// A volume file found in a data directory.
#[derive(Clone, Debug)]
pub struct FoundVolume {
    /// Position of its data directory in the configuration.
    pub store: usize,
    /// Volume id.
    pub id: VolumeId,
    /// Generation of the file.
    pub generation: u64,
}

/// Returns all volume files of the open directories, by volume id.
///
/// # Errors
/// [`StartError::TwoFiles`] if a volume has two files; [`StartError::DataDir`] if a directory cannot be
/// listed.
pub fn volumes(stores: &[Store]) -> Result<Vec<FoundVolume>, StartError> {
    let mut found: BTreeMap<VolumeId, FoundVolume> = BTreeMap::new();
    for (store, dir) in stores.iter().enumerate() {
        let Some(dir) = &dir.dir else { continue };
        for file in dir.volumes()? {
            let volume = FoundVolume { store, id: file.id, generation: file.generation };
            if let Some(other) = found.insert(file.id, volume) {
                let first =
                    stores[other.store].path.join(volume::file_name(file.id, other.generation));
                return Err(StartError::TwoFiles { id: file.id, first, second: file.path });
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Returns the superblock of a new volume of `size` bytes in this data directory.
pub fn superblock(dir: &DataDir, id: VolumeId, size: u64) -> Superblock {
    Superblock {
        compat: 0,
        ro_compat: 0,
        incompat: 0,
        volume: id,
        incarnation: random(),
        parent: 0,
        generation: 0,
        state: SuperblockState::Live,
        size,
        unit: u32::try_from(UNIT).expect("512 fits u32"),
        chunk: u32::try_from(CHUNK).expect("64 KiB fits u32"),
        hash_seed: random(),
        store: dir.store_id().0.to_be_bytes(),
        created_ns: sys::wall_ns(),
        revision: 1,
        history_from: 0,
    }
}

/// How the space of new volume files is allocated, by the configuration.
pub fn preallocation(config: &Config) -> Preallocation {
    match config.prealloc {
        Prealloc::Fallocate => Preallocation::Reserve,
        Prealloc::Zeroed => Preallocation::Zeroed,
    }
}

/// Creates the file of a new volume in the directory `path`. `progress` as for [`volume::create`].
///
/// # Errors
/// The step that failed, and why.
pub async fn create(
    handle: &Handle,
    path: PathBuf,
    superblock: &Superblock,
    preallocation: Preallocation,
    progress: impl Fn(u64),
) -> Result<(), (&'static str, IoError)> {
    let opened = handle.submit(Op::OpenDir { path }).await.result;
    let errno = i32::try_from(-opened).unwrap_or(i32::MAX);
    let dir = u32::try_from(opened).map_err(|_| ("open the directory", IoError::Errno(errno)))?;
    volume::create(handle, DirId(dir), superblock, preallocation, progress).await
}
