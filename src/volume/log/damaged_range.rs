//! Damage inside acknowledged data.

use crate::base::types::NeedleId;
use crate::volume::format::EarlierRange;
use crate::volume::index::Location;

/// A damaged range inside acknowledged data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedRange {
    /// Offset and length of the range, in the file that `source` says.
    pub at: Location,
    /// Id of the needle in it, where that can be determined.
    pub id: Option<NeedleId>,
    /// Where the range is, and what is known of it.
    pub source: DamageSource,
}

/// Source of a damaged range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageSource {
    /// The range is in this file and cannot be read.
    File,
    /// The range is in this file: the record of a live object that a compaction could not carry over.
    Loss,
    /// The range was in the file of this earlier generation, and damaged when that was compacted.
    Generation(u64),
}

impl DamagedRange {
    /// A range of this file.
    pub fn of_file(at: Location, id: Option<NeedleId>) -> Self {
        Self { at, id, source: DamageSource::File }
    }

    /// The record of a lost object.
    pub fn of_loss(at: Location, id: Option<NeedleId>) -> Self {
        Self { at, id, source: DamageSource::Loss }
    }

    /// A range of the file of an earlier generation.
    pub fn of_earlier(range: EarlierRange) -> Self {
        let EarlierRange { generation, offset, len } = range;
        let source = DamageSource::Generation(generation);
        Self { at: Location { offset, len }, id: None, source }
    }
}
