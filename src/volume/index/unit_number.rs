//! Position of a needle in units, as entries have it.

use crate::base::limits::UNIT;

/// Number of the unit (512 bytes) at which a needle begins. The rest of the volume gives offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UnitNumber(pub(super) u64);

impl UnitNumber {
    pub(super) const MIN: Self = Self(0);
    pub(super) const MAX: Self = Self(u64::MAX);

    /// The unit that contains the byte at `offset`.
    #[inline]
    pub(super) fn of(offset: u64) -> Self {
        Self(offset / UNIT)
    }

    /// Offset of the unit (bytes).
    #[inline]
    pub(super) fn offset(self) -> u64 {
        self.0 * UNIT
    }
}
