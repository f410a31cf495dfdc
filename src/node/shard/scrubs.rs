//! Scrubs of the volumes of a shard: started with each volume, and asked for by orders.

use std::rc::Rc;

use super::order::OrderError;
use super::volumes::Volumes;
use crate::base::types::VolumeId;
use crate::runtime::{Handle, KeyLocks};
use crate::volume::{FoundDamage, ScrubPlan, Slot};

impl Volumes {
    /// Starts the task that scrubs a volume.
    pub(super) fn start_scrubs(&self, handle: &Handle, slot: &Rc<Slot>) {
        let turns = self.scrub_turns.get_or_init(|| Rc::new(KeyLocks::new(handle)));
        slot.start_scrubs(&ScrubPlan {
            interval_ns: self.plans.scrub_interval_ns,
            turns: Rc::clone(turns),
            on_end: Rc::from(self.publisher(slot.id())),
        });
    }

    /// Asks for a scrub of a volume. It may have to wait for that of another one in the same data directory.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub fn request_scrub(&self, id: VolumeId) -> Result<(), OrderError> {
        self.slot_to_change(id)?.request_scrub();
        self.publish();
        Ok(())
    }

    /// Returns the damage that scrubs have found in a volume.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub fn found_damage(&self, id: VolumeId) -> Result<Vec<FoundDamage>, OrderError> {
        Ok(self.slot_to_change(id)?.found_damage())
    }
}
