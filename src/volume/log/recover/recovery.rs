//! State of a recovery, and what the witnesses say.

use std::collections::HashMap;

use super::input::RecoveryInput;
use super::recovered::Recovered;
use crate::volume::format::CommitRecord;
use crate::volume::log::expiry_sums::Expiring;
use crate::volume::log::log_end::LogEnd;
use crate::volume::log::scan::{FoundNeedle, Scanner};

/// Maximum number of objects that expire which a recovery remembers (some 20 MiB), to know what is
/// superseded. Of more, the bytes of superseded ones stay counted until the next compaction.
pub(super) const EXPIRING_MAX: usize = 1 << 18;

/// A commit that was read but not yet applied: what follows may show that it was torn.
pub(super) struct Staged {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) record: Option<CommitRecord>,
    /// End of the log before it.
    pub(super) before: LogEnd,
    pub(super) found: Vec<FoundNeedle>,
}

/// State of a recovery.
pub(super) struct Recovery<'a> {
    pub(super) log: &'a RecoveryInput<'a>,
    pub(super) scanner: Scanner<'a>,
    pub(super) staged: Option<Staged>,
    /// End of what was read so far.
    pub(super) end: LogEnd,
    /// Whether `end.record_checksum` is known.
    pub(super) chained: bool,
    pub(super) epoch: u64,
    /// Reached position of the checkpoint.
    pub(super) reached: Option<LogEnd>,
    /// Objects that expire among the needles read so far, by their offsets. At most [`EXPIRING_MAX`].
    pub(super) expiring: HashMap<u64, Expiring>,
    pub(super) result: Recovered,
}

impl Recovery<'_> {
    /// Returns whether a hint of a clean close says that the log ends here.
    pub(super) fn clean_end(&self) -> bool {
        let end = &self.end;
        self.chained
            && self.log.hint.is_some_and(|hint| {
                hint.clean && hint.tail == end.tail && hint.sequence == end.sequence
            })
    }

    /// Offset up to which a witness proves that the log was durable (bytes).
    pub(super) fn witnessed(&self) -> u64 {
        let hinted = self.log.hint.map_or(0, |hint| hint.tail);
        self.reached.map_or(0, |reached| reached.tail).max(hinted)
    }
}
