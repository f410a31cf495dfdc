//! The data directories and the volume files in them, before any shard runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{StartError, medium};
use crate::config::{Config, Prealloc};
use crate::datadir::{self, DataDir, DataDirError};
use crate::limits::UNIT;
use crate::metrics::DiskState;
use crate::op::{DirId, Op};
use crate::runtime::Handle;
use crate::sys;
use crate::types::VolumeId;
use crate::volume::{self, IoError, Preallocation, Superblock, VolumeState};

/// A data directory as configured.
pub struct Store {
    /// Its path.
    pub path: PathBuf,
    /// The directory, locked; absent when it is not there, or its disk fails.
    pub dir: Option<DataDir>,
    state: DiskState,
}

impl Store {
    /// What `/status` says of it at the start.
    pub fn state(&self) -> DiskState {
        self.state
    }
}

/// A volume file found.
#[derive(Clone, Debug)]
pub struct FoundVolume {
    /// Position of its data directory.
    pub store: usize,
    /// Its number.
    pub id: u32,
    /// Generation of the file.
    pub generation: u64,
}

/// Opens and locks all data directories. New ones are made only when none has ever been used: else
/// one that is empty or absent is a disk that is not mounted, and takes only its volumes out. So does a
/// disk that fails, as long as another one works.
pub fn open(config: &Config) -> Result<Vec<Store>, StartError> {
    datadir::check_distinct(&config.data)?;
    check_mediums(config)?;
    let present: Vec<Result<DataDir, DataDirError>> =
        config.data.iter().map(|path| DataDir::open_on_trial(path, false)).collect();
    let is_new = present.iter().all(|dir| dir.as_ref().is_err_and(DataDirError::is_absent));
    let works = present.iter().any(Result::is_ok);
    let mut stores = Vec::new();
    for (path, present) in config.data.iter().zip(present) {
        let (dir, state) = match present {
            Ok(dir) => (Some(dir), DiskState::Ok),
            Err(error) if error.is_absent() && is_new => {
                (Some(DataDir::open_on_trial(path, true)?), DiskState::Ok)
            }
            Err(error) if error.is_absent() => {
                tracing::error!(
                    "{error}. Its volumes are out until it is mounted again and the daemon restarted"
                );
                (None, DiskState::Missing)
            }
            Err(error) if error.is_of_the_disk() && works => {
                tracing::error!(
                    "{error}. Its volumes are out until the disk works again and the daemon is restarted"
                );
                (None, DiskState::Failed)
            }
            Err(error) => return Err(error.into()),
        };
        stores.push(Store { path: path.clone(), dir, state });
    }
    Ok(stores)
}

/// What [`open`] would say about the data directories, without changing anything or taking a lock: what
/// would go on, as warnings.
///
/// # Errors
/// What the start would end with.
pub fn look(config: &Config) -> Result<Vec<String>, StartError> {
    datadir::check_distinct(&config.data)?;
    let present: Vec<_> = config.data.iter().map(|path| DataDir::read_unlocked(path)).collect();
    let is_new = present.iter().all(|dir| dir.as_ref().is_err_and(DataDirError::is_absent));
    let works = present.iter().any(Result::is_ok);
    let (mut stores, mut warnings) = (Vec::new(), Vec::new());
    for (path, present) in config.data.iter().zip(present) {
        let (dir, state) = match present {
            Ok(dir) => (Some(dir), DiskState::Ok),
            Err(error) if error.is_absent() && is_new => {
                DataDir::look_for_new(path)?;
                (None, DiskState::Ok)
            }
            Err(error) if error.is_absent() => {
                warnings.push(format!("{error}. Its volumes would be out"));
                (None, DiskState::Missing)
            }
            Err(error) if error.is_of_the_disk() && works => {
                warnings.push(format!("{error}. Its volumes would be out"));
                (None, DiskState::Failed)
            }
            // The daemon may be another user.
            Err(error @ DataDirError::Permission { .. }) => {
                warnings.push(format!("not checked, as this user: {error}"));
                (None, DiskState::Failed)
            }
            Err(error) => return Err(error.into()),
        };
        stores.push(Store { path: path.clone(), dir, state });
    }
    volumes(&stores)?;
    Ok(warnings)
}

/// Checks what the data directories are on, before anything is opened or made: of those that are there, and,
/// when all are to be made, of the directories that they will be made in.
fn check_mediums(config: &Config) -> Result<(), StartError> {
    if config.buffered {
        return Ok(());
    }
    let looked: Vec<_> = config.data.iter().map(|path| (path, DataDir::look(path))).collect();
    let is_absent =
        |found: &Result<(), DataDirError>| found.as_ref().is_err_and(DataDirError::is_absent);
    let is_new = looked.iter().all(|(_, found)| is_absent(found));
    for (path, found) in &looked {
        // What else is wrong with a directory shows when it is opened.
        if found.is_err() && !(is_new && is_absent(found)) {
            continue;
        }
        let place = if path.exists() { Some(path.as_path()) } else { datadir::parent_of(path) };
        if let Some(warning) = place.map_or(Ok(None), |place| medium::check(path, place))? {
            tracing::warn!("{warning}");
        }
    }
    Ok(())
}

/// All volume files, by volume.
pub fn volumes(stores: &[Store]) -> Result<Vec<FoundVolume>, StartError> {
    let mut found: BTreeMap<u32, FoundVolume> = BTreeMap::new();
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

/// What a new volume of this size (bytes) in this store will be.
pub fn superblock(dir: &DataDir, id: u32, size: u64) -> Superblock {
    Superblock {
        compat: 0,
        ro_compat: 0,
        incompat: 0,
        volume: VolumeId(id),
        incarnation: super::random(),
        parent: 0,
        generation: 0,
        state: VolumeState::Live,
        size,
        unit: u32::try_from(UNIT).expect("512"),
        chunk: u32::try_from(crate::limits::CHUNK).expect("64 KiB"),
        hash_seed: super::random(),
        store: dir.store_id().0.to_be_bytes(),
        created_ns: sys::wall_ns(),
        revision: 1,
    }
}

/// How new files get their space.
pub fn preallocation(config: &Config) -> Preallocation {
    match config.prealloc {
        Prealloc::Fallocate => Preallocation::Reserve,
        Prealloc::Zeroed => Preallocation::Zeroed,
    }
}

/// Creates the file of a volume that [`superblock`] made up. `progress` as [`volume::create`].
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
