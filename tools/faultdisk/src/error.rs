//! What can go wrong.

use std::io;
use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be used.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("`{program}` cannot be started ({source}): install the Debian package {package}")]
    Program {
        /// Its name.
        program: &'static str,
        /// Where it comes from.
        package: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{command}` failed: {output}")]
    Failed {
        /// The command line.
        command: String,
        /// What it said.
        output: String,
    },
    /// The device did not come up.
    #[error("no FUSE file system can be mounted at {} ({source}): run as root, where there is /dev/fuse",
        path.display())]
    NoDevice {
        /// Where.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The log is none, or is damaged.
    #[error("{} is no log of a device: {what}; record it again", path.display())]
    Log {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A loop device goes through the page cache.
    #[error("{device} does no direct I/O on the file behind it: put that on another file system")]
    NotDirect {
        /// The loop device.
        device: String,
    },
}

/// Wraps an error of the kernel about a file.
pub(crate) fn file<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::File { what, path: path.to_owned(), source }
}
