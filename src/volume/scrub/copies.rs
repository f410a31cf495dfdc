//! Copies of live needles that a walk makes, for streams of them.

use std::collections::BTreeMap;

/// Length of the copies of a walk at most, except for the first one (bytes).
pub(in crate::volume) const COPIES_MAX: usize = 1 << 20;

/// A copy of a live needle.
pub(in crate::volume) enum Copied {
    /// Its attributes, and its data if that was wanted; both verified.
    Whole(Vec<u8>),
    /// It is damaged.
    Damaged,
}

impl Copied {
    /// Returns the bytes of a needle that is whole.
    pub fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            Self::Damaged => None,
        }
    }
}

/// Copies of live needles.
#[derive(Default)]
pub(in crate::volume) struct Copies {
    /// Needles before this offset are not copied (bytes).
    pub from: u64,
    /// Length of the copies with their data (bytes).
    pub len: usize,
    /// By the offset of the needle, for whoever takes them.
    pub kept: BTreeMap<u64, Copied>,
    /// Offset of the first needle that did not fit, where the walk has stopped (bytes).
    pub stopped_at: Option<u64>,
}
