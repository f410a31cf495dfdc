//! The state of the health of volumes and disks in the manager.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::disk_speed::DiskSpeed;
use super::errors::{Errors, RecentErrors};
use super::records::Records;

use crate::base::types::{ShardId, VolumeId};

/// The state of the health of volumes and disks.
pub struct HealthState {
    /// What is known across starts.
    pub records: RefCell<Records>,
    pub(super) volumes: RefCell<BTreeMap<VolumeId, SeenVolume>>,
    pub(super) disks: RefCell<Vec<SeenDisk>>,
    /// Shards that have orders about the health of their volumes under way: one at a time each.
    pub(super) asking: RefCell<BTreeSet<ShardId>>,
    /// Id of the machine's boot.
    pub(super) boot: String,
}

/// What was seen of the errors of a volume.
#[derive(Default)]
pub(super) struct SeenVolume {
    /// All errors since the daemon started.
    pub all: Errors,
    /// Those of them that the device has returned.
    pub of_device: Errors,
    /// All errors within ten minutes.
    pub recent: RecentErrors,
    /// Number of hard errors whose places are recorded.
    pub recorded: u64,
    /// Random needles that are to be read, if the order was not sent yet.
    pub burst: Option<u32>,
}

/// What was seen of the errors of a disk.
#[derive(Default)]
pub(super) struct SeenDisk {
    /// Errors of the device within ten minutes.
    pub recent: RecentErrors,
    /// Whether an error was seen since the last burst.
    pub burst_wanted: bool,
    /// When the last burst began (nanoseconds).
    pub burst_at: Option<u64>,
    /// How long its reads take.
    pub speed: DiskSpeed,
}

impl HealthState {
    /// Creates the state for this number of disks. `boot`: id of the machine's boot.
    pub fn new(records: Records, disks: usize, boot: String) -> Self {
        Self {
            records: RefCell::new(records),
            volumes: RefCell::default(),
            disks: RefCell::new((0..disks).map(|_| SeenDisk::default()).collect()),
            asking: RefCell::default(),
            boot,
        }
    }

    /// Removes a volume that was deleted.
    pub fn forget(&self, id: VolumeId) {
        self.volumes.borrow_mut().remove(&id);
    }

    /// Forgets the errors of a volume and of its disk: an operator has cleared it.
    pub(super) fn clear(&self, id: VolumeId, disk: usize) {
        if let Some(seen) = self.volumes.borrow_mut().get_mut(&id) {
            seen.recent.clear();
        }
        if let Some(seen) = self.disks.borrow_mut().get_mut(disk) {
            seen.recent.clear();
            seen.burst_wanted = false;
        }
    }
}
