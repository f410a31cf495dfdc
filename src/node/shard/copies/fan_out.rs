//! Sends a change to all copies of a volume while it is made here.

use std::sync::Arc;

use super::confirm::{NotCopied, all_confirmed, confirmed, failed};
use super::fan_out_of_parts::FanOutOfParts;
use super::known::known_copies;
use super::message::CopiedFile;
use super::part_stream::PartStream;
use super::patience::Patience;
use super::recipient::{Recipient, send_deletion, send_upload};
use crate::base::types::{NeedleId, VolumeId};
use crate::http::head::Dialects;
use crate::node::board::VolumeCopy;
use crate::node::shard::exchange::error_reply;
use crate::node::shard::object_name::ObjectName;
use crate::node::shard::plain_reply::PlainReply;
use crate::node::shard::request::FindOrigin;
use crate::node::shard::shard::Shard;
use crate::runtime::buffer::Lent;
use crate::runtime::join_all;

/// Number of nodes to which a change is sent at a time.
pub const AT_ONCE: usize = 16;

/// The other nodes to which a change is sent, and its place among the changes of the photo.
#[derive(Clone)]
pub struct FanOut {
    copies: Vec<Arc<VolumeCopy>>,
    /// Origin version: higher than that of anything that the photo was before.
    pub origin: u64,
}

impl FanOut {
    /// Number of other nodes to which changes of a volume are sent.
    pub fn others(shard: &Shard, volume: VolumeId) -> usize {
        if shard.config.dialects == Dialects::Own {
            return 0;
        }
        let board = shard.shared.board.volume(volume);
        board.map_or(0, |board| board.cluster.placement().copies() as usize - 1)
    }

    /// Finds the nodes to which a change is to be sent: a write of `len` bytes, or a deletion. `None` if the
    /// volume has no copies on other nodes.
    ///
    /// # Errors
    /// If there are not enough of them, or the change cannot be made here. Nothing was changed.
    pub async fn begin(
        shard: &Shard,
        volume: VolumeId,
        id: NeedleId,
        len: Option<u64>,
    ) -> Result<Option<Self>, PlainReply> {
        let others = Self::others(shard, volume);
        if others == 0 {
            return Ok(None);
        }
        let copies = known_copies(shard, volume, others).await?;
        let newest = shard.perform(volume, FindOrigin { id, len }).await;
        let newest = newest.map_err(|error| error_reply(shard, error))?;
        let origin = shard.next_origin().max(newest + 1);
        Ok(Some(Self { copies, origin }))
    }

    /// Sends a file that is one needle.
    ///
    /// # Errors
    /// [`NotCopied`].
    pub async fn upload(
        &self,
        shard: &Shard,
        file: &CopiedFile<'_>,
        data: &Lent,
    ) -> Result<(), NotCopied> {
        let sent = self.copies.iter().map(async |copy| {
            let patience = Patience::new(&shard.handle, Some(Arc::clone(copy)));
            let to = &Recipient::of(&copy.peer, &file.object, self.origin);
            let sent = send_upload(shard, file, data, to, &patience).await;
            confirmed(copy, sent, &patience)
        });
        all_confirmed(join_all(sent, AT_ONCE).await)
    }

    /// Sends a deletion.
    ///
    /// # Errors
    /// [`NotCopied`].
    pub async fn delete(&self, shard: &Shard, object: &ObjectName) -> Result<(), NotCopied> {
        let sent = self.copies.iter().map(async |copy| {
            let patience = Patience::new(&shard.handle, Some(Arc::clone(copy)));
            let to = &Recipient::of(&copy.peer, object, self.origin);
            let sent = send_deletion(shard, object, to, &patience).await;
            confirmed(copy, sent, &patience)
        });
        all_confirmed(join_all(sent, AT_ONCE).await)
    }

    /// Begins to send a file in parts.
    ///
    /// # Errors
    /// [`NotCopied`].
    pub async fn begin_parts(
        &self,
        shard: &Shard,
        file: &CopiedFile<'_>,
    ) -> Result<FanOutOfParts, NotCopied> {
        let begun = self.copies.iter().map(async |copy| {
            let patience = Patience::new(&shard.handle, Some(Arc::clone(copy)));
            let to = &Recipient::of(&copy.peer, &file.object, self.origin);
            match PartStream::begin(shard, file, to, patience).await {
                Ok(stream) => Ok((Arc::clone(copy), stream)),
                Err((failure, patience)) => Err(failed(copy, &failure, &patience)),
            }
        });
        let begun: Result<Vec<_>, NotCopied> = join_all(begun, AT_ONCE).await.into_iter().collect();
        Ok(FanOutOfParts::new(begun?))
    }
}
