//! The engine's types as those of the format, and back.

use crate::base::types::NeedleId;
use crate::volume::format::{DamageRecord, DamagedPart, LogPosition};
use crate::volume::index::Location;
use crate::volume::log::{DamageSource, DamagedRange, LogEnd};

/// Returns the end of a log as a position in a checkpoint.
pub fn log_position(end: &LogEnd) -> LogPosition {
    let LogEnd { record_at, tail, sequence, record_checksum, version } = *end;
    LogPosition { record_at, tail, sequence, record_checksum, version }
}

/// Returns a damaged range as it is saved.
pub fn damage_record(range: &DamagedRange) -> DamageRecord {
    let id = range.id.map(|id| (id.key.0, id.alt.0));
    let part = match range.source {
        DamageSource::File => DamagedPart::Log(id),
        DamageSource::Loss => DamagedPart::Loss(id),
        DamageSource::Generation(generation) => DamagedPart::Generation(generation),
    };
    DamageRecord { offset: range.at.offset, len: range.at.len, part }
}

/// Returns a saved damaged range.
pub fn damaged_range(record: DamageRecord) -> DamagedRange {
    let at = Location { offset: record.offset, len: record.len };
    let as_id = |id: Option<(u64, u32)>| id.map(|(key, alt)| NeedleId::new(key, alt));
    match record.part {
        DamagedPart::Log(id) => DamagedRange::of_file(at, as_id(id)),
        DamagedPart::Loss(id) => DamagedRange::of_loss(at, as_id(id)),
        DamagedPart::Generation(generation) => {
            DamagedRange { at, id: None, source: DamageSource::Generation(generation) }
        }
    }
}

/// Returns a position in a checkpoint as the end of a log.
pub fn log_end(position: LogPosition) -> LogEnd {
    let LogPosition { record_at, tail, sequence, record_checksum, version } = position;
    LogEnd { record_at, tail, sequence, record_checksum, version }
}
