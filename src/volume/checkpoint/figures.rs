//! Figures of the checkpoints of a volume.

/// Figures of a volume's checkpoints. In bytes unless stated otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointFigures {
    /// Covered position of the current checkpoint; 0 for none.
    pub tail: u64,
    /// Length of the log that a start would have to read.
    pub age: u64,
    /// Length of the current checkpoint; 0 when this process neither read nor wrote it.
    pub len: u64,
    /// Number of checkpoints written.
    pub written: u64,
    /// Number of attempts that failed.
    pub failed: u64,
    /// Number of checkpoints that were present at the start and could not be used.
    pub discarded: u64,
    /// Duration of the last one (nanoseconds).
    pub last_ns: u64,
    /// Offset from which the log was read when the volume was opened.
    pub opened_from: u64,
    /// Bytes of the file read at that time: the log from there on, and what follows it.
    pub opened_read: u64,
}
