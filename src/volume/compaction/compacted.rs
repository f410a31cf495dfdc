//! How a compaction ended.

use super::copier::Carried;

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
    /// Time for which the gate was closed (nanoseconds).
    pub gate_closed_ns: u64,
    /// Counts of what was carried over.
    pub carried: Carried,
}
