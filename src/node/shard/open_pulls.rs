//! The pulls in progress of a shard.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::base::types::VolumeId;
use crate::volume::Pull;

/// A pull in progress.
struct OpenPull {
    /// Number of the pull.
    number: u64,
    /// The pull; `None` while it makes a step.
    pull: Option<Pull>,
}

/// The pulls in progress of a shard, at most one into each volume.
#[derive(Default)]
pub struct OpenPulls {
    open: RefCell<BTreeMap<VolumeId, OpenPull>>,
}

impl OpenPulls {
    /// Adds a pull. One into the same volume that was in progress is abandoned.
    pub fn add(&self, volume: VolumeId, number: u64, pull: Pull) {
        let before = self.open.borrow_mut().insert(volume, OpenPull { number, pull: Some(pull) });
        // Dropped after the borrow: an upload looks at its volume.
        drop(before);
    }

    /// Takes a pull out for a step; `None` if it is not in progress any more.
    pub fn take(&self, volume: VolumeId, number: u64) -> Option<Pull> {
        let mut open = self.open.borrow_mut();
        open.get_mut(&volume).filter(|open| open.number == number)?.pull.take()
    }

    /// Puts a pull back after a step. It is abandoned if it has been removed meanwhile.
    pub fn put_back(&self, volume: VolumeId, number: u64, pull: Pull) {
        let mut pull = Some(pull);
        if let Some(open) = self.open.borrow_mut().get_mut(&volume)
            && open.number == number
        {
            open.pull = pull.take();
        }
        // Dropped after the borrow, if it is left: an upload looks at its volume.
        drop(pull);
    }

    /// Removes a pull, if it is in progress: what it has not completed is abandoned.
    pub fn remove(&self, volume: VolumeId, number: u64) {
        let is_open = self.open.borrow().get(&volume).is_some_and(|open| open.number == number);
        if is_open {
            self.remove_all_of(volume);
        }
    }

    /// Removes the pull into a volume.
    pub fn remove_all_of(&self, volume: VolumeId) {
        let removed = self.open.borrow_mut().remove(&volume);
        drop(removed);
    }

    /// Removes all pulls.
    pub fn clear(&self) {
        let removed = self.open.take();
        drop(removed);
    }

    /// Whether a pull into a volume is in progress.
    pub fn is_open(&self, volume: VolumeId) -> bool {
        self.open.borrow().contains_key(&volume)
    }
}
