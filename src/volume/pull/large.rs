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

impl Slot {
    /// Begins to store a large object.
    pub(super) async fn begin_large(
        self: &Rc<Self>,
        number: u64,
        object: PulledRecord,
    ) -> Result<(), NotPulled> {
        let head = object.head;
        let is_here = {
            let _held = self.lock_ids(vec![head.id]).await;
            let entered = self.enter().await;
            let met = entered.volume.met(head.id).await?;
            entered.volume.is_here(&met, &object).await?
        };
        let upload = match is_here {
            true => None,
            false => {
                self.await_blocks_for(head.body_len).await;
                Some(self.upload_of_source(head.id, head.cookie, head.body_len)?)
            }
        };
        let large = LargePull { object, upload, arrived: 0, rest: Vec::new() };
        self.pull.get(number)?.large = Some(large);
        Ok(())
    }

    /// Stores a piece of the large object; with the last one the object.
    pub(super) async fn store_piece(
        &self,
        number: u64,
        piece: &PulledRecord,
    ) -> Result<Pulled, NotPulled> {
        let large = self.pull.get(number)?.large.take();
        let mut large = large.ok_or(NotPulled::Bad(BadExchange::Order))?;
        let (object, head) = (large.object.head, piece.head);
        if object.id != head.id || head.offset != large.arrived {
            return Err(NotPulled::Bad(BadExchange::Order));
        }
        large.arrived += piece.data().len() as u64;
        let is_last = large.arrived == object.body_len;
        let Some(upload) = &mut large.upload else {
            let known = u64::from(is_last);
            if !is_last {
                self.pull.get(number)?.large = Some(large);
            }
            return Ok(Pulled { known, ..Pulled::default() });
        };
        large.rest.extend_from_slice(piece.data());
        let most = usize::try_from(NEEDLE_DATA_MAX).expect("1 MiB");
        while large.rest.len() >= most || (is_last && !large.rest.is_empty()) {
            let len = large.rest.len().min(most);
            let make = |pool: &Pool| upload.part(pool, len as u64);
            let mut part = self.with_spare_memory(len, make).await?;
            part.data_mut().copy_from_slice(&large.rest[..len]);
            large.rest.drain(..len);
            // At most two parts are in memory.
            upload.settle().await?;
            upload.add(part).await?;
        }
        if is_last {
            return self.store_manifest(&large.object, upload).await;
        }
        self.pull.get(number)?.large = Some(large);
        Ok(Pulled::default())
    }

    async fn store_manifest(
        &self,
        object: &PulledRecord,
        upload: &Upload,
    ) -> Result<Pulled, NotPulled> {
        let manifest = upload.finish_copy(self.handle.pool(), object.attributes()).await?;
        let manifest = manifest.modified(Some(object.head.modified_ns));
        let _held = self.lock_ids(vec![object.head.id]).await;
        let joined = {
            let entered = self.enter().await;
            let volume = &entered.volume;
            let met = volume.met(object.head.id).await?;
            let pending = self.copied(volume, object, manifest, &met)?;
            volume.append_with_blocks(vec![pending]).await?
        };
        joined.settled().await?;
        Ok(Pulled { objects: 1, bytes: object.head.body_len, ..Pulled::default() })
    }
}
