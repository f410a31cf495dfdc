//! States of volumes on disk: those that a start may find.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use hayloft::base::types::VolumeId;

/// Possible states on disk of a volume: no file, or the state in its superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnDisk {
    pub nothing: bool,
    pub read_only: bool,
    pub writable: bool,
}

pub const NOTHING: OnDisk = OnDisk { nothing: true, read_only: false, writable: false };
pub const READ_ONLY: OnDisk = OnDisk { nothing: false, read_only: true, writable: false };
pub const WRITABLE: OnDisk = OnDisk { nothing: false, read_only: false, writable: true };

impl OnDisk {
    pub fn or(self, other: Self) -> Self {
        Self {
            nothing: self.nothing || other.nothing,
            read_only: self.read_only || other.read_only,
            writable: self.writable || other.writable,
        }
    }
}

/// Possible states on disk of all volumes; kept across restarts.
#[derive(Default)]
pub struct DiskStates(RefCell<BTreeMap<VolumeId, OnDisk>>, RefCell<BTreeSet<VolumeId>>);

impl DiskStates {
    pub fn of(&self, volume: VolumeId) -> OnDisk {
        self.0.borrow().get(&volume).copied().unwrap_or(WRITABLE)
    }

    pub fn set(&self, volume: VolumeId, on_disk: OnDisk) {
        self.0.borrow_mut().insert(volume, on_disk);
    }

    /// Records that a volume was to be moved to another data directory.
    pub fn note_move(&self, volume: VolumeId) {
        self.1.borrow_mut().insert(volume);
    }

    /// Whether the current file of a volume may be in either data directory.
    pub fn may_be_elsewhere(&self, volume: VolumeId) -> bool {
        self.1.borrow().contains(&volume)
    }

    /// Asserts that a start may find, or not find, the file of a volume, and records the result.
    pub fn found(&self, volume: VolumeId, is_there: bool) {
        let on_disk = self.of(volume);
        let has_cause =
            if is_there { on_disk.read_only || on_disk.writable } else { on_disk.nothing };
        assert!(has_cause, "no cause for volume {volume} being present: {is_there}; {on_disk:?}");
        let OnDisk { read_only, writable, .. } = on_disk;
        let found = OnDisk { nothing: false, read_only, writable };
        self.set(volume, if is_there { found } else { NOTHING });
    }
}
