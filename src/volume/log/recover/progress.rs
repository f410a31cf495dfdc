//! Progress of a recovery.

/// Progress of a recovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the log read so far.
    pub done: u64,
    /// Bytes of the log to be read, as far as is known.
    pub total: u64,
}
