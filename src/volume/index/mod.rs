//! The index of a volume: the locations of its needles, in memory.
//!
//! A multimap keyed by a hash of the needle's id. The index does not store ids: a candidate is confirmed
//! from the needle itself, by the read that is needed anyway. The index is never authoritative; the log
//! is. A needle takes 8 bytes in a table that is nearly full at all times.
//!
//! - `index`: the multimap ([`Index`]). `figures`: its figures. `saving`: saving and restoring it.
//!   `sample`: random needles.
//! - `hash`: hash of ids. `location`: what the hash is mapped to. `unit_number`:
//!   its offset as an entry has it. `offset_sums`: what the offsets of all needles have in common with those
//!   that the log says.
//! - `layout`: the bits of an entry. `segment`: the arithmetic of a part of the table.
//! - `table`: directory, segments and stash; lookup and removal. `insert`, `growth`, `table_saving`: what
//!   adds entries to it.
//! - `place`: puts an entry into a segment. `memory`: holds the segments.

mod figures;
mod growth;
mod hash;
#[expect(clippy::module_inception, reason = "the file of `Index`")]
mod index;
mod insert;
mod layout;
mod location;
mod memory;
mod offset_sums;
mod place;
mod retired;
mod sample;
mod saving;
mod segment;
mod table;
mod table_saving;
#[cfg(test)]
mod tests;
mod unit_number;

pub use figures::IndexFigures;
pub use hash::{Hasher, IdHash};
pub use index::{Index, PREFETCHED};
pub use layout::HASH_BITS_MIN;
pub use location::{Extent, Location};
pub use offset_sums::{OFFSET_SUMS, OffsetSums};
pub use retired::RetiredIndex;
pub use saving::{SavedSegment, StashKey};
