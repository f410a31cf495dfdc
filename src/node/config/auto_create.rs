//! Section `[auto_create]`: volumes that the daemon creates by itself.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::or_word::{Auto, Off, OrWord};
use super::ranges::{VOLUME_BYTES, mebibytes, size_in};
use crate::base::size::{ByteSize, MIB, TIB};

/// Creation of the next volume ahead of need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoCreateConfig {
    /// A volume is created when all volumes that take photos have less room left than this, together. 1 MiB
    /// to 1024 TiB.
    pub when_room_below: OrWord<ByteSize, Off>,
    /// Size of that volume; `auto`: `volume_size`. A multiple of 1 MiB, 16 MiB to 1 TiB.
    pub size: OrWord<ByteSize, Auto>,
}

impl AutoCreateConfig {
    const ROOM: RangeInclusive<u64> = MIB..=1024 * TIB;

    /// Checks the ranges, and that a size has a use.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] for the first setting that is wrong.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(room) = self.when_room_below.value() {
            size_in("auto_create.when_room_below", room, &Self::ROOM)?;
        }
        let Some(size) = self.size.value() else { return Ok(()) };
        mebibytes("auto_create.size", size, &VOLUME_BYTES)?;
        if self.when_room_below.value().is_some() {
            return Ok(());
        }
        Err(ConfigError::setting(
            "auto_create.size",
            format!(
                "it is {size}, but no volume is created while auto_create.when_room_below is off"
            ),
            "write a size there, for instance when_room_below = \"10GiB\", or remove both",
        ))
    }
}
