//! Where a stream is.

/// Position of a stream of records: everything up to a version was read. Versions rise along the log, and a
/// compaction keeps them and their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamPosition {
    /// Highest version of what was read; 0 for the start of the log.
    pub version: u64,
    /// The same as a place in a file, so that it need not be searched for; `None` if it is not known.
    pub place: Option<StreamPlace>,
}

/// A place in the log of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPlace {
    /// Incarnation of the file.
    pub incarnation: u64,
    /// Offset of the next commit (bytes).
    pub offset: u64,
    /// Sequence of the commit before it.
    pub sequence: u64,
    /// Number of needles of the next commit that were read already.
    pub skip: usize,
    /// Records up to this version were read already although they are behind the place.
    pub known: u64,
}

impl StreamPosition {
    /// The start of the log.
    pub const START: Self = Self { version: 0, place: None };

    /// Returns the position after everything up to `version`.
    #[must_use]
    pub const fn after(version: u64) -> Self {
        Self { version, place: None }
    }
}
