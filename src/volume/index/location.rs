//! Location of a needle in its volume file.

/// Location of a needle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Offset in the volume file (bytes).
    pub offset: u64,
    /// Length (bytes). One read of this length returns exactly the needle.
    pub len: u64,
}

/// End and total length of a set of needles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// End of the needle that ends last (bytes).
    pub end: u64,
    /// Total length of the needles (bytes).
    pub len: u64,
}

impl Extent {
    /// Adds a needle.
    pub(super) fn add(&mut self, at: Location) {
        self.end = self.end.max(at.offset + at.len);
        self.len += at.len;
    }
}
