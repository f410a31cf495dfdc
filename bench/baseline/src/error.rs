//! Why a reference point cannot be measured.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use hayloft::datadir::DataDirError;
use hayloft::offline::OfflineError;
use hayloft::ring::SetupError;
use thiserror::Error;

/// What went wrong, and what to do.
#[derive(Debug, Error)]
pub enum Error {
    /// A command line that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A data directory that cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The same.
    #[error(transparent)]
    Offline(#[from] OfflineError),
    /// A volume with something in it that cannot be served.
    #[error("volume {volume}: {what}; fill a new data directory to measure with")]
    Volume {
        /// Its number.
        volume: u32,
        /// What is in it.
        what: String,
    },
    /// A file that cannot be used.
    #[error("cannot {what} {}: {error}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {error}; choose another port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// No ring.
    #[error(transparent)]
    Ring(#[from] SetupError),
    /// Something else of the system's.
    #[error("cannot {0}: {1}")]
    Step(&'static str, io::Error),
}
