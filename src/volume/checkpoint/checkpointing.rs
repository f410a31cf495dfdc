//! Settings of checkpoints.

/// When and how fast checkpoints are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpointing {
    /// Length of log after which a new checkpoint is written (bytes).
    pub interval: u64,
    /// Maximum write rate while the volume serves (bytes per second).
    pub rate: u64,
}
