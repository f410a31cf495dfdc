//! The end of the log.

/// Position at which the log continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// Offset of the record of the last commit (bytes); 0 when unknown or when there is no commit.
    pub record_at: u64,
    /// Offset of the next commit (bytes).
    pub tail: u64,
    /// Sequence of the last commit; 0 for none.
    pub sequence: u64,
    /// Checksum of its record; 0 for none.
    pub record_checksum: u64,
    /// Highest version so far.
    pub version: u64,
}
