//! State and sizes of one data directory.

use super::gauge::Gauge;
use super::label::{StateCell, label_enum};

label_enum! {
    /// State of a data directory.
    pub enum DiskState: "state" {
        /// Mounted, locked and in use.
        Ok = "ok",
        /// Configured, but absent or not a data directory.
        Missing = "missing",
        /// Failed: its disk returns errors, or it was removed, replaced or unmounted.
        Failed = "failed",
    }
}

/// One data directory.
#[derive(Debug)]
pub struct DiskInfo {
    /// Path as configured.
    pub path: String,
    /// Present state. Like the sizes, written only by the thread that monitors the disks.
    pub state: StateCell<DiskState>,
    /// Size of its file system (bytes).
    pub size_bytes: Gauge,
    /// Free space of its file system for new volumes (bytes).
    pub free_bytes: Gauge,
}

impl DiskInfo {
    /// Creates a data directory in this state, with sizes of 0.
    #[must_use]
    pub fn new(path: impl Into<String>, state: DiskState) -> Self {
        Self {
            path: path.into(),
            state: StateCell::new(state),
            size_bytes: Gauge::new(),
            free_bytes: Gauge::new(),
        }
    }
}
