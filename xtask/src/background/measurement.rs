//! The measurements of background work: each is a command of its own, with parts and a record of its own.

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measurement {
    /// Of compactions.
    Compaction,
    /// Of scrubs, and of an ill disk.
    Health,
}

impl Measurement {
    /// Name of the command, and of the record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compaction => "compaction",
            Self::Health => "health",
        }
    }

    /// Heading of the record.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Compaction => "Compaction",
            Self::Health => "Health",
        }
    }
}
