//! The last step of taking a photo back: its needle is appended anew, of a multipart object only the
//! manifest.

use std::rc::Rc;

use super::slot::Slot;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::NeedleId;
use crate::volume::Volume;
use crate::volume::index::Location;
use crate::volume::log::joined::Joined;
use crate::volume::undelete::EndedEarly;

impl Slot {
    /// Appends the deleted needle of `id` that is at `at` in the file of `volume`, if its name is free. The
    /// caller must hold the lock of the id.
    ///
    /// # Errors
    /// [`EndedEarly`].
    pub(in crate::volume) async fn join_undelete(
        &self,
        volume: &Rc<Volume>,
        id: NeedleId,
        at: Location,
    ) -> Result<Joined, EndedEarly> {
        let entered = self.enter().await;
        if !Rc::ptr_eq(&entered.volume, volume) && !chosen(Sabotage::UndeleteAtOldPlace) {
            return Err(EndedEarly::Exchanged);
        }
        let volume = &entered.volume;
        let superseded = volume.decide_undelete(id).await?;
        if superseded.offset == 0 {
            volume.admit_new()?;
        }
        let restored = volume.restored(id, at, superseded).await?;
        Ok(volume.append_with_blocks(vec![restored]).await?)
    }
}
