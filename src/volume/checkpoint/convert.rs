//! The engine's types as those of the format, and back.

use crate::volume::format::{DamageRecord, LogPosition};
use crate::volume::log::{DamagedRange, LogEnd};

/// Returns the end of a log as a position in a checkpoint.
pub fn log_position(end: &LogEnd) -> LogPosition {
    let LogEnd { record_at, tail, sequence, record_checksum, version } = *end;
    LogPosition { record_at, tail, sequence, record_checksum, version }
}

/// Returns a damaged range as it is saved.
pub fn damage_record(range: &DamagedRange) -> DamageRecord {
    let id = range.id.map(|id| (id.key.0, id.alt.0));
    DamageRecord { offset: range.at.offset, len: range.at.len, id }
}

/// Returns a position in a checkpoint as the end of a log.
pub fn log_end(position: LogPosition) -> LogEnd {
    let LogPosition { record_at, tail, sequence, record_checksum, version } = position;
    LogEnd { record_at, tail, sequence, record_checksum, version }
}
