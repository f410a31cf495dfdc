//! The data directories, before any shard runs.

use std::path::{Path, PathBuf};

use super::error::StartError;
use super::space::place_of;
use super::store::Store;
use super::volume_files::volumes;
use super::{generations, medium};
use crate::base::new_name;
use crate::node::board::DiskState;
use crate::node::config::Config;
use crate::node::datadir::{self, DataDir, DataDirError};

/// How a configured data directory is used.
enum DirUse {
    /// The directory is open.
    Used(DataDir),
    /// All configured directories are absent or empty: this one is to be created.
    New,
    /// The daemon runs without the directory, because of this error.
    Out(DiskState, DataDirError),
}

/// Decides how all data directories are used, from the results of opening them. New ones are created only
/// when all are absent or empty. Otherwise an absent or empty directory is a disk that is not mounted: only
/// its volumes are unavailable. The same holds for a failing disk, as long as another directory could be
/// opened.
fn dir_uses(present: Vec<Result<DataDir, DataDirError>>) -> Vec<Result<DirUse, DataDirError>> {
    let is_new = present.iter().all(|dir| dir.as_ref().is_err_and(DataDirError::is_absent));
    let works = present.iter().any(Result::is_ok);
    let dir_use = |present: Result<DataDir, DataDirError>| match present {
        Ok(dir) => Ok(DirUse::Used(dir)),
        Err(error) if error.is_absent() && is_new => Ok(DirUse::New),
        Err(error) if error.is_absent() => Ok(DirUse::Out(DiskState::Missing, error)),
        Err(error) if error.is_of_the_disk() && works => Ok(DirUse::Out(DiskState::Failed, error)),
        Err(error) => Err(error),
    };
    present.into_iter().map(dir_use).collect()
}

/// Opens and locks all data directories, and creates new ones.
///
/// # Errors
/// [`StartError`]: a directory cannot be used, and the daemon cannot run without it.
pub fn open(config: &Config) -> Result<Vec<Store>, StartError> {
    datadir::check_distinct(&config.data)?;
    for warning in check_mediums(config, medium::check)? {
        tracing::warn!("{warning}");
    }
    let present = config.data.iter().map(|path| DataDir::open_on_trial(path, false)).collect();
    let mut stores = Vec::new();
    for (path, dir_use) in config.data.iter().zip(dir_uses(present)) {
        let (dir, state) = match dir_use? {
            DirUse::Used(dir) => (Some(dir), DiskState::Ok),
            DirUse::New => (Some(DataDir::open_on_trial(path, true)?), DiskState::Ok),
            DirUse::Out(state, error) => {
                let until = match state {
                    DiskState::Missing => "it is mounted again and the daemon restarted",
                    _ => "the disk works again and the daemon is restarted",
                };
                tracing::error!("{error}. Its volumes are unavailable until {until}");
                (None, state)
            }
        };
        stores.push(Store { path: path.clone(), dir, state });
    }
    Ok(stores)
}

/// Result of [`look`] at the data directories.
pub struct Seen {
    /// Findings that do not prevent the start, and checks that need the rights of another user.
    pub warnings: Vec<String>,
    /// True if all directories exist or will be created, and hold no volume: the start creates volume 1.
    pub lack_a_volume: bool,
    /// Absent directories that the start creates.
    new: Vec<PathBuf>,
}

impl Seen {
    /// Whether the parent directory of `file` is absent now and created by the start before the file is.
    pub fn will_be_made(&self, file: &Path) -> bool {
        let parent = new_name::parent_of(file);
        self.new.iter().any(|path| parent == Some(path))
    }
}

/// Checks whether [`open`] would succeed, without changing anything or taking a lock.
///
/// # Errors
/// The error with which the start would fail.
pub fn look(config: &Config) -> Result<Seen, StartError> {
    datadir::check_distinct(&config.data)?;
    let mut warnings = check_mediums(config, medium::look)?;
    let present = config.data.iter().map(|path| DataDir::look_to_open(path)).collect();
    let (mut stores, mut new, mut is_whole) = (Vec::new(), Vec::new(), true);
    for (path, dir_use) in config.data.iter().zip(dir_uses(present)) {
        let looked = dir_use.and_then(|dir_use| match dir_use {
            DirUse::New => DataDir::look_for_new(path).map(|()| DirUse::New),
            other => Ok(other),
        });
        let (dir, state) = match looked {
            Ok(DirUse::Used(dir)) => (Some(dir), DiskState::Ok),
            Ok(DirUse::New) => {
                new.extend((!path.exists()).then(|| path.clone()));
                (None, DiskState::Ok)
            }
            Ok(DirUse::Out(state, error)) => {
                warnings.push(format!("{error}. Its volumes would be out"));
                (None, state)
            }
            // The daemon may run as another user.
            Err(error) if error.is_of_this_user() => {
                warnings.push(format!("not checked, as this user: {error}"));
                (None, DiskState::Failed)
            }
            Err(error) => return Err(error.into()),
        };
        is_whole &= state == DiskState::Ok;
        stores.push(Store { path: path.clone(), dir, state });
    }
    let volumes = volumes(&stores)?;
    warnings.extend(generations::look(&stores, &volumes, is_whole));
    Ok(Seen { warnings, lack_a_volume: volumes.is_empty() && is_whole, new })
}

/// Check of a file system: [`medium::check`] or [`medium::look`].
type LookAtMedium = fn(&Path, &Path, Option<&Path>) -> Result<Option<String>, StartError>;

/// Checks the file systems of the data directories, before anything is opened or created: of the directories
/// that exist, and, when all are to be created, of those that they will be created in. Returns warnings.
/// With `buffered` nothing is checked.
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
        // Any other error of a directory is reported when it is opened.
        if found.is_err() && !(is_new && is_absent(found)) {
            continue;
        }
        let Some(place) = place_of(path) else { continue };
        warnings.extend(look_at(path, place, datadir::any_volume(path).as_deref())?);
    }
    Ok(warnings)
}
