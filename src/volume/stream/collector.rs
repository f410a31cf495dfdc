//! What is made of the needles of a stream.

use crate::volume::log::scan::FoundNeedle;
use crate::volume::scrub::walk::{Depth, LogWalk};

/// Makes a piece of needles.
pub(super) trait Collector {
    /// How much of each needle is read.
    const DEPTH: Depth;

    /// Whether the piece is full.
    fn is_full(&self) -> bool;

    /// Takes the next needle.
    fn take(&mut self, walk: &mut LogWalk<'_, '_>, found: &FoundNeedle);
}
