//! A volume file that a shard is to open.

use std::path::PathBuf;
use std::sync::Arc;

use crate::node::metrics::VolumeMetrics;
use crate::volume::Expected;

/// A volume file that a shard is to open.
pub struct Assignment {
    /// Data directory.
    pub dir: PathBuf,
    /// Identity that the file must have, and settings of its index and checkpoints.
    pub expected: Expected,
    /// Metrics of the volume.
    pub metrics: Arc<VolumeMetrics>,
}
