//! A needle that waits for its commit.

use crate::runtime::buffer::Buf;
use crate::volume::format::{Kind, NeedleHeader};
use crate::volume::index::IdHash;
use crate::volume::log::expiry_sums::Expiring;

/// A needle that waits to be appended. The buffer holds it from its first byte, complete except for
/// header, padding and footer.
pub struct Pending {
    /// Buffer that holds the needle.
    pub buf: Buf,
    /// Header without the fields that the commit determines: version, epoch, sequence, ordinal.
    pub header: NeedleHeader,
    /// Hash of the id.
    pub hash: IdHash,
    /// What it supersedes or deletes, if that expires and is known.
    pub superseded: Option<Expiring>,
    /// Bytes taken out of a [`Reservation`](super::reservation::Reservation) for this needle.
    pub reserved: u64,
    /// Whether it is a copy of a needle of another volume: a volume that is a copy takes nothing else.
    pub is_copy: bool,
}

impl Pending {
    /// Returns whether it deletes a needle.
    pub fn is_tombstone(&self) -> bool {
        self.header.kind == Kind::Tombstone
    }

    /// Length of the needle (bytes).
    pub fn len(&self) -> u64 {
        self.header.layout().len as u64
    }
}
