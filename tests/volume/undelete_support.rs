//! Volumes on simulated disks of which photos are deleted and taken back.

use std::rc::Rc;

use hayloft::base::types::{Cookie, NeedleId};
use hayloft::volume::{NotUndeleted, Slot, UndeleteOrder, UndeletedPhoto};

use crate::common::{COOKIE, Process};
use crate::compaction_support::{id, started};

pub const SECOND: u64 = 1_000_000_000;
pub const HOUR: u64 = 3600 * SECOND;
pub const START: u64 = 1_800_000_000 * SECOND;
pub const OTHER: Cookie = Cookie(COOKIE.0 ^ 7);
pub const WITHIN: u64 = 24 * HOUR;

pub fn begun() -> (Process, Rc<Slot>) {
    let (mut process, slot) = started();
    process.set_wall(START);
    (process, slot)
}

/// An order to take these photos back.
pub fn order_of(photos: &[(NeedleId, Cookie)]) -> UndeleteOrder {
    UndeleteOrder { photos: photos.to_vec(), within_ns: WITHIN }
}

/// Waits for the end of an order. Returns its results.
pub async fn all_ended(slot: &Slot) -> Vec<Result<(), NotUndeleted>> {
    let handle = slot.handle().clone();
    loop {
        let progress = slot.undelete_progress().unwrap();
        if progress.is_done() {
            return progress.photos.iter().map(|photo| photo.result.unwrap()).collect();
        }
        handle.sleep_until(handle.now() + 100_000).await;
    }
}

/// Waits for the end of an order of one photo. Returns its result.
pub async fn ended(slot: &Slot) -> Result<(), NotUndeleted> {
    let results = all_ended(slot).await;
    assert_eq!(results.len(), 1);
    results[0]
}

/// Takes a photo back.
pub async fn undeleted(slot: &Rc<Slot>, id: NeedleId, cookie: Cookie) -> Result<(), NotUndeleted> {
    let begun = slot.begin_undelete(order_of(&[(id, cookie)])).expect("no other is under way");
    assert_eq!(begun.photos, [UndeletedPhoto { id, result: None }]);
    ended(slot).await
}

impl Process {
    pub fn undelete(&mut self, slot: &Rc<Slot>, key: u64) -> Result<(), NotUndeleted> {
        self.undelete_as(slot, key, COOKIE)
    }

    pub fn undelete_as(
        &mut self,
        slot: &Rc<Slot>,
        key: u64,
        cookie: Cookie,
    ) -> Result<(), NotUndeleted> {
        let slot = Rc::clone(slot);
        self.run(async move { undeleted(&slot, id(key), cookie).await })
    }

    /// Stores an object in one needle, or in parts of 300,000 bytes.
    pub fn store(&mut self, slot: &Rc<Slot>, key: u64, data: &[u8]) {
        match data.len() > 1 << 20 {
            true => self.put_large(slot, id(key), data, &[300_000]).map(drop).unwrap(),
            false => self.put(slot, id(key), data).map(drop).unwrap(),
        }
    }
}

/// Length of what lives (bytes).
pub fn live(slot: &Slot) -> u64 {
    slot.volume().figures().live
}
