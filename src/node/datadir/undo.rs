//! Removes what opening a data directory created, when the start fails.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use super::listing::names_in;
use super::names::{FileName, LOCK, MARKER, MARKER_TEMPORARY};

/// Record of what opening a directory created. Dropping it removes these files, unless it was disarmed. The
/// marker stays if there are other files: a directory with volumes but without marker cannot be opened.
#[derive(Debug)]
pub(super) struct Undo {
    path: PathBuf,
    /// Whether the directory was created.
    pub(super) directory: bool,
    /// Whether the marker, or a part of it, was created.
    pub(super) marker: bool,
    /// Whether the lock file was created.
    pub(super) lock: bool,
    is_armed: Cell<bool>,
}

impl Undo {
    /// Creates an empty record.
    pub(super) fn new(path: &Path) -> Self {
        let (directory, marker, lock) = (false, false, false);
        Self { path: path.to_owned(), directory, marker, lock, is_armed: Cell::new(true) }
    }

    /// Makes everything created permanent.
    pub(super) fn disarm(&self) {
        self.is_armed.set(false);
    }

    /// Whether the directory has files that opening does not create, and that would be unusable without the
    /// marker. True if it cannot be listed.
    fn is_in_use(&self) -> bool {
        let Ok(names) = names_in(&self.path) else { return true };
        let mut names =
            names.iter().map(|name| name.to_str().map_or(FileName::Unknown, FileName::parse));
        names.any(|name| !matches!(name, FileName::Marker | FileName::Housekeeping))
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if !self.is_armed.get() {
            return;
        }
        // Errors are ignored: the next start then finds an empty data directory.
        if self.marker && !self.is_in_use() {
            let _ = fs::remove_file(self.path.join(MARKER));
            let _ = fs::remove_file(self.path.join(MARKER_TEMPORARY));
        }
        if self.lock {
            let _ = fs::remove_file(self.path.join(LOCK));
        }
        if self.directory && fs::remove_dir(&self.path).is_ok() {
            tracing::info!(path = %self.path.display(), "removed the new data directory again");
        }
    }
}
