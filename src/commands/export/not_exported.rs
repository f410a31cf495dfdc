//! Why an export has failed.

use std::io;

use thiserror::Error;

use crate::base::types::VolumeId;
use crate::commands::client::ClientError;

/// Why an export has failed.
#[derive(Debug, Error)]
pub enum NotExported {
    /// The daemon could not be asked, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The stream broke off, again and again.
    #[error(
        "the records of volume {volume} broke off: {error}; the tar ends before them, start again"
    )]
    Broken {
        /// Volume.
        volume: VolumeId,
        /// Cause.
        error: String,
    },
    /// The output could not be written.
    #[error(transparent)]
    Output(io::Error),
}
