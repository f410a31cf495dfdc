//! Errors of the commands: one sentence each, with advice.

use std::path::PathBuf;

use thiserror::Error;

/// Failure of a command.
#[derive(Debug, Error)]
pub enum Error {
    /// Invalid command line; exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Failed file operation; exit code 1.
    #[error("cannot {what} {}: {source}; check the path and its permissions", path.display())]
    File {
        /// Operation: `read`, `write`, `create`.
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// Any other failure; exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// Exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::File { .. } | Self::Failed(_) => 1,
        }
    }

    /// Returns a function for `map_err` after an operation on a file.
    pub fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}
