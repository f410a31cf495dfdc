//! The monitoring of volume files in a simulated node: which file of each volume is the current one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hayloft::base::types::VolumeId;
use hayloft::node::shard::FileMonitor;

use super::files::{DIRECTORIES, VolumeFile};

#[derive(Default)]
struct State {
    /// The file of each volume that was monitored last.
    current: BTreeMap<VolumeId, VolumeFile>,
    /// Volumes whose file was exchanged, in order.
    exchanged: Vec<VolumeId>,
    /// Number of files that cannot be monitored from now on.
    refusals: u64,
    /// Volumes whose file could not be monitored.
    refused: BTreeSet<VolumeId>,
}

/// Records which files are monitored.
#[derive(Default)]
pub struct Monitor(Mutex<State>);

impl Monitor {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open file of a volume, or the one that was open last.
    pub fn current(&self, volume: VolumeId) -> Option<VolumeFile> {
        self.lock().current.get(&volume).copied()
    }

    /// Removes and returns the volumes whose file was exchanged.
    pub fn take_exchanged(&self) -> Vec<VolumeId> {
        std::mem::take(&mut self.lock().exchanged)
    }

    /// Makes the monitoring of the next file fail.
    pub fn refuse_next(&self) {
        self.lock().refusals = 1;
    }

    /// Whether a file of the volume could not be monitored.
    pub fn has_refused(&self, volume: VolumeId) -> bool {
        self.lock().refused.contains(&volume)
    }

    fn set(&self, volume: VolumeId, generation: u64, path: &Path) -> io::Result<()> {
        let dir = path.parent().expect("a file in a directory");
        let dir = DIRECTORIES.iter().position(|known| Path::new(known) == dir);
        let dir = u32::try_from(dir.expect("a data directory")).unwrap();
        let mut state = self.lock();
        state.current.insert(volume, VolumeFile { volume, generation, dir });
        if state.refusals > 0 {
            state.refusals -= 1;
            state.refused.insert(volume);
            return Err(io::Error::other("refused by the test"));
        }
        Ok(())
    }
}

impl FileMonitor for Monitor {
    fn watch(&self, volume: VolumeId, generation: u64, path: PathBuf) -> io::Result<()> {
        self.set(volume, generation, &path)
    }

    fn replace(&self, volume: VolumeId, generation: u64, path: PathBuf) -> io::Result<()> {
        let before = self.current(volume).expect("the replaced file was monitored");
        assert_eq!(generation, before.generation + 1, "volume {volume}: generations in order");
        self.lock().exchanged.push(volume);
        self.set(volume, generation, &path)
    }

    fn forget(&self, volume: VolumeId) {
        // The file stays known: requests to the volume may still be answered.
        let _ = volume;
    }

    fn report_without_file(&self, volume: VolumeId) {
        panic!("volume {volume} has an unfinished file only");
    }
}
