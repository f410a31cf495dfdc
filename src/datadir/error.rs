//! Why a data directory cannot be used: what happened, where, and what to do next.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Names listed in a message before "and N more".
const NAMES_LISTED_MAX: usize = 8;

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// It is absent, and was not to be created.
    #[error(
        "the data directory {} does not exist; mount the disk it is on, or, if it is to be a new one, make \
         it with hayloft init", path.display()
    )]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// It is absent, and so is the directory to create it in.
    #[error(
        "the data directory {} cannot be created, since {} does not exist; create that directory first, or \
         mount the disk it is on",
        path.display(), parent.display()
    )]
    NoParent {
        /// The directory.
        path: PathBuf,
        /// Where it would be created.
        parent: PathBuf,
    },
    /// It is absent, and its file system makes no directories.
    #[error(
        "the data directory {} cannot be created: {} is there, but its file system makes no new directories \
         ({source}), as /proc and /sys do not; name a directory on a disk",
        path.display(), parent.display()
    )]
    NoNewNames {
        /// The directory.
        path: PathBuf,
        /// Where it would be created.
        parent: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It, or a directory above it, is a file.
    #[error(
        "the data directory {} cannot be used, since {} is not a directory; name another directory, or move \
         that file away",
        path.display(), obstacle.display()
    )]
    NotADirectory {
        /// The directory.
        path: PathBuf,
        /// What is no directory.
        obstacle: PathBuf,
    },
    /// The system forbids it.
    #[error(
        "not permitted to {action} {}: {source}; give the directory to the user hayloft runs as (chown -R), \
         or run it as another user",
        path.display()
    )]
    Permission {
        /// What was to be done.
        action: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system failed.
    #[error(
        "cannot {action} {}: {source}; check that the file system is mounted, writable and not full (df, \
         dmesg), then start again",
        path.display()
    )]
    Io {
        /// What was to be done.
        action: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it open.
    #[error(
        "the data directory {} is locked by {}; stop that daemon, or name another directory",
        path.display(), holder_text(*holder)
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Process id that the holder wrote into the lock file; none if it has not yet.
        holder: Option<u32>,
    },
    /// A process with our own number has it open.
    #[error(
        "the data directory {} is locked by process {holder}, which is the number of this process: it is \
         open here already, or in another container; name each directory once and give it to one daemon",
        path.display()
    )]
    LockedBySelf {
        /// The directory.
        path: PathBuf,
        /// The number of this process.
        holder: u32,
    },
    /// Two configured directories are one.
    #[error(
        "the data directories {} and {} are the same directory; name it once",
        first.display(), second.display()
    )]
    Same {
        /// The one configured first.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// It is empty, and was not to be made a data directory.
    #[error(
        "{} is empty, not a data directory; mount the disk that belongs there, or, if it is to be a new one, \
         make it with hayloft init",
        path.display()
    )]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// Something else lives there.
    #[error(
        "{} is not a data directory: it has no hayloft.toml and is not empty ({}); name an empty or a new \
         directory, nothing was changed here",
        path.display(), names_text(names)
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What is in it, sorted.
        names: Vec<OsString>,
    },
    /// Volumes without the file that marks the directory.
    #[error(
        "{} has volume files ({}) but no hayloft.toml: the marker was lost; restore it, or write \
         one with the lines `format = 1`, `store_id = \"<32 lower-case hex digits>\"` and \
         `created = 1970-01-01T00:00:00Z`; nothing was changed here",
        path.display(), names_text(names)
    )]
    MarkerLost {
        /// The directory.
        path: PathBuf,
        /// The volume files, sorted.
        names: Vec<OsString>,
    },
    /// Made by another version.
    #[error("{}: format {format}, this build reads {reads}: use a newer hayloft", path.display())]
    Format {
        /// The marker.
        path: PathBuf,
        /// Its format.
        format: i64,
        /// The format of this build.
        reads: i64,
    },
    /// The marker cannot be understood.
    #[error(
        "{} is damaged: {problem}; restore it, or write one with the lines `format = 1`, \
         `store_id = \"<32 lower-case hex digits>\"` and `created = 1970-01-01T00:00:00Z`; \
         the volumes beside it were not touched",
        path.display()
    )]
    Garbled {
        /// The marker.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Something is named like a volume and is no file.
    #[error(
        "{} has the name of a volume but is not a regular file; move it away, or put the volume itself there",
        path.display()
    )]
    NotAVolume {
        /// What it is about.
        path: PathBuf,
    },
}

impl DataDirError {
    /// Sorts a system error into [`Self::Permission`] or [`Self::Io`].
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission { action, path, source },
            _ => Self::Io { action, path, source },
        }
    }
}

fn holder_text(holder: Option<u32>) -> String {
    holder.map_or_else(
        || "another process (see fuser or lslocks)".to_owned(),
        |pid| format!("process {pid}"),
    )
}

/// The first names, and how many more there are. Escaped: file names may hold anything.
fn names_text(names: &[OsString]) -> String {
    let mut texts: Vec<String> = names
        .iter()
        .take(NAMES_LISTED_MAX)
        .map(|name| name.to_string_lossy().escape_debug().to_string())
        .collect();
    if names.len() > NAMES_LISTED_MAX {
        texts.push(format!("and {} more", names.len() - NAMES_LISTED_MAX));
    }
    texts.join(", ")
}
