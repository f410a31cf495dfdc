//! A compaction that is wanted.

use crate::base::types::VolumeId;
use crate::node::control::CompactionOrigin;

/// A compaction that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// The volume.
    pub volume: VolumeId,
    /// Who asked for it.
    pub origin: CompactionOrigin,
    /// Position of the data directory of the old file.
    pub source: usize,
    /// Position of the data directory of the new file.
    pub target: usize,
    /// Size of the new file (bytes); `None`: as the old one.
    pub size: Option<u64>,
    /// Whether data that cannot be read may be left behind.
    pub accept_losses: bool,
}

impl Job {
    /// Whether it uses a data directory that another one uses.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        [self.source, self.target].iter().any(|dir| [other.source, other.target].contains(dir))
    }
}
