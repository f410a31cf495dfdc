//! The data directories and the volume files in them, before any shard runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{StartError, disks, medium};
use crate::config::{Config, Prealloc};
use crate::datadir::{self, DataDir, DataDirError};
use crate::limits::UNIT;
use crate::metrics::DiskState;
use crate::new_name;
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

/// What becomes of a configured data directory.
enum Fate {
    /// It is used.
    Used(DataDir),
    /// None was ever used: it is to be made.
    New,
    /// The daemon does without it, because of this.
    Out(DiskState, DataDirError),
}

/// Decides about all data directories, by what came of opening them. New ones are made only when none has
/// ever been used: else one that is empty or absent is a disk that is not mounted, and takes only its volumes
/// out. So does a disk that fails, as long as another one works.
fn fates(present: Vec<Result<DataDir, DataDirError>>) -> Vec<Result<Fate, DataDirError>> {
    let is_new = present.iter().all(|dir| dir.as_ref().is_err_and(DataDirError::is_absent));
    let works = present.iter().any(Result::is_ok);
    let fate = |present: Result<DataDir, DataDirError>| match present {
        Ok(dir) => Ok(Fate::Used(dir)),
        Err(error) if error.is_absent() && is_new => Ok(Fate::New),
        Err(error) if error.is_absent() => Ok(Fate::Out(DiskState::Missing, error)),
        Err(error) if error.is_of_the_disk() && works => Ok(Fate::Out(DiskState::Failed, error)),
        Err(error) => Err(error),
    };
    present.into_iter().map(fate).collect()
}

/// Opens and locks all data directories, and makes new ones.
pub fn open(config: &Config) -> Result<Vec<Store>, StartError> {
    datadir::check_distinct(&config.data)?;
    for warning in check_mediums(config, medium::check)? {
        tracing::warn!("{warning}");
    }
    let present = config.data.iter().map(|path| DataDir::open_on_trial(path, false)).collect();
    let mut stores = Vec::new();
    for (path, fate) in config.data.iter().zip(fates(present)) {
        let (dir, state) = match fate? {
            Fate::Used(dir) => (Some(dir), DiskState::Ok),
            Fate::New => (Some(DataDir::open_on_trial(path, true)?), DiskState::Ok),
            Fate::Out(state, error) => {
                let until = match state {
                    DiskState::Missing => "it is mounted again and the daemon restarted",
                    _ => "the disk works again and the daemon is restarted",
                };
                tracing::error!("{error}. Its volumes are out until {until}");
                (None, state)
            }
        };
        stores.push(Store { path: path.clone(), dir, state });
    }
    Ok(stores)
}

/// What was seen of the data directories.
pub struct Seen {
    /// What would go on, and what this user cannot see.
    pub warnings: Vec<String>,
    /// All are there or to be made, and have no volume: the start makes the first one.
    pub lack_a_volume: bool,
    /// Absent directories that the start makes.
    new: Vec<PathBuf>,
}

impl Seen {
    /// Whether a file lies in a directory that will be there by the time that the file is made.
    pub fn will_be_made(&self, file: &Path) -> bool {
        let parent = new_name::parent_of(file);
        self.new.iter().any(|path| parent == Some(path))
    }
}

/// What [`open`] would say about the data directories, without changing anything or taking a lock.
///
/// # Errors
/// What the start would end with.
pub fn look(config: &Config) -> Result<Seen, StartError> {
    datadir::check_distinct(&config.data)?;
    let mut warnings = check_mediums(config, medium::look)?;
    let present = config.data.iter().map(|path| DataDir::look_to_open(path)).collect();
    let (mut stores, mut new, mut is_whole) = (Vec::new(), Vec::new(), true);
    for (path, fate) in config.data.iter().zip(fates(present)) {
        let looked = fate.and_then(|fate| match fate {
            Fate::New => DataDir::look_for_new(path).map(|()| Fate::New),
            other => Ok(other),
        });
        let (dir, state) = match looked {
            Ok(Fate::Used(dir)) => (Some(dir), DiskState::Ok),
            Ok(Fate::New) => {
                new.extend((!path.exists()).then(|| path.clone()));
                (None, DiskState::Ok)
            }
            Ok(Fate::Out(state, error)) => {
                warnings.push(format!("{error}. Its volumes would be out"));
                (None, state)
            }
            // The daemon may be another user.
            Err(error) if error.is_of_this_user() => {
                warnings.push(format!("not checked, as this user: {error}"));
                (None, DiskState::Failed)
            }
            Err(error) => return Err(error.into()),
        };
        is_whole &= state == DiskState::Ok;
        stores.push(Store { path: path.clone(), dir, state });
    }
    Ok(Seen { warnings, lack_a_volume: volumes(&stores)?.is_empty() && is_whole, new })
}

/// Where a data directory is, or will be made.
fn place_of(path: &Path) -> Option<&Path> {
    if path.exists() { Some(path) } else { new_name::parent_of(path) }
}

/// Whether the first volume fits into the first data directory, as far as its file system says. Without a
/// look, a reservation that must fail takes all there is for a moment, and writes of other programs fail
/// meanwhile.
///
/// # Errors
/// [`StartError::Create`].
pub fn check_room(config: &Config) -> Result<(), StartError> {
    let size = config.volume_size.bytes();
    let has_room = |place| disks::space(place).map_or(true, |(free, _)| free >= size);
    if place_of(&config.data[0]).is_none_or(has_room) {
        return Ok(());
    }
    Err(not_created(config, "reserve space for the file", IoError::Errno(nix::libc::ENOSPC)))
}

/// Why the first volume could not be created.
pub fn not_created(config: &Config, what: &'static str, error: IoError) -> StartError {
    let (path, size) = (config.data[0].clone(), config.volume_size);
    StartError::Create { id: 1, path, what, error, size }
}

/// How a medium is looked at: [`medium::check`] or [`medium::look`].
type LookAtMedium = fn(&Path, &Path, Option<&Path>) -> Result<Option<String>, StartError>;

/// Checks what the data directories are on, before anything is opened or made: of those that are there, and,
/// when all are to be made, of the directories that they will be made in. What works and should be known
/// comes as warnings.
fn check_mediums(config: &Config, look_at: LookAtMedium) -> Result<Vec<String>, StartError> {
    if config.buffered {
        return Ok(Vec::new());
    }
    let looked: Vec<_> = config.data.iter().map(|path| (path, DataDir::look(path))).collect();
    let is_absent =
        |found: &Result<(), DataDirError>| found.as_ref().is_err_and(DataDirError::is_absent);
    let is_new = looked.iter().all(|(_, found)| is_absent(found));
    let mut warnings = Vec::new();
    for (path, found) in &looked {
        // What else is wrong with a directory shows when it is opened.
        if found.is_err() && !(is_new && is_absent(found)) {
            continue;
        }
        let Some(place) = place_of(path) else { continue };
        warnings.extend(look_at(path, place, datadir::any_volume(path).as_deref())?);
    }
    Ok(warnings)
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
