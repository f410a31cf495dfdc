//! Errors that prevent a trial; violations found by a trial are results, not errors.

use std::path::PathBuf;

/// Failure to carry out a trial.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Failure of the device, a loop device or a mount.
    #[error(transparent)]
    Disk(#[from] faultdisk::Error),
    /// Failed file operation.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// Operation, as a verb.
        what: &'static str,
        path: PathBuf,
        /// Error of the system call.
        source: std::io::Error,
    },
    /// The daemon did not start.
    #[error("the daemon did not start: {0}")]
    Start(String),
    /// A request to the admin API failed.
    #[error("admin request {what} failed: {why}; see the log of the daemon, {}", log.display())]
    AdminRequest {
        /// Path of the request.
        what: String,
        /// Reason of the failure.
        why: String,
        /// Log of the daemon.
        log: PathBuf,
    },
    /// Too little load for a meaningful trial.
    #[error("the load was too small for a meaningful trial: {0}; raise --seconds")]
    Idle(String),
}

/// Returns a function for `map_err` after an operation on a file.
pub fn file<'a>(
    what: &'static str,
    path: &'a std::path::Path,
) -> impl FnOnce(std::io::Error) -> Error + 'a {
    move |source| Error::File { what, path: path.to_owned(), source }
}
