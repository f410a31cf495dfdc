//! Which ids are certainly not in the volume: a copy deletes what its source has no more, and nothing that
//! the source only cannot read.

use super::slot::Slot;
use crate::base::types::NeedleId;
use crate::runtime::join_all;
use crate::volume::error::Refusal;
use crate::volume::object::look_up::Present;

/// Maximum number of ids that are looked up at a time.
const LOOK_UPS: usize = 16;

impl Slot {
    /// Returns those of `ids` that the volume certainly has not: none as long as it has damage in which no
    /// object is known.
    ///
    /// # Errors
    /// [`Refusal::NoBuffer`].
    pub async fn absent(&self, ids: &[NeedleId]) -> Result<Vec<NeedleId>, Refusal> {
        let volume = self.volume();
        let is_known = !volume.index_is_incomplete
            && volume.damage().iter().all(|damaged| damaged.id.is_some());
        if !is_known {
            return Ok(Vec::new());
        }
        let found = join_all(ids.iter().map(|id| volume.look_up(*id)), LOOK_UPS).await;
        let mut absent = Vec::new();
        for (id, found) in ids.iter().zip(found) {
            if matches!(found?, Present::No | Present::Expired(..)) {
                absent.push(*id);
            }
        }
        Ok(absent)
    }
}
