//! Data directories: one per disk, marked by `hayloft.toml`, locked by one daemon, full of volume files.
//!
//! Start-up code: it blocks, and runs before any shard does. It knows file names, not what is in a
//! volume. Files of volumes are created, renamed and removed by the volume engine, through the seam.

mod distinct;
mod error;
mod lock;
mod marker;
mod names;
mod undo;

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub use distinct::check_distinct;
pub use error::DataDirError;
pub use marker::{FORMAT, StoreId};
pub use names::{LOCK, MARKER, PROBE};

use lock::Lock;
use marker::{Marker, sync_directory};
use names::Name;
use undo::Undo;

use crate::new_name::{self, parent_of};

/// A data directory that is open, and as a rule locked. Dropping it releases the lock.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    marker: Marker,
    removed: Vec<OsString>,
    unknown: Vec<OsString>,
    /// Dropped before the lock.
    undo: Undo,
    lock: Option<Lock>,
}

/// A volume file found in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeFile {
    /// Volume id, as in URLs.
    pub id: u32,
    /// Generation of the file: compaction writes the next one. The highest is not always the valid one.
    pub generation: u64,
    /// Path of the file, below the directory as configured.
    pub path: PathBuf,
    /// Its name: `{id}.{generation}.vol`.
    pub file_name: String,
}

impl DataDir {
    /// Opens a data directory and locks it.
    ///
    /// With `create`, an absent directory is made (mode 0700; its parent must exist, so that a disk that
    /// is not mounted is noticed), and an empty one becomes a data directory. Waits up to half a second
    /// for the lock. Removes what an interrupted creation of a volume left behind, and logs files it does
    /// not know, which it leaves alone.
    ///
    /// # Errors
    /// [`DataDirError`]. [`DataDirError::is_absent`] tells a disk that is not there from one that is in
    /// the wrong state. Nothing is changed in a directory that is not a data directory.
    pub fn open(path: &Path, create: bool) -> Result<Self, DataDirError> {
        let directory = Self::open_on_trial(path, create)?;
        directory.keep();
        Ok(directory)
    }

    /// As [`DataDir::open`]. Until [`DataDir::keep`], what opening made (the directory, its marker, its lock
    /// file) is removed again when this is dropped, unless there are other files in the directory by then.
    ///
    /// # Errors
    /// As [`DataDir::open`].
    pub fn open_on_trial(path: &Path, create: bool) -> Result<Self, DataDirError> {
        let mut undo = Undo::new(path);
        let newly_made = ensure_directory(path, create)?;
        undo.directory = newly_made;
        // Before the lock, which leaves a file: a foreign directory stays as it is.
        check_is_ours(path, create)?;
        let (lock, is_new) = Lock::take(path)?;
        undo.lock = is_new;
        let marker = match Marker::read(path)? {
            Some(marker) => marker,
            None => {
                undo.marker = true;
                initialise(path, newly_made)?
            }
        };
        let mut directory = Self {
            path: path.to_owned(),
            marker,
            removed: Vec::new(),
            unknown: Vec::new(),
            undo,
            lock: Some(lock),
        };
        directory.tidy()?;
        Ok(directory)
    }

    /// What opening made stays.
    pub fn keep(&self) {
        self.undo.disarm();
    }

    /// Looks whether [`DataDir::open`] would find a data directory here, and changes nothing.
    ///
    /// # Errors
    /// [`DataDirError`], but for those of the lock and the marker.
    pub fn look(path: &Path) -> Result<(), DataDirError> {
        ensure_directory(path, false)?;
        check_is_ours(path, false)
    }

    /// Opens a data directory only to read what is in it: nothing is made, removed or synced. The lock is
    /// shared with others who only read; no daemon can take it meanwhile. Where there is no lock file
    /// that can be opened (a file system mounted read-only that never had one, the rights of this user),
    /// goes on without: see [`DataDir::is_locked`].
    ///
    /// # Errors
    /// [`DataDirError`], also when it is empty or no data directory.
    pub fn open_read_only(path: &Path) -> Result<Self, DataDirError> {
        ensure_directory(path, false)?;
        check_is_ours(path, false)?;
        let lock = Lock::share(path)?;
        Ok(Self { lock, ..Self::read_unlocked(path)? })
    }

