//! When a needle counts as absent. Everything that reads needles asks here.

use crate::volume::Volume;
use crate::volume::format::NeedleHeader;

impl Volume {
    /// Returns whether a needle has expired by the wall clock: then it counts as absent in every respect.
    pub(in crate::volume) fn is_expired(&self, header: &NeedleHeader) -> bool {
        is_expired_at(header, self.handle.wall())
    }
}

/// Returns whether a needle has expired at this time (nanoseconds since 1970).
pub(in crate::volume) fn is_expired_at(header: &NeedleHeader, now: u64) -> bool {
    header.expires_ns.is_some_and(|expires_ns| expires_ns <= now)
}
