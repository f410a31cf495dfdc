//! The summary of a volume with which a shard answers an order.

use crate::volume::{Volume, WriteState};

/// State and figures of an open volume at the end of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeSummary {
    /// Whether the volume may be written.
    pub write_state: WriteState,
    /// Length of the file (bytes).
    pub size: u64,
    /// Used part of the file (bytes).
    pub used: u64,
    /// Number of indexed needles.
    pub needles: u64,
}

impl VolumeSummary {
    /// Summarises a volume.
    pub(super) fn of(volume: &Volume) -> Self {
        let figures = volume.figures();
        Self {
            write_state: volume.write_state(),
            size: figures.size,
            used: figures.used,
            needles: figures.needles,
        }
    }
}
