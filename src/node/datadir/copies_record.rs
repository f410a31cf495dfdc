//! The record `DIR/copies.json` of the copies that other nodes of a cluster have of the volumes in a data
//! directory. It is written best effort: without it nothing is lost, but everything is offered to the copies
//! again.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::json_file;
use super::names::{COPIES, COPIES_TEMPORARY};
use crate::base::types::VolumeId;

/// Format of the record that this build reads and writes.
const FORMAT: u32 = 1;

/// Up to when the copies of the volumes in a data directory have everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiesRecord {
    format: u32,
    /// For each volume with copies: by the name of the other node, the version up to which both nodes have
    /// everything.
    pub volumes: BTreeMap<VolumeId, BTreeMap<String, u64>>,
}

impl CopiesRecord {
    /// A record of these volumes.
    #[must_use]
    pub fn new(volumes: BTreeMap<VolumeId, BTreeMap<String, u64>>) -> Self {
        Self { format: FORMAT, volumes }
    }

    /// Reads the record of a data directory; `None` if there is none.
    ///
    /// # Errors
    /// The kernel's, or that the file is not a record of this format.
    pub fn read(directory: &Path) -> io::Result<Option<Self>> {
        let Some(record) = json_file::read::<Self>(&directory.join(COPIES))? else {
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
        json_file::write(self, directory, COPIES, COPIES_TEMPORARY)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn record_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        assert!(CopiesRecord::read(directory.path()).unwrap().is_none());
        let marks = BTreeMap::from([("10.0.0.2:8080".to_owned(), u64::MAX)]);
        let record = CopiesRecord::new(BTreeMap::from([(VolumeId(7), marks)]));
        record.write(directory.path()).unwrap();
        assert_eq!(CopiesRecord::read(directory.path()).unwrap(), Some(record));
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "{}", r#"{"format": 2, "volumes": {}}"#, r#"{"format": 1}"#] {
            fs::write(directory.path().join(COPIES), text).unwrap();
            assert!(CopiesRecord::read(directory.path()).is_err(), "{text}");
        }
    }
}
