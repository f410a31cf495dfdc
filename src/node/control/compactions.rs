//! Compactions that wait or run, and those that were not begun.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::types::VolumeId;
use crate::node::board::CompactionOutcome;

/// Who asked for a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompactionOrigin {
    /// An operator.
    Operator,
    /// The policy of the configuration.
    Policy,
}

impl CompactionOrigin {
    /// Its name in `/status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Policy => "policy",
        }
    }
}

/// A compaction that waits or runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionJob {
    /// Who asked for it.
    pub origin: CompactionOrigin,
    /// Whether the shard has begun it; progress is on the board then.
    pub is_begun: bool,
    /// The volume whose compaction must end first, because it uses the same data directory.
    pub waits_for: Option<VolumeId>,
    /// Position of the data directory of the new file.
    pub disk: u32,
    /// Size of the new file (bytes).
    pub size: u64,
    /// Bytes that it will free inside the file, as expected when it was asked for.
    pub expected_gain: u64,
}

/// A compaction that ended before it began: it was cancelled while it waited, or refused when its turn came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotBegun {
    /// [`CompactionOutcome::Cancelled`] or [`CompactionOutcome::Failed`].
    pub outcome: CompactionOutcome,
    /// Why, as one sentence.
    pub reason: String,
    /// Number of compactions of the volume that had begun and ended before, by the board: tells which end is
    /// the last one.
    pub after: u64,
}

#[derive(Debug, Default)]
struct OfVolume {
    job: Option<CompactionJob>,
    /// Number of compactions that were not begun, and the last one.
    not_begun: u64,
    last: Option<NotBegun>,
}

/// The compactions that wait or run, by volume, and those that were not begun. The main thread writes; any
/// thread may read. Holds one entry for each volume at most.
#[derive(Debug, Default)]
pub struct Compactions(Mutex<BTreeMap<VolumeId, OfVolume>>);

impl Compactions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<VolumeId, OfVolume>> {
        // No code under this lock leaves the map inconsistent when it panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the compaction of a volume that waits or runs.
    #[must_use]
    pub fn job(&self, id: VolumeId) -> Option<CompactionJob> {
        self.lock().get(&id)?.job
    }

    /// Returns how many compactions of a volume were not begun, and the last of them.
    #[must_use]
    pub fn not_begun(&self, id: VolumeId) -> (u64, Option<NotBegun>) {
        self.lock().get(&id).map_or((0, None), |of| (of.not_begun, of.last.clone()))
    }

    /// Records a compaction that waits or runs; `None`: it has ended.
    pub fn set_job(&self, id: VolumeId, job: Option<CompactionJob>) {
        self.lock().entry(id).or_default().job = job;
    }

    /// Records that a compaction ended before it began.
    pub fn end_unbegun(&self, id: VolumeId, end: NotBegun) {
        let mut volumes = self.lock();
        let of = volumes.entry(id).or_default();
        of.job = None;
        of.not_begun += 1;
        of.last = Some(end);
    }

    /// Removes a volume that was deleted.
    pub fn forget(&self, id: VolumeId) {
        self.lock().remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_is_listed_until_it_ends_and_unbegun_ones_are_counted() {
        let (compactions, id) = (Compactions::default(), VolumeId(3));
        assert_eq!((compactions.job(id), compactions.not_begun(id)), (None, (0, None)));
        let job = CompactionJob {
            origin: CompactionOrigin::Operator,
            is_begun: false,
            waits_for: Some(VolumeId(1)),
            disk: 0,
            size: 7,
            expected_gain: 5,
        };
        let end =
            NotBegun { outcome: CompactionOutcome::Failed, reason: "No.".to_owned(), after: 4 };
        for count in 1..=2 {
            compactions.set_job(id, Some(job));
            assert_eq!(compactions.job(id), Some(job));
            compactions.end_unbegun(id, end.clone());
            assert_eq!(compactions.job(id), None);
            assert_eq!(compactions.not_begun(id), (count, Some(end.clone())));
        }
        compactions.forget(id);
        assert_eq!(compactions.not_begun(id), (0, None));
    }
}
