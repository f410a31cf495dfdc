//! What recovery takes from a checkpoint.

use crate::volume::log::contents::Contents;
use crate::volume::log::damaged_range::DamagedRange;
use crate::volume::log::log_end::LogEnd;

/// State that recovery takes from a checkpoint instead of reading the log.
pub struct Saved {
    /// Contents of the log at the end of `covers`. Some of the changes between `covers` and `reached` may
    /// be included.
    pub contents: Contents,
    /// Damage known when the checkpoint was written.
    pub damage: Vec<DamagedRange>,
    /// Covered position: the log must be read from here on.
    pub covers: LogEnd,
    /// Reached position: a witness that the log was durable up to here.
    pub reached: LogEnd,
    /// Epoch of the last commit before `covers`.
    pub epoch: u64,
}
