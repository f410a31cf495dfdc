//! The running import of a directory, and the files in the directory.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use walkdir::{DirEntry, WalkDir};

use super::escape::escape;
use super::ledger::Ledger;
use super::progress::locked;
use super::run::Run;
use crate::commands::transfer::file::Stamp;

/// A running import of a directory.
pub(super) struct Import<'a> {
    pub run: &'a Run<'a>,
    pub root: &'a Path,
    pub ledger: &'a Mutex<Ledger>,
}

impl Import<'_> {
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        locked(self.ledger)
    }

    /// Formats a path relative to the root for messages.
    pub fn shown(&self, path: &[u8]) -> String {
        if path.is_empty() { self.root.display().to_string() } else { escape(path) }
    }

    /// Returns the files of the ledger, with the paths that the walk yields.
    pub fn own_files(&self) -> Vec<PathBuf> {
        self.ledger().own_files().iter().filter_map(|path| absolute(path)).collect()
    }

    /// Walks all entries below the root, in the order of their names. Hidden entries are skipped and passed
    /// to `skipped`, unless the plan includes them.
    pub fn walk<'w>(
        &'w self,
        mut skipped: impl FnMut(&DirEntry) + 'w,
    ) -> impl Iterator<Item = walkdir::Result<DirEntry>> + 'w {
        let wanted = move |entry: &DirEntry| {
            let skip = !self.run.plan.hidden
                && entry.depth() > 0
                && entry.file_name().as_bytes().starts_with(b".");
            if skip {
                skipped(entry);
            }
            !skip
        };
        WalkDir::new(self.root).min_depth(1).sort_by_file_name().into_iter().filter_entry(wanted)
    }

    /// Returns a path of the walk relative to the root, as bytes.
    pub fn relative<'p>(&self, path: &'p Path) -> &'p [u8] {
        path.strip_prefix(self.root).unwrap_or(path).as_os_str().as_bytes()
    }

    /// Returns size and time of the regular file at a path relative to the root; `None` if it is gone, or a
    /// directory now.
    ///
    /// # Errors
    /// The error of the file system. An error, too, if the path now has another type: then it is not known
    /// whether the file was moved or deleted.
    pub fn file(&self, path: &[u8]) -> io::Result<Option<Stamp>> {
        match self.root.join(OsStr::from_bytes(path)).symlink_metadata() {
            Ok(metadata) if metadata.is_file() => Ok(Some(Stamp::of(&metadata))),
            Ok(metadata) if metadata.is_dir() => Ok(None),
            Ok(_) => Err(io::Error::other("it is no regular file any more")),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
                _ => Err(error),
            },
        }
    }
}

/// Returns a path in the form that the walk yields: absolute, with a canonical parent.
fn absolute(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}
