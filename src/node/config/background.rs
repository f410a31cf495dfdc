//! Section `[background]`: the pace of background work.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::ranges::{number_in, size_in};
use crate::base::size::{ByteSize, GIB, KIB};

/// A day (nanoseconds).
const DAY_NS: u64 = 86_400_000_000_000;

/// Pace of background work: compactions, scrubs and checkpoints, all of one shard on one disk together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackgroundConfig {
    /// Bytes per second that it makes at least, however busy the disk is, so that it ends. 64 KiB to
    /// `rate_max`.
    pub rate_min: ByteSize,
    /// Bytes per second that it makes at most, however idle the disk is. Up to 64 GiB.
    pub rate_max: ByteSize,
    /// Days within which every photo is read and verified. 1 to 3650; 0: only on request.
    pub scrub_days: u32,
}

impl Default for BackgroundConfig {
    fn default() -> Self {
        Self { rate_min: ByteSize::mib(4), rate_max: ByteSize(4 * GIB), scrub_days: 30 }
    }
}

impl BackgroundConfig {
    const SCRUB_DAYS_MAX: u32 = 3650;
    const RATES: RangeInclusive<u64> = 64 * KIB..=64 * GIB;

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] for the first setting that is out of its range.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        size_in("background.rate_max", self.rate_max, &Self::RATES)?;
        let (least, most) = (*Self::RATES.start(), self.rate_max.bytes());
        size_in("background.rate_min", self.rate_min, &(least..=most))?;
        number_in("background.scrub_days", self.scrub_days, &(0..=Self::SCRUB_DAYS_MAX), "days")
    }

    /// Time from the begin of a scrub of a volume to the begin of the next one (nanoseconds); 0: only on
    /// request. A fifth of the days is left for the scrub itself.
    #[must_use]
    pub fn scrub_interval_ns(&self) -> u64 {
        u64::from(self.scrub_days) * DAY_NS / 5 * 4
    }
}
