//! Why a photo is not taken back.

use thiserror::Error;

use crate::volume::error::Refusal;

/// Reason why a photo is not taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotUndeleted {
    /// Nothing with this name and cookie was deleted within the time.
    #[error("no such photo was deleted within the time of compaction.undelete_within")]
    NotFound,
    /// It was deleted too long ago.
    #[error("it was deleted longer ago than compaction.undelete_within")]
    TooOld,
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// Another photo has the name, or the same one again.
    #[error("its name is in use")]
    InUse,
    /// A compaction has left its bytes out.
    #[error("a compaction has removed its bytes since it was deleted")]
    Compacted,
    /// Its bytes, or the record of its deletion, cannot be read, or do not match their checksums.
    #[error("its bytes, or the record of its deletion, are damaged")]
    Damaged,
    /// The volume does not take it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The volume is being closed.
    #[error("the volume is being closed")]
    Stopped,
}
