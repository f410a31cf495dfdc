//! The names in a directory, and the type of a file.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use super::error::DataDirError;

/// Returns all names in a directory, sorted, so that logs and errors do not depend on the file system.
pub(super) fn names_in(path: &Path) -> Result<Vec<OsString>, DataDirError> {
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
pub(super) fn is_regular_file(path: &Path) -> Result<bool, DataDirError> {
    fs::symlink_metadata(path)
        .map(|there| there.is_file())
        .map_err(|error| DataDirError::io("look at", path, error))
}
