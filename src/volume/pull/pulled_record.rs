//! A record of another volume, as it has arrived.

use std::ops::AddAssign;

use crate::volume::format::RecordHead;

/// A record of another volume.
#[derive(Clone, Debug)]
pub(super) struct PulledRecord {
    /// Its head.
    pub(super) head: RecordHead,
    /// Attributes and data, whose checksum was verified.
    pub(super) payload: Vec<u8>,
}

impl PulledRecord {
    /// The attributes, as they are stored.
    pub(super) fn attributes(&self) -> &[u8] {
        &self.payload[..usize::from(self.head.attributes_len)]
    }

    /// The data: a body, or a piece of one.
    pub(super) fn data(&self) -> &[u8] {
        &self.payload[usize::from(self.head.attributes_len)..]
    }
}

/// What was done with records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Number of objects that were stored.
    pub objects: u64,
    /// Length of their bodies (bytes).
    pub bytes: u64,
    /// Number of objects that were there already.
    pub known: u64,
    /// Number of objects that were deleted.
    pub deletions: u64,
    /// Number of objects that the source could not read.
    pub damaged: u64,
}

impl AddAssign for Pulled {
    fn add_assign(&mut self, other: Self) {
        let Self { objects, bytes, known, deletions, damaged } = other;
        self.objects += objects;
        self.bytes += bytes;
        self.known += known;
        self.deletions += deletions;
        self.damaged += damaged;
    }
}
