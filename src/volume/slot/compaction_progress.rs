//! How far a compaction is.

/// Phase of a compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompactionPhase {
    /// There is none.
    #[default]
    None,
    /// What lives is copied.
    Copying,
    /// What was written meanwhile is copied.
    CatchingUp,
    /// The new generation is read back.
    Verifying,
    /// The new generation takes the place of the old one.
    Swapping,
    /// The old file is removed.
    Removing,
}

/// How far a compaction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionProgress {
    /// Phase.
    pub phase: CompactionPhase,
    /// Bytes of the old log that are done, as positions in it.
    pub done: u64,
    /// End of the old log when it was looked at last (bytes).
    pub total: u64,
    /// Bytes read from the old file.
    pub read: u64,
    /// Bytes written to the new file.
    pub written: u64,
    /// Times for which writes to the volume had to wait.
    pub gate: GateTimes,
}

/// Times for which the gate of a volume was closed, in all attempts to exchange the generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateTimes {
    /// Their sum (nanoseconds).
    pub total_ns: u64,
    /// The longest of them (nanoseconds).
    pub longest_ns: u64,
}

impl GateTimes {
    /// Adds an attempt.
    pub fn add(&mut self, closed_ns: u64) {
        self.total_ns += closed_ns;
        self.longest_ns = self.longest_ns.max(closed_ns);
    }
}
