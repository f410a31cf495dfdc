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
use crate::node::control::NewClusterVolume;
use crate::node::datadir::{DataDir, DataDirError};
use crate::runtime::Handle;
use crate::runtime::op::{DirId, Op};
use crate::volume::{
    self, ClusterProperties, ClusterSettings, IoError, Preallocation, Superblock, SuperblockState,
};

/// A volume found in the data directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundVolume {
    /// Volume id.
    pub id: VolumeId,
    /// Its files, at least one, by ascending generation. Which of them counts is decided when it is opened.
    pub files: Vec<FoundFile>,
}

/// A volume file found in a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Position of its data directory in the configuration.
    pub store: usize,
    /// Generation of the file.
    pub generation: u64,
}

impl FoundVolume {
    /// A volume with one file.
    pub fn single(id: VolumeId, store: usize, generation: u64) -> Self {
        Self { id, files: vec![FoundFile { store, generation }] }
    }
}

/// Returns all volumes of the open directories with all their files, by volume id.
///
/// # Errors
/// [`StartError::DataDir`] if a directory cannot be listed.
pub fn volumes(stores: &[Store]) -> Result<Vec<FoundVolume>, StartError> {
    let mut found: BTreeMap<VolumeId, Vec<FoundFile>> = BTreeMap::new();
    for (store, dir) in stores.iter().enumerate() {
        let Some(dir) = &dir.dir else { continue };
        for file in dir.volumes()? {
            let generation = file.generation;
            found.entry(file.id).or_default().push(FoundFile { store, generation });
        }
    }
    let volume = |(id, mut files): (VolumeId, Vec<FoundFile>)| {
        files.sort_by_key(|file| (file.generation, file.store));
        FoundVolume { id, files }
    };
    Ok(found.into_iter().map(volume).collect())
}

/// Returns the path of a file that has the id of a volume to be created, if there is one in an open
/// directory. A volume that is not in the tables of the daemon may have one: it was copied there since the
/// start.
///
/// # Errors
/// [`DataDirError`] if a directory cannot be listed.
pub fn file_of(stores: &[Store], id: VolumeId) -> Result<Option<PathBuf>, DataDirError> {
    for dir in stores.iter().filter_map(|store| store.dir.as_ref()) {
        if let Some(file) = dir.volumes()?.into_iter().find(|file| file.id == id) {
            return Ok(Some(file.path));
        }
    }
    Ok(None)
}

/// Whether all configured data directories are in use.
pub fn all_in_use(stores: &[Store]) -> bool {
    stores.iter().all(|store| store.dir.is_some())
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
        verified_ns: 0,
        replica: None,
        cluster: None,
    }
}

/// Returns the properties of a new volume of a cluster.
pub fn cluster_properties(new: &NewClusterVolume) -> ClusterProperties {
    let NewClusterVolume { collection, placement, ttl } = new.clone();
    let settings = ClusterSettings { placement, ..ClusterSettings::default() };
    ClusterProperties { settings, ttl, collection, key_floor: 0 }
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
