//! How far a run is.

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackgroundProgress {
    /// Work that is done (bytes).
    pub done: u64,
    /// Work that was expected when the run began (bytes). An estimate: `done` may exceed it.
    pub expected: u64,
}
