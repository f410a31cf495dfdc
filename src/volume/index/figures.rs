//! Figures of an index.

/// Figures of an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexFigures {
    /// Number of needles.
    pub needles: u64,
    /// Memory in use (bytes).
    pub memory: u64,
    /// Number of slots in the table.
    pub slots: u64,
    /// Number of needles in the stash: they found no slot because too many ids have the same hash, or
    /// memory was short.
    pub overflow: u64,
    /// Number of steps in which a segment grew or split.
    pub steps: u64,
    /// Largest number of needles moved by one such step.
    pub step_max: u64,
}
