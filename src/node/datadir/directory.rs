//! Checks of a directory before it is opened, and making an empty one a data directory.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::error::DataDirError;
use super::listing::names_in;
use super::marker::{Marker, sync_directory};
use super::names::FileName;
use crate::base::new_name::parent_of;

/// Checks that the directory exists, or with `create` creates it. Returns whether it was created.
pub(super) fn ensure_directory(path: &Path, create: bool) -> Result<bool, DataDirError> {
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
pub(super) fn cannot_create(path: &Path, error: io::Error) -> DataDirError {
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
pub(super) fn not_a_directory(path: &Path) -> DataDirError {
    let obstacle = path
        .ancestors()
        .filter(|above| fs::metadata(above).is_ok_and(|there| !there.is_dir()))
        .last()
        .unwrap_or(path);
    DataDirError::NotADirectory { path: path.to_owned(), obstacle: obstacle.to_owned() }
}

/// Checks that the directory is a data directory, or with `create` is empty and may become one.
pub(super) fn check_is_ours(path: &Path, create: bool) -> Result<(), DataDirError> {
    let (mut volumes, mut others) = (Vec::new(), Vec::new());
    for name in names_in(path)? {
        match name.to_str().map_or(FileName::Unknown, FileName::parse) {
            FileName::Marker => return Ok(()),
            FileName::Housekeeping => {}
            FileName::Volume { .. }
            | FileName::VolumeTemporary
            | FileName::Checkpoint { .. }
            | FileName::CheckpointTemporary => volumes.push(name),
            FileName::Unknown => others.push(name),
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
pub(super) fn initialise(path: &Path, newly_made: bool) -> Result<Marker, DataDirError> {
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
