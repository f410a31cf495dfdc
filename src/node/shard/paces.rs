//! The paces of the background work of a shard.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::base::types::ShardId;
use crate::runtime::Handle;
use crate::runtime::background::{DiskLoad, PaceLimits, SharedPace};

/// The paces of the background work of a shard: one for each disk, by the position of its data directory.
#[derive(Default)]
pub struct Paces {
    shard: usize,
    limits: PaceLimits,
    /// Loads of the disks, which all shards share.
    loads: Vec<DiskLoad>,
    of_disks: RefCell<BTreeMap<u32, Rc<SharedPace>>>,
    is_paused: Cell<bool>,
}

impl Paces {
    /// Creates the paces of a shard on the disks with these loads.
    pub fn new(shard: ShardId, limits: PaceLimits, loads: &[DiskLoad]) -> Self {
        Self { shard: shard.index(), limits, loads: loads.to_vec(), ..Self::default() }
    }

    /// Returns the pace on a disk. Without a load that the shards share, which a simulation need not have, it
    /// yields to the requests of this shard only.
    pub fn of(&self, handle: &Handle, disk: u32) -> Rc<SharedPace> {
        let create = || {
            let shared = self.loads.get(disk as usize).cloned();
            let load = shared.unwrap_or_else(|| DiskLoad::new(self.shard + 1));
            let pace = SharedPace::new(handle, self.limits, load, self.shard);
            pace.set_paused(self.is_paused.get());
            Rc::new(pace)
        };
        Rc::clone(self.of_disks.borrow_mut().entry(disk).or_insert_with(create))
    }

    /// Pauses or resumes the work on all disks that may be paused.
    pub fn set_paused(&self, is_paused: bool) {
        self.is_paused.set(is_paused);
        self.of_disks.borrow().values().for_each(|pace| pace.set_paused(is_paused));
    }
}