    /// Reads what marks a data directory and which files are in it, without a lock: a daemon may have it
    /// or take it meanwhile. Nothing is changed.
    ///
    /// # Errors
    /// As [`DataDir::open`] without `create`, but for the lock.
    pub fn read_unlocked(path: &Path) -> Result<Self, DataDirError> {
        ensure_directory(path, false)?;
        check_is_ours(path, false)?;
        let empty = || DataDirError::Empty { path: path.to_owned() };
        let marker = Marker::look(path)?.ok_or_else(empty)?;
        let (removed, unknown) = (Vec::new(), Vec::new());
        Ok(Self {
            path: path.to_owned(),
            marker,
            removed,
            unknown,
            undo: Undo::new(path),
            lock: None,
        })
    }

    /// As [`DataDir::read_unlocked`], and looks whether the lock could be asked for, too. Changes nothing.
    ///
    /// # Errors
    /// As [`DataDir::open`] without `create`, but for a lock that another process has.
    pub fn look_to_open(path: &Path) -> Result<Self, DataDirError> {
        Self::look(path)?;
        lock::look(path)?;
        Self::read_unlocked(path)
    }

    /// Whether [`DataDir::open`] could make a data directory here, of one that is absent or empty.
    /// Changes nothing.
    ///
    /// # Errors
    /// As [`DataDir::open`] with `create`, but for a lock that another process has.
    pub fn look_for_new(path: &Path) -> Result<(), DataDirError> {
        match ensure_directory(path, false) {
            Ok(_) => {
                check_is_ours(path, true)?;
                lock::look(path)
            }
            // A symbolic link that points nowhere.
            Err(DataDirError::Missing { .. }) if fs::symlink_metadata(path).is_ok() => {
                Err(not_a_directory(path))
            }
            Err(DataDirError::Missing { .. }) => {
                let parent = parent_of(path).unwrap_or(path);
                new_name::check(parent).map_err(|error| cannot_create(path, error))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens several, which must be distinct; the first error ends it and releases those opened. A daemon
    /// that goes on without a missing disk calls [`check_distinct`] and opens each.
    ///
    /// # Errors
    /// As [`check_distinct`] and [`DataDir::open`].
    pub fn open_all(paths: &[PathBuf], create: bool) -> Result<Vec<Self>, DataDirError> {
        check_distinct(paths)?;
        paths.iter().map(|path| Self::open(path, create)).collect()
    }

    /// The directory, as configured.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id drawn when the directory was made.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.marker.store_id
    }

    /// Whether it is sure that no daemon has it, or takes it while it is open.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// When the directory was made: RFC 3339, in UTC, to the second.
    #[must_use]
    pub fn created(&self) -> &str {
        &self.marker.created
    }

    /// Unfinished files of volumes and checkpoints that opening removed, sorted.
    #[must_use]
    pub fn removed_leftovers(&self) -> &[OsString] {
        &self.removed
    }

    /// Names found at opening that mean nothing to this build, sorted.
    #[must_use]
    pub fn unknown_names(&self) -> &[OsString] {
        &self.unknown
    }

    /// The volume files there are now, by id and then generation. Two generations of one volume are both
    /// listed: which one is valid stands in the files.
    ///
    /// # Errors
    /// [`DataDirError::NotAVolume`] when something else has the name of a volume: to pass over it would
    /// answer 404 for photos that may well exist. [`DataDirError::Io`] when the directory cannot be read.
    pub fn volumes(&self) -> Result<Vec<VolumeFile>, DataDirError> {
        let mut volumes = Vec::new();
        for name in names_in(&self.path)? {
            let Some(file_name) = name.to_str() else {
                continue;
            };
            let Name::Volume { id, generation } = Name::parse(file_name) else {
                continue;
            };
            let path = self.path.join(file_name);
            if !is_regular_file(&path)? {
                return Err(DataDirError::NotAVolume { path });
            }
            volumes.push(VolumeFile { id, generation, path, file_name: file_name.to_owned() });
        }
        volumes.sort_unstable_by_key(|volume| (volume.id, volume.generation));
        Ok(volumes)
    }

    /// Where a volume's file is, or is to be: `DIR/{id}.{generation}.vol`.
    #[must_use]
    pub fn volume_path(&self, id: u32, generation: u64) -> PathBuf {
        self.path.join(names::volume(id, generation))
    }

    /// Where a volume's file is while it is being created: `DIR/{id}.{generation}.vol.tmp`. What a crash
    /// leaves there is removed when the directory is opened again.
    #[must_use]
    pub fn volume_temporary_path(&self, id: u32, generation: u64) -> PathBuf {
        self.path.join(names::volume_temporary(id, generation))
    }

    /// Where a volume's index is saved: `DIR/{id}.{generation}.ckpt`.
    #[must_use]
    pub fn checkpoint_path(&self, id: u32, generation: u64) -> PathBuf {
        self.path.join(names::checkpoint(id, generation))
    }

    /// Only at opening, under the lock: later, a temporary file may be a volume in the making.
    fn tidy(&mut self) -> Result<(), DataDirError> {
        for name in names_in(&self.path)? {
            let path = self.path.join(&name);
            match name.to_str().map_or(Name::Unknown, Name::parse) {
                Name::VolumeTemporary | Name::CheckpointTemporary if is_regular_file(&path)? => {
                    match fs::remove_file(&path) {
                        Ok(()) => {
                            tracing::info!(path = %path.display(), "removed an unfinished file");
                            self.removed.push(name);
                        }
                        // It costs space and no more: the volumes beside it can be served.
                        Err(error) => {
                            tracing::warn!(
                                path = %path.display(),
                                %error,
                                "cannot remove an unfinished file; remove it by hand"
                            );
                        }
                    }
                }
                Name::VolumeTemporary | Name::CheckpointTemporary | Name::Unknown => {
                    self.unknown.push(name);
                }
                Name::Marker | Name::Housekeeping | Name::Volume { .. } | Name::Checkpoint => {}
            }
        }
        if !self.unknown.is_empty() {
            tracing::warn!(
                path = %self.path.display(),
                names = ?self.unknown,
                "unknown files in the data directory are left alone; move them away"
            );
        }
        Ok(())
    }
}

impl DataDirError {
    /// Whether the directory, or the disk it is on, is not there, rather than in the wrong state: the
    /// daemon may go on without it and answer 503 for volumes it does not know.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::NoParent { .. } | Self::Empty { .. })
    }

    /// Whether the disk itself fails, or its file system has stopped to take writes: no other directory
    /// is the worse for it.
    #[must_use]
    pub fn is_of_the_disk(&self) -> bool {
        use nix::libc::{EIO, ENODEV, ENXIO, EROFS, EUCLEAN};
        let Self::Io { source, .. } = self else { return false };
        source.raw_os_error().is_some_and(|n| [EIO, ENODEV, ENXIO, EROFS, EUCLEAN].contains(&n))
    }

    /// Whether another user, such as the one that the daemon runs as, may be permitted what this one is not.
    #[must_use]
    pub fn is_of_this_user(&self) -> bool {
        matches!(self, Self::Permission { source, .. } if new_name::is_of_this_user(source))
    }
}

/// How many volume files are in these directories, as far as they can be listed.
#[must_use]
pub fn count_volumes(paths: &[PathBuf]) -> u64 {
    let names = paths.iter().flat_map(|path| names_in(path).unwrap_or_default());
    let is_volume = |name: &OsString| {
        name.to_str().is_some_and(|name| matches!(Name::parse(name), Name::Volume { .. }))
    };
    names.filter(is_volume).count() as u64
}

/// One of the volume files in a directory, if there is one that can be seen.
#[must_use]
pub fn any_volume(path: &Path) -> Option<PathBuf> {
    let is_volume = |name: &OsString| {
        name.to_str().is_some_and(|name| matches!(Name::parse(name), Name::Volume { .. }))
    };
    let name = names_in(path).ok()?.into_iter().find(is_volume)?;
    Some(path.join(name))
}

/// Makes sure that there is a directory; says whether it was made just now.
fn ensure_directory(path: &Path, create: bool) -> Result<bool, DataDirError> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => return Ok(false),
        Ok(_) => return Err(not_a_directory(path)),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(not_a_directory(path));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(DataDirError::io("look at", path, error));
        }
        Err(_) if !create => {
            return Err(DataDirError::Missing { path: path.to_owned() });
        }
        Err(_) => {}
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            tracing::info!(path = %path.display(), "created the data directory");
            Ok(true)
        }
        // Another process was faster; or it is a symbolic link that points nowhere.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if path.is_dir() {
                Ok(false)
            } else {
                Err(not_a_directory(path))
            }
        }
        Err(error) => Err(cannot_create(path, error)),
    }
}

