//! Errors of this crate.

use std::io;
use std::path::{Path, PathBuf};

/// Failure of a device, program or file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Failed file operation.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// Operation, as a verb.
        what: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
    /// Program that cannot be started.
    #[error("cannot start `{program}` ({source}); install the Debian package {package}")]
    Program {
        /// Name of the program.
        program: &'static str,
        /// Debian package of the program.
        package: &'static str,
        /// Error of the system call.
        source: io::Error,
    },
    /// Program that failed.
    #[error("`{command}` failed: {output}")]
    Failed {
        /// Command line.
        command: String,
        /// Standard error of the program.
        output: String,
    },
    /// FUSE mount that failed.
    #[error("cannot mount a FUSE file system at {} ({source}); run as root on a system with /dev/fuse",
        path.display())]
    NoDevice {
        /// Mount point.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
    /// Invalid or damaged log.
    #[error("{} is not a valid log of a device: {what}; record it again", path.display())]
    Log {
        /// Path of the log.
        path: PathBuf,
        /// Description of the damage.
        what: String,
    },
    /// Loop device without direct I/O.
    #[error("{device} does not use direct I/O on its image; put the image on another file system")]
    NotDirect {
        /// Path of the loop device.
        device: String,
    },
}

/// Returns a function for `map_err` after an operation on a file.
pub(crate) fn file<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::File { what, path: path.to_owned(), source }
}
