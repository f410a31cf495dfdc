//! A position in the log that a checkpoint names.

use crate::base::limits::{BLOCK, LOG_START};
use crate::volume::format::field::{Decoder, Encoder};
use crate::volume::format::rising::RISING_MAX;

/// A position in the log: the end of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// Offset of the record of that commit (bytes).
    pub record_at: u64,
    /// End of that commit (bytes).
    pub tail: u64,
    /// Sequence of that commit.
    pub sequence: u64,
    /// Checksum of that record.
    pub record_checksum: u64,
    /// Highest version up to the position.
    pub version: u64,
}

impl LogPosition {
    pub(super) fn encode(&self, out: &mut Encoder<'_>) {
        out.u64(self.record_at).u64(self.tail).u64(self.sequence);
        out.u64(self.record_checksum).u64(self.version);
    }

    pub(super) fn decode(input: &mut Decoder<'_>) -> Self {
        let (record_at, tail, sequence) = (input.u64(), input.u64(), input.u64());
        let (record_checksum, version) = (input.u64(), input.u64());
        Self { record_at, tail, sequence, record_checksum, version }
    }

    /// Returns whether such a position is possible in a log that ends at `log_end` at the latest.
    #[must_use]
    pub fn fits(&self, log_end: u64) -> bool {
        (LOG_START..self.tail).contains(&self.record_at)
            && self.tail <= log_end
            && self.record_at.is_multiple_of(BLOCK)
            && self.tail.is_multiple_of(BLOCK)
            && (1..RISING_MAX).contains(&self.sequence)
            && self.version < RISING_MAX
    }
}
