//! The pace of background work.

/// How fast the steps of a run may follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Without pauses.
    Unlimited,
    /// At most this many bytes per second since the run began. A run that fell behind catches up.
    Rate(u64),
}

impl Pace {
    /// Returns the pace of at most `rate` bytes per second; 0 for no limit.
    #[must_use]
    pub const fn at_most(rate: u64) -> Self {
        if rate == 0 { Self::Unlimited } else { Self::Rate(rate) }
    }

    /// Time before which the next step must not begin, for a run that began at `began` and has done `done`
    /// bytes (nanoseconds).
    pub(super) fn next_at(self, began: u64, done: u64) -> u64 {
        match self {
            Self::Unlimited => began,
            Self::Rate(rate) => {
                let due = u128::from(done) * 1_000_000_000 / u128::from(rate.max(1));
                began.saturating_add(u64::try_from(due).unwrap_or(u64::MAX))
            }
        }
    }
}
