//! Location of a needle in its volume file.

use super::offset_sums::OffsetSums;

/// Location of a needle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Offset in the volume file (bytes).
    pub offset: u64,
    /// Length (bytes). One read of this length returns exactly the needle.
    pub len: u64,
}

/// End and total length of a set of needles, and the sums of their offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// End of the needle that ends last (bytes).
    pub end: u64,
    /// Total length of the needles (bytes).
    pub len: u64,
    /// Sums of their offsets.
    pub sums: OffsetSums,
}

impl Extent {
    /// Adds a needle.
    pub(super) fn add(&mut self, at: Location) {
        self.end = self.end.max(at.offset + at.len);
        self.len += at.len;
        self.sums.add(at.offset);
    }
}
