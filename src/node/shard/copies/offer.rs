//! Offers the changes of a volume to another node, in the order of its log: what lives now, and what was
//! deleted. The node takes what it lacks; what it has in this or a later version stays as it is.

use std::net::SocketAddr;
use std::rc::Rc;

use super::failure::ExchangeFailure;
use super::message::CopiedFile;
use super::part_stream::PartStream;
use super::patience::Patience;
use super::recipient::{Recipient, send_deletion, send_upload};
use crate::base::types::{Cookie, NeedleId, VolumeId};
use crate::node::shard::download::{NotAnswered, read_piece};
use crate::node::shard::object_name::ObjectName;
use crate::node::shard::order::{OfferChanges, OfferedChanges, OrderError};
use crate::node::shard::shard::Shard;
use crate::runtime::join_all;
use crate::volume::{GetError, Needle, NotStreamed, PieceLimits, RecordKind, Slot, StreamRecord};

/// Number of changes that are offered at a time.
const AT_ONCE: usize = 8;
/// Number of changes in a piece.
const PIECE_RECORDS: usize = 256;

/// Outcome of an offer.
enum Offered {
    Object,
    Deletion,
    /// There was nothing to be offered: it was changed meanwhile, and comes again, or cannot be read.
    Nothing,
}

/// The other side of an offer.
struct Offer<'a> {
    shard: &'a Shard,
    slot: &'a Rc<Slot>,
    volume: VolumeId,
    peer: SocketAddr,
    name: String,
}

impl Shard {
    /// Sends a piece of the changes of a volume to another node.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub(in crate::node::shard) async fn offer_changes(
        &self,
        order: OfferChanges,
    ) -> Result<OfferedChanges, OrderError> {
        let OfferChanges { volume, peer, from } = order;
        let slot = &self.volumes.slot_to_change(volume)?;
        let limits = PieceLimits { records: PIECE_RECORDS, ..PieceLimits::default() };
        let piece = match slot.read_records(from, true, limits).await {
            // Compactions have removed some of the deletions, which nobody can be told of any more.
            Err(NotStreamed::Behind(_)) => slot.read_records(from, false, limits).await,
            piece => piece,
        };
        let piece = piece.map_err(OrderError::NotStreamed)?;
        let offer = Offer { shard: self, slot, volume, peer, name: peer.to_string() };
        let offered = piece.records.iter().map(|record| offer.record(record));
        let mut outcome =
            OfferedChanges { next: piece.next, is_end: piece.is_end, objects: 0, deletions: 0 };
        for offered in join_all(offered, AT_ONCE).await {
            match offered.map_err(|failure| OrderError::NotOffered(failure.to_string()))? {
                Offered::Object => outcome.objects += 1,
                Offered::Deletion => outcome.deletions += 1,
                Offered::Nothing => {}
            }
        }
        Ok(outcome)
    }
}

impl Offer<'_> {
    async fn record(&self, record: &StreamRecord) -> Result<Offered, ExchangeFailure> {
        let Some(cookie) = record.cookie.filter(|_| record.id.alt.0 == 0) else {
            return Ok(Offered::Nothing);
        };
        match record.kind {
            RecordKind::Object => self.object(record.id, cookie).await,
            RecordKind::Deletion => {
                let deleted_ns = record.modified_ns.unwrap_or(record.version);
                self.deletion(record.id, cookie, deleted_ns).await
            }
            RecordKind::Damaged => Ok(Offered::Nothing),
        }
    }

    async fn deletion(
        &self,
        id: NeedleId,
        cookie: Cookie,
        origin: u64,
    ) -> Result<Offered, ExchangeFailure> {
        // What lives again is offered itself.
        if self.slot.describe(id, None).await.is_ok() {
            return Ok(Offered::Nothing);
        }
        let object = ObjectName { volume: self.volume, id, cookie };
        let patience = Patience::new(&self.shard.handle, None);
        let to = self.recipient(&object, origin);
        send_deletion(self.shard, &object, &to, &patience).await?;
        Ok(Offered::Deletion)
    }

    async fn object(&self, id: NeedleId, cookie: Cookie) -> Result<Offered, ExchangeFailure> {
        let shard = self.shard;
        let found = self.slot.get(id, cookie, |len| shard.admission.read_buffer(len)).await;
        let needle = match found {
            Ok(needle) => needle,
            Err(GetError::NeedBuffer(_)) => return Err(ExchangeFailure::NoBuffer),
            // Deleted meanwhile, or damaged.
            Err(_) => return Ok(Offered::Nothing),
        };
        let object = ObjectName { volume: self.volume, id, cookie };
        let stored = needle.stored_attributes().to_vec();
        let attributes = crate::volume::AttributeSet::decode(&stored);
        let file = CopiedFile {
            object,
            content_type: attributes.content_type,
            attributes: attributes.cluster,
            modified_ns: needle.modified_ns,
        };
        let origin = attributes.cluster.origin_version.unwrap_or(needle.version);
        let to = self.recipient(&object, origin);
        if needle.is_large {
            return self.large(&file, &to, needle).await;
        }
        let Needle { mut buf, data, .. } = needle;
        let patience = Patience::new(&shard.handle, None);
        send_upload(shard, &file, &buf.lend(data), &to, &patience).await?;
        Ok(Offered::Object)
    }

    /// Offers a file that is stored in parts.
    async fn large(
        &self,
        file: &CopiedFile<'_>,
        to: &Recipient<'_>,
        manifest: Needle,
    ) -> Result<Offered, ExchangeFailure> {
        let (shard, slot) = (self.shard, self.slot);
        let permit = shard.admission.admit_large_transfer().ok_or(ExchangeFailure::NoBuffer)?;
        let (name, all) = ((file.object.id, file.object.cookie), 0..manifest.body_len);
        let Ok(mut body) = slot.body(name, manifest, all).await else {
            return Ok(Offered::Nothing);
        };
        let patience = Patience::new(&shard.handle, None);
        let begun = PartStream::begin(shard, file, to, patience).await;
        let mut stream = begun.map_err(|(failure, _)| failure)?;
        while body.remaining() > 0 {
            let grant = permit.grant(body.remaining()).ok_or(ExchangeFailure::NoBuffer)?;
            let mut piece = match read_piece(shard, slot, &mut body, grant).await {
                Ok(piece) => piece,
                // It was changed, and comes again, or is damaged; the node stores nothing of it.
                Err(NotAnswered::Changed | NotAnswered::Plain(_)) => return Ok(Offered::Nothing),
            };
            let range = piece.range.clone();
            stream.add(shard, &piece.buf.lend(range)).await?;
        }
        stream.finish(shard).await?;
        Ok(Offered::Object)
    }

    fn recipient<'b>(&'b self, object: &'b ObjectName, origin: u64) -> Recipient<'b> {
        Recipient { address: self.peer, name: &self.name, object, origin }
    }
}
