//! The range of numbers that only rise.

/// Upper bound (exclusive) of sequences, versions, and the numbers of hints and superblock revisions, so
/// that each always has a successor. Part of the format.
pub const RISING_MAX: u64 = 1 << 63;
