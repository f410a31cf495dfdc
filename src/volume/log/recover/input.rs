//! Parameters of a recovery.

use super::progress::Progress;
use crate::volume::format::TailHint;
use crate::volume::index::{Hasher, Index};
use crate::volume::io::VolumeFile;
use crate::volume::log::scan::ScanBuffer;

/// Parameters of a recovery.
pub struct RecoveryInput<'a> {
    /// The volume file.
    pub file: &'a VolumeFile,
    /// Buffer for reading it.
    pub memory: &'a ScanBuffer,
    /// Incarnation of the file.
    pub incarnation: u64,
    /// End of the area for the log (bytes).
    pub log_end: u64,
    /// The newest valid tail hint.
    pub hint: Option<TailHint>,
    /// Hash of ids.
    pub hasher: Hasher,
    /// Length of the file (bytes).
    pub size: u64,
    /// Maximum number of segments of the index; for tests.
    pub segments_max: usize,
    /// Called from time to time with the progress.
    pub progress: &'a dyn Fn(Progress),
}

impl RecoveryInput<'_> {
    /// Returns an empty index for this log.
    pub fn index(&self) -> Index {
        Index::with_segments_max(self.size, self.segments_max)
    }
}
