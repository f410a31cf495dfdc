//! Findings of opening a volume, apart from its needles and the damage in its log.

use crate::volume::log::{Ending, LogEnd};

/// Findings of opening a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// Damaged or outdated copies of the superblock. Opening for writing rewrites them.
    pub superblock: Vec<SuperblockCopy>,
    /// Whether a tail hint is damaged. The next hint is written in its place.
    pub hint_damaged: bool,
    /// Number of commits that chain.
    pub commits: u64,
    /// End of the log.
    pub end: LogEnd,
    /// Reason why the log ends there.
    pub ending: Ending,
}

/// A damaged or outdated copy of the superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuperblockCopy {
    /// Offset of the copy in the file (bytes).
    pub offset: u64,
    /// Whether the copy is valid but not the newest; otherwise it is damaged.
    pub outdated: bool,
}
