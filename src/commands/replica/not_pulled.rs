//! Why a volume was not pulled, or not completely.

use std::io;

use thiserror::Error;

use crate::base::types::VolumeId;
use crate::commands::client::ClientError;
use crate::commands::export::NotRead;
use crate::commands::transfer::listing::NotListed;

/// Why a volume was not pulled, or not completely. What was stored stays; the next pull goes on there.
#[derive(Debug, Error)]
pub enum NotPulled {
    /// A request had no answer, or was refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The records of the source cannot be read.
    #[error("the records of the source: {0}")]
    Read(#[from] NotRead),
    /// The photos cannot be listed.
    #[error("the list of photos: {0}")]
    Listed(#[from] NotListed),
    /// A temporary file cannot be written or read.
    #[error("a temporary file (TMPDIR): {0}")]
    File(#[from] io::Error),
    /// The source has no such volume.
    #[error("the source has no volume {0}")]
    NoSource(VolumeId),
    /// The volume could not be created.
    #[error("{0}")]
    NotCreated(String),
    /// The volume has photos of its own.
    #[error(
        "volume {0} has photos and is no copy: with --replace it becomes one, and loses those that the \
         source has not"
    )]
    HasPhotos(VolumeId),
}

impl NotPulled {
    /// Whether it may succeed a moment later: a daemon is restarting, or was busy.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Client(ClientError::Unreachable { .. } | ClientError::Broken { .. })
            | Self::Read(_)
            | Self::Listed(NotListed::Client(
                ClientError::Unreachable { .. } | ClientError::Broken { .. },
            )) => true,
            Self::Client(ClientError::Refused { status, .. })
            | Self::Listed(NotListed::Client(ClientError::Refused { status, .. })) => {
                *status == 503
            }
            // A list that is cut short.
            Self::Listed(NotListed::Client(ClientError::Garbled { .. }))
            | Self::Client(ClientError::Garbled { .. }) => true,
            Self::Client(ClientError::Source(_))
            | Self::Listed(_)
            | Self::File(_)
            | Self::NoSource(_)
            | Self::NotCreated(_)
            | Self::HasPhotos(_) => false,
        }
    }
}
