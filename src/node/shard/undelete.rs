//! Taking deleted photos of the volumes of a shard back.

use super::order::{OrderError, UndeleteNeedles};
use super::volumes::Volumes;
use crate::volume::UndeleteProgress;

impl Volumes {
    /// Begins to take photos back, or only returns how far the last order is. Returns `None` if there was
    /// none, or if it has not ended and another one was to begin.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub fn undelete(&self, order: UndeleteNeedles) -> Result<Option<UndeleteProgress>, OrderError> {
        let slot = self.slot_to_change(order.volume)?;
        Ok(match order.begin {
            Some(begin) => slot.begin_undelete(begin),
            None => slot.undelete_progress(),
        })
    }
}
