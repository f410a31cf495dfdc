//! Why a change to volumes was refused.

use std::fmt;

use crate::base::types::VolumeId;

/// Why nothing was changed. The sentences are for operators and say what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no volume with this id.
    NoSuchVolume(VolumeId),
    /// The request is invalid.
    Invalid(String),
    /// The request conflicts with the present state.
    Conflict(String),
    /// The id of a new volume is taken.
    Exists(String),
    /// There is not enough free space on the disk, or no file descriptor left for one more volume.
    NoSpace(String),
    /// What was asked for is not there.
    NotThere(String),
    /// What was asked for is no longer there.
    Gone(String),
    /// Not possible at present.
    Unavailable(String),
    /// Too many changes are under way.
    Busy,
    /// The change failed.
    Failed(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchVolume(id) => write!(f, "There is no volume {id}."),
            Self::Busy => f.write_str("Too many volumes are being changed; try again."),
            Self::Invalid(sentence)
            | Self::Conflict(sentence)
            | Self::Exists(sentence)
            | Self::NoSpace(sentence)
            | Self::NotThere(sentence)
            | Self::Gone(sentence)
            | Self::Unavailable(sentence)
            | Self::Failed(sentence) => f.write_str(sentence),
        }
    }
}
