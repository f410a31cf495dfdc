//! What keeps a trial from being carried out; what a trial finds is no error.

use std::path::PathBuf;

/// A trial could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The device, a loop device or a mount.
    #[error(transparent)]
    Disk(#[from] faultdisk::Error),
    /// A file could not be used.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// The daemon of a trial did not come up.
    #[error("the daemon did not start: {0}")]
    Start(String),
    /// The daemon could not be asked.
    #[error("cannot ask the daemon for {what}: {why}; look into its log, {}", log.display())]
    Ask {
        /// For what.
        what: String,
        /// What came instead.
        why: String,
        /// Its log.
        log: PathBuf,
    },
    /// Too little happened for a trial to mean anything.
    #[error("the load was too small to show anything: {0}; give it more seconds")]
    Idle(String),
}

/// Wraps an error of the kernel about a file.
pub fn file<'a>(
    what: &'static str,
    path: &'a std::path::Path,
) -> impl FnOnce(std::io::Error) -> Error + 'a {
    move |source| Error::File { what, path: path.to_owned(), source }
}
