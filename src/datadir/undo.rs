//! Takes back what opening a data directory made, when the start that made it is refused.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use super::names::{LOCK, MARKER, MARKER_TEMPORARY, Name};
use super::names_in;

/// What was made of a directory; removed when this is dropped, unless it is disarmed. The marker stays when
/// there are volumes: a directory that has lost its marker cannot be opened.
#[derive(Debug)]
pub(super) struct Undo {
    path: PathBuf,
    /// The directory itself.
    pub(super) directory: bool,
    /// Its marker, or part of it.
    pub(super) marker: bool,
    /// Its lock file.
    pub(super) lock: bool,
    is_armed: Cell<bool>,
}

impl Undo {
    /// Nothing was made yet.
    pub(super) fn new(path: &Path) -> Self {
        let (directory, marker, lock) = (false, false, false);
        Self { path: path.to_owned(), directory, marker, lock, is_armed: Cell::new(true) }
    }

    /// What was made stays.
    pub(super) fn disarm(&self) {
        self.is_armed.set(false);
    }

    /// Whether anything but what opening makes is in the directory: without its marker that would be lost.
    fn is_in_use(&self) -> bool {
        let Ok(names) = names_in(&self.path) else { return true };
        let mut names = names.iter().map(|name| name.to_str().map_or(Name::Unknown, Name::parse));
        names.any(|name| !matches!(name, Name::Marker | Name::Housekeeping))
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if !self.is_armed.get() {
            return;
        }
        // What cannot be removed stays, and the next start finds an empty data directory.
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
