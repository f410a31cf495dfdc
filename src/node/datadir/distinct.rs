//! Detects configured data directories that are the same: by another spelling, a symbolic link, a bind mount.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::DataDirError;
use crate::base::new_name::parent_of;

/// DirectoryIdentity of a directory, independent of its path.
#[derive(PartialEq, Eq)]
enum DirectoryIdentity {
    /// Device and inode of an existing directory.
    Present(u64, u64),
    /// Device and inode of the parent of an absent directory, and its name there.
    Absent(u64, u64, OsString),
}

/// Checks that no two of `paths` are the same directory, existing or yet to be created.
///
/// Paths that cannot be inspected are skipped: opening them reports the error.
///
/// # Errors
/// [`DataDirError::Same`] names the first such pair.
pub fn check_distinct(paths: &[PathBuf]) -> Result<(), DataDirError> {
    let mut seen: Vec<(DirectoryIdentity, &PathBuf)> = Vec::new();
    for path in paths {
        let Some(identity) = identity(path) else {
            continue;
        };
        if let Some((_, first)) = seen.iter().find(|(earlier, _)| *earlier == identity) {
            return Err(DataDirError::Same { first: (*first).clone(), second: path.clone() });
        }
        seen.push((identity, path));
    }
    Ok(())
}

fn identity(path: &Path) -> Option<DirectoryIdentity> {
    if let Ok(there) = fs::metadata(path) {
        return Some(DirectoryIdentity::Present(there.dev(), there.ino()));
    }
    let parent = fs::metadata(parent_of(path)?).ok()?;
    let name = path.file_name()?.to_owned();
    Some(DirectoryIdentity::Absent(parent.dev(), parent.ino(), name))
}
