//! Section `[health]`: how the daemon finds out that a disk is ill.

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::ranges::number_in;

/// How the daemon finds out that a disk is ill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthConfig {
    /// Mean time between two reads of random photos of a volume (seconds). 10 to 60; 0: none, so that a disk
    /// that nobody reads from is not known to be ill.
    pub probe_seconds: u32,
    /// Time that 99 of 100 reads of a disk must not exceed over five minutes (milliseconds), else the disk
    /// counts as slow. 1 to 60,000; 0: no such bound.
    pub slow_read_ms: u32,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self { probe_seconds: 30, slow_read_ms: 1000 }
    }
}

impl HealthConfig {
    const SLOW_READ_MS_MAX: u32 = 60_000;

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] for the first setting that is out of its range.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.probe_seconds > 0 {
            number_in("health.probe_seconds", self.probe_seconds, &(10..=60), "seconds, or 0")?;
        }
        let range = 0..=Self::SLOW_READ_MS_MAX;
        number_in("health.slow_read_ms", self.slow_read_ms, &range, "milliseconds")
    }

    /// Mean time between two reads of random photos of a volume (nanoseconds); 0: none.
    #[must_use]
    pub fn probe_interval_ns(&self) -> u64 {
        u64::from(self.probe_seconds) * 1_000_000_000
    }

    /// Time that 99 of 100 reads of a disk must not exceed (nanoseconds); `None` for no bound.
    #[must_use]
    pub fn slow_read_ns(&self) -> Option<u64> {
        (self.slow_read_ms > 0).then(|| u64::from(self.slow_read_ms) * 1_000_000)
    }
}
