//! How a compaction ended.

use super::copier::Carried;
use crate::volume::slot::compaction_progress::GateTimes;

/// Result of a compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes read from the old file.
    pub read: u64,
    /// Bytes read back from the new file.
    pub read_back: u64,
    /// Bytes written to the new file.
    pub written: u64,
    /// Used part of the old file at the end (bytes).
    pub used_before: u64,
    /// Used part of the new file (bytes).
    pub used_after: u64,
    /// Number of passes over what was written meanwhile.
    pub rounds: u32,
    /// Times for which writes to the volume had to wait.
    pub gate: GateTimes,
    /// Counts of what was carried over.
    pub carried: Carried,
}
