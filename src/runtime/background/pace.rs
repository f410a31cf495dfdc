//! The pace of background work.

use std::rc::Rc;

use super::shared_pace::SharedPace;

/// How fast the steps of a run may follow each other.
#[derive(Clone)]
pub enum Pace {
    /// Without pauses.
    Unlimited,
    /// At most this many bytes per second since the run began. A run that fell behind catches up.
    Rate(u64),
    /// The pace of the shard.
    Shared(Rc<SharedPace>),
}

impl Pace {
    /// Returns the pace of at most `rate` bytes per second; 0 for no limit.
    #[must_use]
    pub const fn at_most(rate: u64) -> Self {
        if rate == 0 { Self::Unlimited } else { Self::Rate(rate) }
    }

    /// Time before which the next step must not begin, for a run that began at `began` and has done `done`
    /// bytes, `bytes` of them in a step that took `took_ns` and ends now (nanoseconds).
    pub(super) fn next_at(&self, began: u64, done: u64, (bytes, took_ns): (u64, u64)) -> u64 {
        match self {
            Self::Unlimited => began,
            Self::Rate(rate) => {
                let due = u128::from(done) * 1_000_000_000 / u128::from((*rate).max(1));
                began.saturating_add(u64::try_from(due).unwrap_or(u64::MAX))
            }
            Self::Shared(pace) => pace.step_ended(bytes, took_ns),
        }
    }

    /// Waits while work at this pace is paused.
    pub(super) async fn resumed(&self) {
        if let Self::Shared(pace) = self {
            pace.resumed().await;
        }
    }
}
