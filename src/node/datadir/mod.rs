//! Data directories: one per disk, marked by `hayloft.toml`, locked by one daemon, with the volume files.
//!
//! Start-up code: it blocks, and runs before any shard does. It knows the file names, but not the contents of
//! volumes. Files of volumes are created, renamed and removed by the volume engine, through `op`.

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

use crate::base::new_name::{self, parent_of};

/// An open data directory; locked, except as described at [`DataDir::open_read_only`] and
/// [`DataDir::read_unlocked`]. Dropping it releases the lock.
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
    /// Path of the file: the directory as configured, and the file name.
    pub path: PathBuf,
    /// File name: `{id}.{generation}.vol`.
    pub file_name: String,
}

impl DataDir {
    /// Opens a data directory and locks it.
    ///
    /// With `create`, an absent directory is created (mode 0700; its parent must exist, so that a disk that
    /// is not mounted is noticed), and an empty one becomes a data directory. Waits up to half a second for
    /// the lock. Removes unfinished files of volumes and checkpoints, and logs unknown files, which it does
    /// not touch.
    ///
    /// # Errors
    /// [`DataDirError`]. [`DataDirError::is_absent`] distinguishes an absent disk from other errors. A
    /// directory that is not a data directory is not changed.
    pub fn open(path: &Path, create: bool) -> Result<Self, DataDirError> {
        let directory = Self::open_on_trial(path, create)?;
        directory.keep();
        Ok(directory)
    }