/// Why an absent directory cannot be made.
fn cannot_create(path: &Path, error: io::Error) -> DataDirError {
    match error.kind() {
        io::ErrorKind::NotFound => {
            let parent = parent_of(path).unwrap_or(path).to_owned();
            let path = path.to_owned();
            // proc says so of every new name.
            match parent.is_dir() {
                true => DataDirError::NoNewNames { path, parent, source: error },
                false => DataDirError::NoParent { path, parent },
            }
        }
        io::ErrorKind::NotADirectory => not_a_directory(path),
        _ => DataDirError::io("create", path, error),
    }
}

/// Names the topmost component that is no directory.
fn not_a_directory(path: &Path) -> DataDirError {
    let obstacle = path
        .ancestors()
        .filter(|above| fs::metadata(above).is_ok_and(|there| !there.is_dir()))
        .last()
        .unwrap_or(path);
    DataDirError::NotADirectory { path: path.to_owned(), obstacle: obstacle.to_owned() }
}

/// Whether the directory is a data directory, or may become one.
fn check_is_ours(path: &Path, create: bool) -> Result<(), DataDirError> {
    let (mut volumes, mut others) = (Vec::new(), Vec::new());
    for name in names_in(path)? {
        match name.to_str().map_or(Name::Unknown, Name::parse) {
            Name::Marker => return Ok(()),
            Name::Housekeeping => {}
            Name::Volume { .. }
            | Name::VolumeTemporary
            | Name::Checkpoint
            | Name::CheckpointTemporary => volumes.push(name),
            Name::Unknown => others.push(name),
        }
    }
    let path = path.to_owned();
    if !volumes.is_empty() {
        return Err(DataDirError::MarkerLost { path, names: volumes });
    }
    if !others.is_empty() {
        return Err(DataDirError::Foreign { path, names: others });
    }
    if !create {
        return Err(DataDirError::Empty { path });
    }
    Ok(())
}

