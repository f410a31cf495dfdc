//! A volume that a shard is to open.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::types::VolumeId;
use crate::node::metrics::VolumeMetrics;
use crate::volume::{Expected, file_name};

/// A volume that a shard is to open.
pub struct Assignment {
    /// Volume id.
    pub volume: VolumeId,
    /// All its files in the data directories in use; at least one.
    pub files: Vec<AssignedFile>,
    /// Whether all configured data directories are in use. One that is not may hold another file of the
    /// volume.
    pub all_directories: bool,
    /// Metrics of the volume.
    pub metrics: Arc<VolumeMetrics>,
}

impl Assignment {
    /// Describes where the files are, for a message: `in /disk1`, or `with the files /disk1/1.0.vol and ...`.
    pub(super) fn place(&self) -> String {
        if let [only] = &self.files[..] {
            return format!("in {}", only.dir.display());
        }
        let path = |file: &AssignedFile| {
            let name = file_name(self.volume, file.expected.generation);
            file.dir.join(name).display().to_string()
        };
        let paths: Vec<String> = self.files.iter().map(path).collect();
        format!("with the files {}", paths.join(" and "))
    }
}

/// What is known of the health of a volume file from earlier starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownHealth {
    /// Whether the volume takes no writes until an operator clears it.
    pub is_suspect: bool,
    /// Where reads of it failed.
    pub errors: ErrorPlaces,
}

/// The places of hard errors in the file of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorPlaces {
    /// Incarnation of the file.
    pub incarnation: u64,
    /// The places, in the order of the file (bytes).
    pub places: Vec<Range<u64>>,
}

/// A file of a volume that a shard is to open.
#[derive(Clone, Debug)]
pub struct AssignedFile {
    /// Data directory.
    pub dir: PathBuf,
    /// Position of the data directory in the configuration.
    pub disk: u32,
    /// Identity that the file must have, and settings of its index and checkpoints.
    pub expected: Expected,
    /// What is known of its health; `None` if the record of the data directory could not be read.
    pub health: Option<KnownHealth>,
}
