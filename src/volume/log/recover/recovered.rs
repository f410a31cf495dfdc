//! Result of recovery.

use super::ending::Ending;
use crate::volume::format::Seal;
use crate::volume::log::contents::Contents;
use crate::volume::log::damaged_range::DamagedRange;
use crate::volume::log::log_end::LogEnd;

/// Result of recovery.
pub struct Recovered {
    /// Index and space accounting of the log.
    pub contents: Contents,
    /// End of the log.
    pub end: LogEnd,
    /// Reason why the log ends there.
    pub ending: Ending,
    /// Decision about a torn last commit, to be sealed before anything is written.
    pub torn: Option<Seal>,
    /// Damage inside acknowledged data.
    pub damage: Vec<DamagedRange>,
    /// Number of commits that chain.
    pub commits: u64,
    /// Number of sectors that the device could not read: their content is unknown, not absent.
    pub unread: usize,
    /// Bytes read: the log, and what follows it and might prove that it continues.
    pub bytes_read: u64,
    /// Offset from which the log was read (bytes).
    pub began: u64,
}
