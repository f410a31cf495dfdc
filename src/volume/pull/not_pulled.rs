//! Why records of another volume were not stored.

use thiserror::Error;

use crate::volume::error::{Refusal, StateError};
use crate::volume::format::BadExchange;

/// Reason why records of another volume were not stored. What was stored before stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotPulled {
    /// The volume is no copy.
    #[error("it is no copy of another volume")]
    NotReplica,
    /// The records are its own.
    #[error("a volume cannot be a copy of itself")]
    Itself,
    /// The records are of another volume than those before. They must begin at the start.
    #[error("it is a copy of another volume so far; begin at position 0")]
    OtherSource,
    /// The records do not follow those before. Holds the position at which they must.
    #[error("it has everything up to position {0}; go on there")]
    Position(u64),
    /// Another pull has begun since.
    #[error("another pull of it has begun")]
    Superseded,
    /// The records are not as they must be.
    #[error("{0}")]
    Bad(#[from] BadExchange),
    /// The volume does not take them.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Its superblock could not be changed.
    #[error("{0}")]
    State(#[from] StateError),
    /// No buffer was free for a second: requests have priority.
    #[error("no buffer was free; try again")]
    NoBuffer,
    /// The volume is being closed or deleted.
    #[error("the volume is being closed")]
    Closing,
}
