//! The engine's types as those of the format, and back.

use crate::volume::format::{DamageRecord, LogPlace};
use crate::volume::log::{DamagedPlace, LogEnd};

/// Returns the end of a log as a position in a checkpoint.
pub fn place(end: &LogEnd) -> LogPlace {
    let LogEnd { record_at, tail, sequence, record_checksum, version } = *end;
    LogPlace { record_at, tail, sequence, record_checksum, version }
}

/// Returns a damaged range as it is saved.
pub fn record(place: &DamagedPlace) -> DamageRecord {
    let id = place.id.map(|id| (id.key.0, id.alt.0));
    DamageRecord { offset: place.at.offset, len: place.at.len, id }
}

/// Returns a position in a checkpoint as the end of a log.
pub fn log_end(place: LogPlace) -> LogEnd {
    let LogPlace { record_at, tail, sequence, record_checksum, version } = place;
    LogEnd { record_at, tail, sequence, record_checksum, version }
}
