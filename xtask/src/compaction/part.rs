//! The parts of the measurement.

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Reads while a volume is compacted.
    Reads,
    /// Writes while a volume is compacted.
    Writes,
    /// Swaps under load.
    Swaps,
    /// Bytes read and written.
    Amounts,
    /// Rate of an idle daemon.
    Idle,
    /// Remains of deleted photos.
    Erased,
    /// A small disk that is filled again and again.
    Refill,
    /// Memory of the indexes.
    Index,
}

impl Part {
    /// All parts, in the order of their runs.
    pub const ALL: [Self; 8] = [
        Self::Erased,
        Self::Amounts,
        Self::Swaps,
        Self::Reads,
        Self::Writes,
        Self::Idle,
        Self::Index,
        Self::Refill,
    ];

    /// Name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Swaps => "swaps",
            Self::Amounts => "amounts",
            Self::Idle => "idle",
            Self::Erased => "erased",
            Self::Refill => "refill",
            Self::Index => "index",
        }
    }

    /// The part with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }
}