    /// As [`DataDir::open`], on trial: unless [`DataDir::keep`] is called, dropping the value removes what
    /// opening created (the directory, its marker, its lock file). The marker and the directory stay if there
    /// are other files in the directory by then.
    ///
    /// # Errors
    /// As [`DataDir::open`].
    pub fn open_on_trial(path: &Path, create: bool) -> Result<Self, DataDirError> {
        let mut undo = Undo::new(path);
        let newly_made = ensure_directory(path, create)?;
        undo.directory = newly_made;
        // Before the lock, which creates a file: a foreign directory must not be changed.
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

    /// Makes the directory, marker and lock file created by [`DataDir::open_on_trial`] permanent.
    pub fn keep(&self) {
        self.undo.disarm();
    }

    /// Checks whether [`DataDir::open`] would find a data directory here. Changes nothing.
    ///
    /// # Errors
    /// [`DataDirError`], except for errors of the lock and of the contents of the marker.
    pub fn look(path: &Path) -> Result<(), DataDirError> {
        ensure_directory(path, false)?;
        check_is_ours(path, false)
    }

    /// Opens a data directory for reading. Volumes and marker are not created, removed or synced. The lock is
    /// shared with other readers; no daemon can take it meanwhile. If the lock file can neither be opened nor
    /// created (a file system mounted read-only without a lock file, missing permissions), the directory is
    /// opened without a lock: see [`DataDir::is_locked`].
    ///
    /// # Errors
    /// [`DataDirError`], also when the directory is empty or no data directory.
    pub fn open_read_only(path: &Path) -> Result<Self, DataDirError> {
        ensure_directory(path, false)?;
        check_is_ours(path, false)?;
        let lock = Lock::share(path)?;
        Ok(Self { lock, ..Self::read_unlocked(path)? })
    }

    /// Opens a data directory for reading, without a lock: a daemon may have it locked, or lock it meanwhile.
    /// Changes nothing.
    ///
    /// # Errors
    /// As [`DataDir::open`] without `create`, except for errors of the lock.
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

    /// As [`DataDir::read_unlocked`], and checks that the lock file could be opened or created. Changes
    /// nothing.
    ///
    /// # Errors
    /// As [`DataDir::open`] without `create`, except that the lock may be held by another process.
    pub fn look_to_open(path: &Path) -> Result<Self, DataDirError> {
        Self::look(path)?;
        lock::look(path)?;
        Self::read_unlocked(path)
    }

    /// Checks that [`DataDir::open`] could create a data directory here, from an absent or empty directory.
    /// Changes nothing.
    ///
    /// # Errors
    /// As [`DataDir::open`] with `create`, except that the lock may be held by another process.
    pub fn look_for_new(path: &Path) -> Result<(), DataDirError> {
        match ensure_directory(path, false) {
            Ok(_) => {
                check_is_ours(path, true)?;
                lock::look(path)
            }
            // A dangling symbolic link.
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

    /// Opens several directories, which must be distinct. The first error closes those already opened.
    /// A daemon that tolerates a missing disk calls [`check_distinct`] and opens each directory itself.
    ///
    /// # Errors
    /// As [`check_distinct`] and [`DataDir::open`].
    pub fn open_all(paths: &[PathBuf], create: bool) -> Result<Vec<Self>, DataDirError> {
        check_distinct(paths)?;
        paths.iter().map(|path| Self::open(path, create)).collect()
    }

    /// Path of the directory, as configured.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Store id: the random id of the directory from its creation.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.marker.store_id
    }

    /// Whether this value holds the lock: then no daemon uses the directory while it is open.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Time of creation of the data directory: RFC 3339, in UTC, to the second.
    #[must_use]
    pub fn created(&self) -> &str {
        &self.marker.created
    }

    /// Unfinished files of volumes and checkpoints that opening removed, sorted.
    #[must_use]
    pub fn removed_leftovers(&self) -> &[OsString] {
        &self.removed
    }

    /// Unknown names found at opening, sorted.
    #[must_use]
    pub fn unknown_names(&self) -> &[OsString] {
        &self.unknown
    }

    /// Lists the present volume files, by id and then generation. Two generations of one volume are both
    /// listed: the contents of the files decide which one is valid.
    ///
    /// # Errors
    /// [`DataDirError::NotAVolume`] when a name of a volume belongs to something else than a file: ignoring
    /// it would answer 404 for photos that may exist. [`DataDirError::Io`] or [`DataDirError::Permission`]
    /// when the directory cannot be read.
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

    /// Path of a volume file: `DIR/{id}.{generation}.vol`.
    #[must_use]
    pub fn volume_path(&self, id: u32, generation: u64) -> PathBuf {
        self.path.join(names::volume(id, generation))
    }

    /// Path of a volume file while it is being created: `DIR/{id}.{generation}.vol.tmp`. A file left there by
    /// a crash is removed when the directory is opened again.
    #[must_use]
    pub fn volume_temporary_path(&self, id: u32, generation: u64) -> PathBuf {
        self.path.join(names::volume_temporary(id, generation))
    }

    /// Path of the checkpoint of a volume: `DIR/{id}.{generation}.ckpt`.
    #[must_use]
    pub fn checkpoint_path(&self, id: u32, generation: u64) -> PathBuf {
        self.path.join(names::checkpoint(id, generation))
    }

    /// Removes unfinished files, and collects unknown names. Only at opening, under the lock: later, a
    /// temporary file may belong to a volume that is being created.
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
                        // The file only uses space: the volumes can be served.
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
    /// Whether the directory, or its disk, is absent or empty. The daemon may then run without it, and answer
    /// 503 for volumes that it does not know.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::NoParent { .. } | Self::Empty { .. })
    }

    /// Whether the disk fails, or its file system has become read-only: other directories are not affected.
    #[must_use]
    pub fn is_of_the_disk(&self) -> bool {
        use nix::libc::{EIO, ENODEV, ENXIO, EROFS, EUCLEAN};
        let Self::Io { source, .. } = self else { return false };
        source.raw_os_error().is_some_and(|n| [EIO, ENODEV, ENXIO, EROFS, EUCLEAN].contains(&n))
    }

    /// Whether the error is a missing permission that another user, such as that of the daemon, may have.
    #[must_use]
    pub fn is_of_this_user(&self) -> bool {
        matches!(self, Self::Permission { source, .. } if new_name::is_of_this_user(source))
    }
}

/// Returns the number of volume files in these directories. One that cannot be listed counts as empty.
#[must_use]
pub fn count_volumes(paths: &[PathBuf]) -> u64 {
    let names = paths.iter().flat_map(|path| names_in(path).unwrap_or_default());
    let is_volume = |name: &OsString| {
        name.to_str().is_some_and(|name| matches!(Name::parse(name), Name::Volume { .. }))
    };
    names.filter(is_volume).count() as u64
}

/// Returns the first volume file in a directory; `None` if there is none, or the directory cannot be listed.
#[must_use]
pub fn any_volume(path: &Path) -> Option<PathBuf> {
    let is_volume = |name: &OsString| {
        name.to_str().is_some_and(|name| matches!(Name::parse(name), Name::Volume { .. }))
    };
    let name = names_in(path).ok()?.into_iter().find(is_volume)?;
    Some(path.join(name))
}

/// Checks that the directory exists, or with `create` creates it. Returns whether it was created.
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
        // Another process was faster, or the path is a dangling symbolic link.
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

/// Returns the error for an absent directory that cannot be created.
fn cannot_create(path: &Path, error: io::Error) -> DataDirError {
    match error.kind() {
        io::ErrorKind::NotFound => {
            let parent = parent_of(path).unwrap_or(path).to_owned();
            let path = path.to_owned();
            // The proc file system returns ENOENT for every new name.
            match parent.is_dir() {
                true => DataDirError::NoNewNames { path, parent, source: error },
                false => DataDirError::NoParent { path, parent },
            }
        }
        io::ErrorKind::NotADirectory => not_a_directory(path),
        _ => DataDirError::io("create", path, error),
    }
}

/// Returns an error that names the topmost component of `path` that is no directory.
fn not_a_directory(path: &Path) -> DataDirError {
    let obstacle = path
        .ancestors()
        .filter(|above| fs::metadata(above).is_ok_and(|there| !there.is_dir()))
        .last()
        .unwrap_or(path);
    DataDirError::NotADirectory { path: path.to_owned(), obstacle: obstacle.to_owned() }
}

/// Checks that the directory is a data directory, or with `create` is empty and may become one.
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

/// Makes an empty directory a data directory. Its entry in the parent directory is made durable first, so
/// that a marker proves that the directory itself survives a power cut.
fn initialise(path: &Path, newly_made: bool) -> Result<Marker, DataDirError> {
    let canonical = fs::canonicalize(path)
        .map_err(|error| DataDirError::io("find the parent of", path, error))?;
    if let Some(parent) = canonical.parent() {
        match sync_directory(parent) {
            // The directory was created by another user, in a parent that this process cannot read: that user
            // must make it durable.
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

/// Returns all names in a directory, sorted, so that logs and errors do not depend on the file system.
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

/// Whether a path is a regular file. Symbolic links are not followed: a volume must be on the disk of its
/// directory.
fn is_regular_file(path: &Path) -> Result<bool, DataDirError> {
    fs::symlink_metadata(path)
        .map(|there| there.is_file())
        .map_err(|error| DataDirError::io("look at", path, error))
}

#[cfg(test)]
mod tests;
