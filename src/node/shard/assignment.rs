//! A volume that a shard is to open.

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

/// A file of a volume that a shard is to open.
#[derive(Clone, Debug)]
pub struct AssignedFile {
    /// Data directory.
    pub dir: PathBuf,
    /// Position of the data directory in the configuration.
    pub disk: u32,
    /// Identity that the file must have, and settings of its index and checkpoints.
    pub expected: Expected,
}
