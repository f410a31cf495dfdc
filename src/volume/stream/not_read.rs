//! Why no piece of a stream was read.

use thiserror::Error;

/// Reason why no piece of a stream was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotStreamed {
    /// Deletions after the position may have been left out by a compaction. Holds the version from which on
    /// the log has all of them.
    #[error(
        "compactions have removed records of deletions that are behind this position: deletions are complete \
         from version {0} on; begin from the start"
    )]
    Behind(u64),
    /// No buffer was free for a second: requests have priority.
    #[error("no buffer was free; try again")]
    NoBuffer,
    /// The volume is being closed or deleted.
    #[error("the volume is being closed")]
    Closing,
}
