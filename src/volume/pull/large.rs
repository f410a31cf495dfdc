//! Large bodies: their pieces become parts of an upload, like those of a client.

use std::rc::Rc;

use super::not_pulled::NotPulled;
use super::pulled_record::{Pulled, PulledRecord};
use crate::base::limits::NEEDLE_DATA_MAX;
use crate::runtime::buffer::Pool;
use crate::volume::format::BadExchange;
use crate::volume::{Slot, Upload};

/// A large object whose pieces are arriving.
pub(super) struct LargePull {
    /// The record with which it began.
    object: PulledRecord,
    /// Its upload; `None` if it is here already.
    upload: Option<Upload>,
    /// Length of the pieces so far (bytes).
    arrived: u64,
    /// The end of the pieces so far, which is not a part yet.
    rest: Vec<u8>,
}

impl LargePull {
    /// Begins to store a large object.
    pub(super) async fn begin(slot: &Rc<Slot>, object: PulledRecord) -> Result<Self, NotPulled> {
        let head = object.head;
        let is_here = {
            let _held = slot.lock_ids(vec![head.id]).await;
            let entered = slot.enter().await;
            let met = entered.volume.met(head.id).await?;
            entered.volume.is_here(&met, &object).await?
        };
        let upload = match is_here {
            true => None,
            false => {
                slot.await_blocks_for(head.body_len).await;
                Some(slot.upload_of_source(head.id, head.cookie, head.body_len)?)
            }
        };
        Ok(Self { object, upload, arrived: 0, rest: Vec::new() })
    }

    /// Stores a piece; with the last one the object. Returns what was done, and whether it was the last one.
    pub(super) async fn store_piece(
        &mut self,
        slot: &Slot,
        piece: &PulledRecord,
    ) -> Result<(Pulled, bool), NotPulled> {
        let (object, head) = (self.object.head, piece.head);
        if object.id != head.id || head.offset != self.arrived {
            return Err(NotPulled::Bad(BadExchange::Order));
        }
        self.arrived += piece.data().len() as u64;
        let is_last = self.arrived == object.body_len;
        let Some(upload) = &mut self.upload else {
            return Ok((Pulled { known: u64::from(is_last), ..Pulled::default() }, is_last));
        };
        self.rest.extend_from_slice(piece.data());
        let most = usize::try_from(NEEDLE_DATA_MAX).expect("1 MiB");
        while self.rest.len() >= most || (is_last && !self.rest.is_empty()) {
            let len = self.rest.len().min(most);
            let make = |pool: &Pool| upload.part(pool, len as u64);
            let mut part = slot.with_spare_memory(len, make).await?;
            part.data_mut().copy_from_slice(&self.rest[..len]);
            self.rest.drain(..len);
            // At most two parts are in memory.
            upload.settle().await?;
            upload.add(part).await?;
        }
        if !is_last {
            return Ok((Pulled::default(), false));
        }
        let manifest = upload.finish_copy(slot.handle().pool(), self.object.attributes()).await?;
        let manifest = manifest.modified(Some(object.modified_ns));
        slot.store_manifest(&self.object, manifest).await?;
        let pulled = Pulled { objects: 1, bytes: object.body_len, ..Pulled::default() };
        Ok((pulled, true))
    }
}
