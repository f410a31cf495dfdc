//! Volumes that are being created, or whose creation failed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::refused::Refused;
use crate::base::types::VolumeId;

/// A volume that is being created, or whose creation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// Position of its data directory.
    pub disk: u32,
    /// Size of the file (bytes).
    pub size: u64,
    /// Prepared part of the file (bytes).
    pub done: u64,
    /// Why the creation failed; `None` while it is under way.
    pub failed: Option<Refused>,
}

/// The volumes that are being created, or whose creation failed. The main thread writes; any thread may read.
#[derive(Debug, Default)]
pub struct Creations(Mutex<BTreeMap<VolumeId, Creation>>);

impl Creations {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<VolumeId, Creation>> {
        // No code under this lock leaves the map inconsistent when it panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the creation of a volume.
    #[must_use]
    pub fn get(&self, id: VolumeId) -> Option<Creation> {
        self.lock().get(&id).cloned()
    }

    /// All creations, by ascending volume id.
    #[must_use]
    pub fn all(&self) -> Vec<(VolumeId, Creation)> {
        self.lock().iter().map(|(id, creation)| (*id, creation.clone())).collect()
    }

    /// Records the start of a creation of `size` bytes; replaces one that failed.
    pub fn begin(&self, id: VolumeId, disk: u32, size: u64) {
        self.lock().insert(id, Creation { disk, size, done: 0, failed: None });
    }

    /// Records the prepared part of the file (bytes).
    pub fn progress(&self, id: VolumeId, done: u64) {
        if let Some(creation) = self.lock().get_mut(&id) {
            creation.done = done;
        }
    }

    /// Records the failure of a creation.
    pub fn fail(&self, id: VolumeId, why: Refused) {
        if let Some(creation) = self.lock().get_mut(&id) {
            creation.failed = Some(why);
        }
    }

    /// Removes a creation: it has succeeded, or its failure was deleted.
    pub fn end(&self, id: VolumeId) {
        self.lock().remove(&id);
    }
}
