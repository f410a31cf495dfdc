//! Checks that a setting is in its range. Messages give the range.

use std::fmt::Display;
use std::ops::RangeInclusive;

use super::error::ConfigError;
use crate::base::size::{ByteSize, MIB, TIB};

/// Sizes that a volume may have (bytes), in steps of 1 MiB.
pub(super) const VOLUME_BYTES: RangeInclusive<u64> = 16 * MIB..=TIB;

pub(super) fn count_in(key: &str, count: usize, max: usize, what: &str) -> Result<(), ConfigError> {
    if (1..=max).contains(&count) {
        return Ok(());
    }
    Err(ConfigError::setting(key, format!("{count} {what}"), format!("name 1 to {max}")))
}

pub(super) fn number_in(
    key: &str,
    value: u32,
    range: &RangeInclusive<u32>,
    unit: &str,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::setting(
        key,
        format!("{value} is out of range"),
        format!("write {} to {} ({unit})", range.start(), range.end()),
    ))
}

/// Checks a value whose text form has its unit.
pub(super) fn value_in<T: PartialOrd + Display>(
    key: &str,
    value: &T,
    range: &RangeInclusive<T>,
    what: &str,
) -> Result<(), ConfigError> {
    if range.contains(value) {
        return Ok(());
    }
    Err(ConfigError::setting(
        key,
        format!("{value} is out of range"),
        format!("write {what} from {} to {}", range.start(), range.end()),
    ))
}

pub(super) fn size_in(
    key: &str,
    size: ByteSize,
    range: &RangeInclusive<u64>,
) -> Result<(), ConfigError> {
    let range = ByteSize(*range.start())..=ByteSize(*range.end());
    value_in(key, &size, &range, "a size")
}

pub(super) fn mebibytes(
    key: &str,
    size: ByteSize,
    range: &RangeInclusive<u64>,
) -> Result<(), ConfigError> {
    size_in(key, size, range)?;
    if size.bytes().is_multiple_of(MIB) {
        return Ok(());
    }
    // The ends of the range are multiples, so both neighbouring multiples are in the range.
    let (below, above) = (size.bytes() / MIB, size.bytes().div_ceil(MIB));
    Err(ConfigError::setting(
        key,
        format!("{size} is not a multiple of 1MiB"),
        format!("write {below}MiB or {above}MiB"),
    ))
}
