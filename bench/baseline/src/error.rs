//! Errors of the baseline commands.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use hayloft::base::types::VolumeId;
use hayloft::commands::offline::OfflineError;
use hayloft::node::datadir::DataDirError;
use hayloft::ring::SetupError;
use thiserror::Error;

/// Failure of a baseline command. The message says what to do next.
#[derive(Debug, Error)]
pub enum Error {
    /// Invalid command line.
    #[error("{0}")]
    Usage(String),
    /// Data directory that cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Volume that cannot be listed offline.
    #[error(transparent)]
    Offline(#[from] OfflineError),
    /// Volume with content that this server cannot serve.
    #[error("volume {volume}: {what}; fill a new data directory to measure with")]
    Volume {
        /// Volume id.
        volume: VolumeId,
        /// Description of the content that cannot be served.
        what: String,
    },
    /// Failed file operation.
    #[error("cannot {what} {}: {error}", path.display())]
    File {
        /// Operation, as a verb: "open", "read".
        what: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// Error of the system call.
        error: io::Error,
    },
    /// Address that cannot be listened on.
    #[error("cannot listen on {address}: {error}; choose another port")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// Error of the system call.
        error: io::Error,
    },
    /// The ring cannot be set up.
    #[error(transparent)]
    Ring(#[from] SetupError),
    /// Any other failed system call: operation, error.
    #[error("cannot {0}: {1}")]
    Step(&'static str, io::Error),
}
