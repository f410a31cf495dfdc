//! The record `DIR/health.json` of what is known of the health of the volumes in a data directory. It is
//! written best effort: the disk may be the one that is ill. Without it nothing is lost but knowledge.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::json_file;
use super::names::{HEALTH, HEALTH_TEMPORARY};
use crate::base::types::VolumeId;

/// Format of the record that this build reads and writes.
const FORMAT: u32 = 1;
/// What is known of the health of the volumes in a data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRecord {
    format: u32,
    /// The volumes of which something is known.
    pub volumes: BTreeMap<VolumeId, VolumeHealth>,
}

/// What is known of the health of a volume. Fields that are unknown are ignored: a later build of the same
/// format may add some.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeHealth {
    /// Set while the volume takes no writes because of errors.
    pub suspect: Option<Suspicion>,
    /// Incarnation of the file that `places` are in.
    pub incarnation: u64,
    /// Begin and end of each place at which reads failed (bytes).
    pub places: Vec<(u64, u64)>,
    /// Whether a write failed in the last start.
    pub poisoned: bool,
    /// Number of starts in a row, up to the last one, in which a write failed.
    pub poisoned_starts: u32,
    /// Boot id of the machine when the daemon ended last because a write to the volume had failed.
    pub ended_in_boot: Option<String>,
}

/// Why a volume is suspect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// Since when (seconds since 1970).
    pub since: u64,
    /// Why, as a sentence.
    pub why: String,
}

impl Default for HealthRecord {
    fn default() -> Self {
        Self { format: FORMAT, volumes: BTreeMap::new() }
    }
}

impl HealthRecord {
    /// Reads the record of a data directory; `None` if there is none.
    ///
    /// # Errors
    /// The kernel's, or that the file is not a record of this format.
    pub fn read(directory: &Path) -> io::Result<Option<Self>> {
        let Some(record) = json_file::read::<Self>(&directory.join(HEALTH))? else {
            return Ok(None);
        };
        if record.format != FORMAT {
            return Err(io::Error::other(format!("it has format {}", record.format)));
        }
        Ok(Some(record))
    }

    /// Writes the record of a data directory, durably. After a crash there is the old one or the new one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        json_file::write(self, directory, HEALTH, HEALTH_TEMPORARY)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn record_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        assert!(HealthRecord::read(directory.path()).unwrap().is_none());
        let mut record = HealthRecord::default();
        let suspect = Some(Suspicion { since: 1_700_000_000, why: "3 hard errors".to_owned() });
        let places = vec![(65_536, 66_048), (1 << 40, (1 << 40) + 512)];
        let health = VolumeHealth { suspect, places, incarnation: u64::MAX, ..Default::default() };
        record.volumes.insert(VolumeId(7), health);
        record.write(directory.path()).unwrap();
        assert_eq!(HealthRecord::read(directory.path()).unwrap(), Some(record));
        assert!(!directory.path().join(HEALTH_TEMPORARY).exists());
    }

    #[test]
    fn what_is_no_record_is_an_error_and_unknown_fields_are_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            fs::write(directory.path().join(HEALTH), text).unwrap();
            HealthRecord::read(directory.path())
        };
        for text in ["", "x", "{}", r#"{"format": 2, "volumes": {}}"#, r#"{"format": 1}"#] {
            assert!(read(text).is_err(), "{text}");
        }
        let text = r#"{"format": 1, "more": 7, "volumes": {"3": {"poisoned": true, "more": []}}}"#;
        let record = read(text).unwrap().unwrap();
        let health = VolumeHealth { poisoned: true, ..Default::default() };
        assert_eq!(record.volumes, BTreeMap::from([(VolumeId(3), health)]));
    }

    #[test]
    fn failed_write_leaves_the_old_record() {
        let directory = tempfile::tempdir().unwrap();
        HealthRecord::default().write(directory.path()).unwrap();
        fs::create_dir(directory.path().join(HEALTH_TEMPORARY)).unwrap();
        let mut other = HealthRecord::default();
        other.volumes.insert(VolumeId(1), VolumeHealth::default());
        assert!(other.write(directory.path()).is_err());
        let kept = HealthRecord::read(directory.path()).unwrap();
        assert_eq!(kept, Some(HealthRecord::default()));
    }
}
