//! Damage inside acknowledged data.

use crate::base::types::NeedleId;
use crate::volume::index::Location;

/// A damaged range inside acknowledged data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedRange {
    /// Offset and length of the range.
    pub at: Location,
    /// Id of the needle in it, where that can be determined.
    pub id: Option<NeedleId>,
}
