//! The parts of the measurements.

use super::measurement::Measurement;

/// A part of a measurement.
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
    /// Damage that a scrub finds.
    Found,
    /// Reads while a volume is scrubbed.
    Scrubs,
    /// A disk whose reads fail.
    Fenced,
    /// A disk whose reads take long.
    Slow,
    /// Record streams.
    Streams,
    /// Lists.
    Lists,
    /// Copies of volumes.
    Pulls,
}

impl Part {
    /// The parts of a measurement, in the order of their runs.
    #[must_use]
    pub const fn of(measurement: Measurement) -> &'static [Self] {
        match measurement {
            Measurement::Compaction => &[
                Self::Erased,
                Self::Amounts,
                Self::Swaps,
                Self::Reads,
                Self::Writes,
                Self::Idle,
                Self::Index,
                Self::Refill,
            ],
            Measurement::Health => &[
                Self::Found,
                Self::Scrubs,
                Self::Fenced,
                Self::Slow,
                Self::Streams,
                Self::Lists,
                Self::Pulls,
            ],
        }
    }

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
            Self::Found => "found",
            Self::Scrubs => "scrubs",
            Self::Fenced => "fenced",
            Self::Slow => "slow",
            Self::Streams => "streams",
            Self::Lists => "lists",
            Self::Pulls => "pulls",
        }
    }

    /// The part of a measurement with this name.
    #[must_use]
    pub fn named(measurement: Measurement, name: &str) -> Option<Self> {
        Self::of(measurement).iter().copied().find(|part| part.name() == name)
    }
}
