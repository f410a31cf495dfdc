//! Section `[background]`: the pace of background work.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::ranges::size_in;
use crate::base::size::{ByteSize, GIB, KIB};

/// Pace of background work: compactions and checkpoints, all of one shard on one disk together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackgroundConfig {
    /// Bytes per second that it makes at least, however busy the disk is, so that it ends. 64 KiB to
    /// `rate_max`.
    pub rate_min: ByteSize,
    /// Bytes per second that it makes at most, however idle the disk is. Up to 64 GiB.
    pub rate_max: ByteSize,
}

impl Default for BackgroundConfig {
    fn default() -> Self {
        Self { rate_min: ByteSize::mib(4), rate_max: ByteSize(4 * GIB) }
    }
}

impl BackgroundConfig {
    const RATES: RangeInclusive<u64> = 64 * KIB..=64 * GIB;

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] for the first setting that is out of its range.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        size_in("background.rate_max", self.rate_max, &Self::RATES)?;
        let (least, most) = (*Self::RATES.start(), self.rate_max.bytes());
        size_in("background.rate_min", self.rate_min, &(least..=most))
    }
}