/// Makes an empty directory a data directory. The entry in its parent is made durable first, so that a
/// marker is proof that the directory itself survives a power cut.
fn initialise(path: &Path, newly_made: bool) -> Result<Marker, DataDirError> {
    let canonical = fs::canonicalize(path)
        .map_err(|error| DataDirError::io("find the parent of", path, error))?;
    if let Some(parent) = canonical.parent() {
        match sync_directory(parent) {
            // Made by someone else, in a directory we may not read: theirs to make durable.
            Err(error @ DataDirError::Permission { .. }) if !newly_made => {
                tracing::debug!(%error, "the parent of the data directory is not synced");
            }
            result => result?,
        }
    }
    let marker = Marker::create(path)?;
    tracing::info!(path = %path.display(), store_id = %marker.store_id, "made a data directory");
    Ok(marker)
}

/// All names in a directory, sorted, so that logs and errors do not depend on the file system.
fn names_in(path: &Path) -> Result<Vec<OsString>, DataDirError> {
    let mut names = fs::read_dir(path)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<io::Result<Vec<_>>>()
        })
        .map_err(|error| DataDirError::io("list", path, error))?;
    names.sort_unstable();
    Ok(names)
}

/// Symbolic links are not followed: a volume must lie on the disk its directory stands for.
fn is_regular_file(path: &Path) -> Result<bool, DataDirError> {
    fs::symlink_metadata(path)
        .map(|there| there.is_file())
        .map_err(|error| DataDirError::io("look at", path, error))
}

#[cfg(test)]
mod tests;
