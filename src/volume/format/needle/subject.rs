//! What is in the place of the id of a needle: an id, leading bits of a hash, or a range of another file.

use std::ops::RangeInclusive;

use super::kind::Kind;
use crate::base::limits::UNIT;
use crate::base::types::{Cookie, NeedleId};

/// Permitted numbers of known leading bits of a hash. No index keeps fewer bits.
pub const HASH_PREFIX_BITS: RangeInclusive<u32> = 35..=64;

/// Returns the object that a needle of this kind belongs to; `None` if it has no id, or the id is not known.
pub(super) fn owner(kind: Kind, id: NeedleId) -> Option<NeedleId> {
    match kind {
        Kind::Data | Kind::Tombstone | Kind::Part | Kind::Manifest | Kind::Loss => Some(id),
        Kind::UnidentifiedLoss | Kind::DamagedRange => None,
    }
}

/// Returns whether a needle of this kind may have these bits in the place of its id.
pub(super) fn is_possible(kind: Kind, id: NeedleId) -> bool {
    kind != Kind::UnidentifiedLoss || HashPrefix::of(id).is_possible()
}

/// Leading bits of the hash of an id that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashPrefix {
    /// The leading bits; the others are zero.
    pub leading: u64,
    /// Number of leading bits.
    pub bits: u32,
}

impl HashPrefix {
    /// Returns the prefix that is in the place of the id of an [`UnidentifiedLoss`](Kind::UnidentifiedLoss).
    #[must_use]
    pub fn of(id: NeedleId) -> Self {
        Self { leading: id.key.0, bits: id.alt.0 }
    }

    fn is_possible(self) -> bool {
        let others = self.leading.checked_shl(self.bits).unwrap_or(0);
        HASH_PREFIX_BITS.contains(&self.bits) && others == 0
    }

    pub(super) fn as_id(self) -> NeedleId {
        NeedleId::new(self.leading, self.bits)
    }
}

/// A range that was damaged in the file of an earlier generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlierRange {
    /// Generation of the file.
    pub generation: u64,
    /// Offset in that file (bytes).
    pub offset: u64,
    /// Length (bytes). It is recorded in units, rounded up.
    pub len: u64,
}

impl EarlierRange {
    /// Returns the range that is in the place of id and cookie of a [`DamagedRange`](Kind::DamagedRange).
    #[must_use]
    pub fn of(id: NeedleId, cookie: Cookie) -> Self {
        Self { generation: cookie.0, offset: id.key.0, len: u64::from(id.alt.0) * UNIT }
    }

    pub(super) fn as_id(self) -> NeedleId {
        NeedleId::new(self.offset, u32::try_from(self.len.div_ceil(UNIT)).unwrap_or(u32::MAX))
    }
}
