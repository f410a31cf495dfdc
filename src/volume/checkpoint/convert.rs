//! The engine's types as those of the format, and back.

use crate::base::types::NeedleId;
use crate::volume::format::{
    CheckpointProperty, DamageRecord, DamagedPart, LogPosition, UNNAMED_PER_ENTRY, UnnamedRecord,
};
use crate::volume::index::Location;
use crate::volume::log::properties::{LogProperties, UnnamedParts};
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

/// Returns the properties of a log as they are saved.
pub fn checkpoint_properties(properties: &LogProperties) -> Vec<CheckpointProperty> {
    let unnamed: Vec<UnnamedRecord> = properties.unnamed().map(unnamed_record).collect();
    let unnamed = unnamed.chunks(UNNAMED_PER_ENTRY);
    let oldest_dead = properties.oldest_dead().map(CheckpointProperty::OldestDead);
    let key_max = CheckpointProperty::KeyMax(properties.key_max());
    let days: Vec<(u32, u64)> = properties.expiry().days().collect();
    let expiry = (!days.is_empty()).then_some(CheckpointProperty::ExpirySums(days));
    let numbers = oldest_dead.into_iter().chain([key_max]).chain(expiry);
    numbers.chain(unnamed.map(|ids| CheckpointProperty::UnnamedParts(ids.to_vec()))).collect()
}

fn unnamed_record((id, parts): (NeedleId, UnnamedParts)) -> UnnamedRecord {
    let UnnamedParts { version, len } = parts;
    UnnamedRecord { id: (id.key.0, id.alt.0), version, len }
}

/// Returns saved parts that no manifest names, with their id.
pub fn unnamed_parts(record: &UnnamedRecord) -> (NeedleId, UnnamedParts) {
    let UnnamedRecord { id: (key, alt), version, len } = *record;
    (NeedleId::new(key, alt), UnnamedParts { version, len })
}
