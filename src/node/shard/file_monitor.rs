//! The monitoring of volume files, as shards use it.

use std::io;
use std::path::PathBuf;

use crate::base::types::VolumeId;

/// Monitors whether volume files are still at their paths: one file of each volume, that of the open
/// generation. A file that is not is reported to the daemon, which orders the shard to fence that generation
/// ([`FenceVolume`](super::FenceVolume)).
///
/// Each call asks the file system for the identity of at most one file. The caller has just opened that file,
/// so that the answer is in memory.
pub trait FileMonitor: Send + Sync {
    /// Monitors the file of a volume that is not monitored. A volume whose file cannot be monitored must take
    /// no more writes.
    ///
    /// # Errors
    /// The path cannot be inspected, or its data directory was lost. Nothing is monitored then.
    fn watch(&self, volume: VolumeId, generation: u64, path: PathBuf) -> io::Result<()>;

    /// Monitors the file of a newer generation instead of the present one, in one step. Called before the
    /// file of the older generation is removed.
    ///
    /// # Errors
    /// As [`Self::watch`]; the older file is still monitored then.
    ///
    /// # Panics
    /// If the generation is not higher than the monitored one.
    fn replace(&self, volume: VolumeId, generation: u64, path: PathBuf) -> io::Result<()>;

    /// Ends the monitoring of a volume's file, which is about to be removed on purpose.
    fn forget(&self, volume: VolumeId);

    /// Reports that a volume has no file any more: its only one was not finished, and was removed. The daemon
    /// removes the volume from its tables.
    fn report_without_file(&self, volume: VolumeId);
}
