//! Errors of data directories. Each message has the problem, the path and its fix.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::base::new_name;

/// Number of names listed in a message before "and N more".
const NAMES_LISTED_MAX: usize = 8;

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// The directory is absent, and `create` was not set.
    #[error(
        "the data directory {} does not exist; mount the disk it is on, or, if it is to be a new one, make \
         it with hayloft init", path.display()
    )]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// The directory is absent, and so is its parent.
    #[error(
        "the data directory {} cannot be created, since {} does not exist; create that directory first, or \
         mount the disk it is on",
        path.display(), parent.display()
    )]
    NoParent {
        /// The directory.
        path: PathBuf,
        /// Its parent directory.
        parent: PathBuf,
    },
    /// The directory is absent, and the file system of its parent creates no directories.
    #[error(
        "the data directory {} cannot be created: {} is there, but its file system makes no new directories \
         ({source}), as /proc and /sys do not; name a directory on a disk",
        path.display(), parent.display()
    )]
    NoNewNames {
        /// The directory.
        path: PathBuf,
        /// Its parent directory.
        parent: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// The path, or a component of it, is not a directory.
    #[error(
        "the data directory {} cannot be used, since {} is not a directory; name another directory, or move \
         that file away",
        path.display(), obstacle.display()
    )]
    NotADirectory {
        /// The directory.
        path: PathBuf,
        /// The component that is no directory.
        obstacle: PathBuf,
    },
    /// This user lacks a permission.
    #[error(
        "not permitted to {action} {}: {source}; give the directory to the user hayloft runs as (chown -R), \
         or run it as another user",
        path.display()
    )]
    Permission {
        /// The action that failed.
        action: &'static str,
        /// File or directory of the action.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// An action failed for another reason.
    #[error(
        "cannot {action} {}: {source}; check that the file system is mounted, writable and not full (df, \
         dmesg), then start again",
        path.display()
    )]
    Io {
        /// The action that failed.
        action: &'static str,
        /// File or directory of the action.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error(
        "the data directory {} is locked by {}; stop that daemon, or name another directory",
        path.display(), holder_text(*holder)
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Process id that the holder wrote into the lock file; `None` if it has not written it yet.
        holder: Option<u32>,
    },
    /// A process with the id of this process holds the lock.
    #[error(
        "the data directory {} is locked by process {holder}, which is the number of this process: it is \
         open here already, or in another container; name each directory once and give it to one daemon",
        path.display()
    )]
    LockedBySelf {
        /// The directory.
        path: PathBuf,
        /// Id of this process.
        holder: u32,
    },
    /// Two configured directories are the same.
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
    /// The directory is empty, and `create` was not set.
    #[error(
        "{} is empty, not a data directory; mount the disk that belongs there, or, if it is to be a new one, \
         make it with hayloft init",
        path.display()
    )]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// The directory has no marker and holds other files.
    #[error(
        "{} is not a data directory: it has no hayloft.toml and is not empty ({}); name an empty or a new \
         directory, nothing was changed here",
        path.display(), names_text(names)
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Names in the directory, sorted.
        names: Vec<OsString>,
    },
    /// The directory holds volume files, but no marker.
    #[error(
        "{} has volume files ({}) but no hayloft.toml: the marker was lost; restore it, or write \
         one with the lines `format = 1`, `store_id = \"<32 lower-case hex digits>\"` and \
         `created = 1970-01-01T00:00:00Z`; nothing was changed here",
        path.display(), names_text(names)
    )]
    MarkerLost {
        /// The directory.
        path: PathBuf,
        /// The volume and checkpoint files, sorted.
        names: Vec<OsString>,
    },
    /// The marker has a newer format.
    #[error("{}: format {format}, this build reads {reads}: use a newer hayloft", path.display())]
    Format {
        /// The marker.
        path: PathBuf,
        /// Format of the marker.
        format: i64,
        /// Format that this build reads.
        reads: i64,
    },
    /// The marker is damaged.
    #[error(
        "{} is damaged: {problem}; restore it, or write one with the lines `format = 1`, \
         `store_id = \"<32 lower-case hex digits>\"` and `created = 1970-01-01T00:00:00Z`; \
         the volumes beside it were not touched",
        path.display()
    )]
    Garbled {
        /// The marker.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// A name of a volume belongs to something that is no regular file.
    #[error(
        "{} has the name of a volume but is not a regular file; move it away, or put the volume itself there",
        path.display()
    )]
    NotAVolume {
        /// The path.
        path: PathBuf,
    },
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

    /// Converts an error of the kernel into [`Self::Permission`] or [`Self::Io`].
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

/// Formats the first names, escaped, and the number of the others.
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
