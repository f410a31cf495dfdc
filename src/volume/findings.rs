//! What opening a volume found, beside its needles and the damage in its log.

use super::recover::{Ending, LogEnd};

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// Copies of the superblock that are not as they should be. Opening for writing writes them anew.
    pub superblock: Vec<SuperblockCopy>,
    /// Whether a tail hint is damaged. Writing goes on with the next one in its place.
    pub hint_damaged: bool,
    /// Commits that chain.
    pub commits: u64,
    /// Where the log ends.
    pub end: LogEnd,
    /// And why there.
    pub ending: Ending,
}

/// A copy of the superblock that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuperblockCopy {
    /// Where it stands (bytes).
    pub offset: u64,
    /// Whether it is valid, but not the last one written; else it is damaged.
    pub outdated: bool,
}
