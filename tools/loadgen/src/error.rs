//! What can go wrong, as one sentence that says what to do next.

use std::path::PathBuf;

use thiserror::Error;

/// Why a command did not do what it was asked for.
#[derive(Debug, Error)]
pub enum Error {
    /// It was asked for something that makes no sense; exit code 2.
    #[error("{0}")]
    Usage(String),
    /// A file could not be read or written; exit code 1.
    #[error("cannot {what} {}: {source}; see whether the path and the rights are right", path.display())]
    File {
        /// `read`, `write`, `create`.
        what: &'static str,
        /// Which one.
        path: PathBuf,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// Anything else that failed; exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// The exit code of a command that ends with it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::File { .. } | Self::Failed(_) => 1,
        }
    }

    /// For `map_err` after an operation on a file.
    pub fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}
