//! An open data directory: opening, locking, and the paths of its files.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::directory::{
    cannot_create, check_is_ours, ensure_directory, initialise, not_a_directory,
};
use super::distinct::check_distinct;
use super::error::DataDirError;
use super::found_volume::{FoundVolume, volumes_in};
use super::listing::{is_regular_file, names_in};
use super::lock::{self, Lock};
use super::marker::{Marker, StoreId};
use super::names::{self, FileName};
use super::undo::Undo;
use crate::base::new_name::{self, parent_of};
use crate::base::types::VolumeId;

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

    /// Unfinished files of volumes and checkpoints, and checkpoints without a volume file, that opening
    /// removed, sorted.
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
    pub fn volumes(&self) -> Result<Vec<FoundVolume>, DataDirError> {
        volumes_in(&self.path)
    }

    /// Path of a volume file: `DIR/{id}.{generation}.vol`.
    #[must_use]
    pub fn volume_path(&self, id: VolumeId, generation: u64) -> PathBuf {
        self.path.join(names::volume(id, generation))
    }

    /// Path of a volume file while it is being created: `DIR/{id}.{generation}.vol.tmp`. A file left there by
    /// a crash is removed when the directory is opened again.
    #[must_use]
    pub fn volume_temporary_path(&self, id: VolumeId, generation: u64) -> PathBuf {
        self.path.join(names::volume_temporary(id, generation))
    }

    /// Path of the checkpoint of a volume: `DIR/{id}.{generation}.ckpt`.
    #[must_use]
    pub fn checkpoint_path(&self, id: VolumeId, generation: u64) -> PathBuf {
        self.path.join(names::checkpoint(id, generation))
    }

    /// Removes unfinished files and checkpoints without a volume file, and collects unknown names. Only at
    /// opening, under the lock: later, a temporary file may belong to a volume that is being created.
    fn tidy(&mut self) -> Result<(), DataDirError> {
        let names = names_in(&self.path)?;
        for name in &names {
            let path = self.path.join(name);
            let is_leftover = match name.to_str().map_or(FileName::Unknown, FileName::parse) {
                FileName::VolumeTemporary | FileName::CheckpointTemporary => true,
                FileName::Checkpoint { id, generation } => {
                    let volume = OsString::from(names::volume(id, generation));
                    !names.contains(&volume)
                }
                FileName::Unknown => {
                    self.unknown.push(name.clone());
                    false
                }
                FileName::Marker | FileName::Housekeeping | FileName::Volume { .. } => false,
            };
            match is_leftover {
                true if is_regular_file(&path)? => self.remove_leftover(name.clone(), &path),
                true => self.unknown.push(name.clone()),
                false => {}
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

    fn remove_leftover(&mut self, name: OsString, path: &Path) {
        match fs::remove_file(path) {
            Ok(()) => {
                tracing::info!(path = %path.display(), "removed a leftover file");
                self.removed.push(name);
            }
            // The file only uses space: the volumes can be served.
            Err(error) => {
                tracing::warn!(
                    path = %path.display(),
                    %error,
                    "cannot remove a leftover file; remove it by hand"
                );
            }
        }
    }
}
