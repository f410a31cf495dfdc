//! Result of an import.

use std::path::PathBuf;

/// A photo that was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The photo: its escaped path, or its name in the tar.
    pub what: String,
    /// Reason, as a sentence.
    pub why: String,
}

/// Why an import ended early, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The same command resumes it.
    Pause(String),
    /// The tar cannot be read further, or contains an invalid entry: the same command would end in the same
    /// way.
    BadTar(String),
}

/// Result of an import, in addition to the counts of [`Progress`](super::Progress).
#[derive(Debug, Default)]
pub struct Report {
    /// The first failures, 20 at most; [`Progress::failed`](super::Progress::failed) counts all.
    pub failures: Vec<Failure>,
    /// Why it ended early, if it did.
    pub stopped: Option<Stop>,
    /// Number of symbolic links and special files, which were skipped.
    pub special: u64,
    /// Number of hidden files and directories, which were skipped.
    pub hidden: u64,
    /// Number of photos of the manifest whose files are gone, which stay in the store.
    pub gone: u64,
    /// Path of the manifest, if one was written.
    pub manifest: Option<PathBuf>,
}

impl Report {
    /// Returns the report of an import that was interrupted before it started.
    pub(super) fn interrupted() -> Self {
        Self { stopped: Some(Stop::interrupted()), ..Self::default() }
    }
}

impl Stop {
    /// The import was interrupted.
    pub(super) fn interrupted() -> Self {
        Self::Pause("it was interrupted".to_owned())
    }
}
