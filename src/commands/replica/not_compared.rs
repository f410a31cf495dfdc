//! Why two copies were not compared.

use std::io;

use thiserror::Error;

use crate::base::types::VolumeId;
use crate::commands::client::{ClientError, ServerAddress};
use crate::commands::transfer::listing::NotListed;

/// Why two copies were not compared.
#[derive(Debug, Error)]
pub enum NotCompared {
    /// A copy could not be read.
    #[error("volume {volume} of {server}: {reason}")]
    Unread {
        /// Volume.
        volume: VolumeId,
        /// Server.
        server: ServerAddress,
        /// Cause.
        reason: String,
    },
    /// A temporary file could not be used.
    #[error("temporary file: {0}; TMPDIR names another directory for them")]
    Temporary(io::Error),
    /// A difference could not be written.
    #[error(transparent)]
    Output(io::Error),
}

/// The reason of an error, without the request if the daemon has refused it.
pub(super) fn reason_of(error: ClientError) -> String {
    match error {
        ClientError::Refused { reason, .. } => reason,
        other => other.to_string(),
    }
}

/// The reason why a copy was not listed; an error of the temporary files is none.
pub(super) fn list_reason_of(error: NotListed) -> Result<String, io::Error> {
    match error {
        NotListed::Client(error) => Ok(reason_of(error)),
        NotListed::Broken { error, .. } => Ok(format!("the list broke off: {error}; start again")),
        NotListed::Output(error) => Err(error),
    }
}
