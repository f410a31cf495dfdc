//! Batch put: a tar of photos, stored in one commit, all or none. Runs only in the shard that owns the
//! volume.

use std::collections::{HashSet, VecDeque};
use std::io::{self, Read};
use std::rc::Rc;

use super::answered::{Access, Answered};
use super::exchange::{
    answer_incomplete_body, error_reply, move_to_owner, refuse_when_draining, reply_after_body,
    reply_with_body, send_continue,
};
use super::object_name::ObjectName;
use super::photo_description::PhotoDescription;
use super::plain_reply::{PlainReply, no_buffer};
use super::preconditions::hold;
use super::request::RequestError;
use super::shard::Shard;
use super::upload_parameters::{UploadParameters, cluster_attributes};
use super::{receive, upload};
use crate::base::limits::{COMMIT_NEEDLES_MAX, NEEDLE_DATA_MAX};
use crate::base::types::{Cookie, NeedleId, VolumeId};
use crate::http::conn::{Conn, PeerError};
use crate::http::digest::Verifier;
use crate::http::head::Head;
use crate::http::photo_tar::{Photo, Reader, TarError};
use crate::http::reply::ReplyHead;
use crate::http::status::Status;
use crate::http::upload::is_form;
use crate::runtime::buffer::Buf;
use crate::volume::{Check, Draft, DraftAttributes, Existing, NewNeedle, Slot, Stored, Upload};

/// Number of bytes of entries after which other tasks run.
const YIELD_AFTER: u64 = 256 << 10;

/// Answers a batch put.
pub async fn store(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    number: VolumeId,
) -> Result<Answered, PlainReply> {
    let mut parameters = UploadParameters::of(shard, conn, head)?;
    if parameters.len > shard.config.batch_max {
        let reason = "the batch is larger than this store takes (limits.largest_batch)";
        return Err(PlainReply::error(Status::CONTENT_TOO_LARGE, reason));
    }
    refuse_when_draining(shard)?;
    let owner = shard.owner_of(number).ok_or_else(|| error_reply(shard, RequestError::NoVolume))?;
    if owner != shard.id {
        return move_to_owner(shard, conn, owner);
    }
    let slot = shard.volumes.own(number).map_err(|error| error_reply(shard, error))?;
    let len = usize::try_from(parameters.len).expect("limited to batch_max");
    // Memory of the tar, and of the needles that are made of it while it is consumed.
    let memory = len + len / 4 + Draft::memory(NEEDLE_DATA_MAX);
    if head.expect_continue && conn.buffered() == 0 {
        // The client sends the body only after 100 (Continue), so refuse before that.
        drop(shard.admission.admit_body(memory).await.ok_or_else(no_buffer)?);
    }
    if let Err(answered) = send_continue(shard, conn, head).await {
        return Ok(answered);
    }
    if let Err(error) = conn.await_body(parameters.len).await {
        return Ok(answer_incomplete_body(shard, conn, error).await);
    }
    let _permit = shard.admission.admit_body(memory).await.ok_or_else(no_buffer)?;
    let bufs = (0..len).step_by(PIECE).map(|at| shard.admission.buffer(PIECE.min(len - at)));
    let bufs: Option<Vec<Buf>> = bufs.collect();
    let mut verifier = parameters.verifier.take();
    let bufs = bufs.ok_or_else(no_buffer)?;
    let tar = match receive_tar(conn, bufs, len, verifier.as_deref_mut()).await {
        Ok(tar) => tar,
        Err(error) => return Ok(answer_incomplete_body(shard, conn, error).await),
    };
    shard.metrics().payload_bytes_in.add(parameters.len);
    if let Err(plain) = receive::verify(verifier) {
        return Ok(reply_after_body(shard, conn, head, plain).await);
    }
    Ok(match store_all(shard, &slot, number, tar, &parameters).await {
        Ok(photos) => {
            let decided_at = shard.handle.now();
            let created: Vec<PhotoDescription> = photos.iter().map(BatchPhoto::describe).collect();
            let body = serde_json::to_vec(&created).expect("numbers and strings serialize");
            let date = shard.date();
            let reply = ReplyHead {
                content_type: Some(b"application/json"),
                volume_writable: Some(slot.volume().writable()),
                ..ReplyHead::new(Status::CREATED, &date)
            };
            let answered = reply_with_body(shard, conn, head, reply, &body).await;
            let objects = photos.iter().map(|photo| (photo.object, photo.size)).collect();
            Answered { access: Access::Batch(objects), ..answered.decided_at(decided_at) }
        }
        Err(plain) => reply_after_body(shard, conn, head, plain).await,
    })
}

/// A photo that was stored by a batch put.
struct BatchPhoto {
    object: ObjectName,
    /// Length of the photo (bytes).
    size: u64,
    stored: Stored,
}

impl BatchPhoto {
    fn describe(&self) -> PhotoDescription {
        let ObjectName { volume, id, cookie } = self.object;
        PhotoDescription::new(volume, id, cookie, self.size, &self.stored)
    }
}

/// Length of each buffer that the tar is received into (bytes).
const PIECE: usize = 1 << 20;

async fn receive_tar(
    conn: &mut Conn,
    bufs: Vec<Buf>,
    len: usize,
    mut verifier: Option<&mut Verifier>,
) -> Result<TarBuffers, PeerError> {
    let mut received = VecDeque::with_capacity(bufs.len());
    let mut left = len;
    for buf in bufs {
        let piece = receive::read_body(conn, buf, 0, PIECE.min(left), verifier.as_deref_mut());
        let (buf, result) = piece.await;
        result?;
        left = left.saturating_sub(PIECE);
        received.push_back(buf);
    }
    Ok(TarBuffers { bufs: received, at: 0, left: len })
}

/// A received tar, read once: its buffers are released as they are consumed.
struct TarBuffers {
    bufs: VecDeque<Buf>,
    at: usize,
    left: usize,
}

impl Read for TarBuffers {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(buf) = self.bufs.front() else { return Ok(0) };
        let len = out.len().min(self.left).min(PIECE - self.at);
        out[..len].copy_from_slice(&buf[self.at..self.at + len]);
        self.at += len;
        self.left -= len;
        if self.at == PIECE {
            self.bufs.pop_front();
            self.at = 0;
        }
        Ok(len)
    }
}

async fn store_all(
    shard: &Rc<Shard>,
    slot: &Rc<Slot>,
    number: VolumeId,
    tar: TarBuffers,
    parameters: &UploadParameters,
) -> Result<Vec<BatchPhoto>, PlainReply> {
    let expires_ns = parameters.expires_ns;
    let UnpackedBatch { needles, sizes, uploads } = unpack(shard, slot, tar, expires_ns).await?;
    let names: Vec<(NeedleId, Cookie)> = needles.iter().map(|n| (n.id, n.cookie)).collect();
    let holds = |existing: Option<&Existing>| hold(parameters.conditions.as_ref(), existing);
    let check: Check<'_> = parameters.conditions.as_ref().map(|_| &holds as _);
    let stored = slot.put_batch(needles, check).await;
    let stored = shard.volumes.publish_after_write(slot, stored)?;
    drop(uploads);
    let photos = names.into_iter().zip(sizes).zip(stored);
    let photos = photos.map(|(((id, cookie), size), stored)| {
        let object = ObjectName { volume: number, id, cookie };
        BatchPhoto { object, size, stored }
    });
    Ok(photos.collect())
}

/// Reason of a refusal: the media type of a form. A single upload with such a media type is refused too.
const FORM_MEDIA_TYPE: &str =
    "has the media type of a form, as no upload may have it; give it that of the photo";

/// Reason of a refusal: attributes that no needle of a cluster has.
const BAD_ATTRIBUTES: &str = "has no attributes of a photo of a cluster in HAYLOFT.attributes";

/// Photos of a batch.
#[derive(Default)]
struct UnpackedBatch {
    needles: Vec<NewNeedle>,
    /// Size of each photo (bytes).
    sizes: Vec<u64>,
    /// Uploads of the photos above 1 MiB; they keep the reservations for the manifests until dropped.
    uploads: Vec<Upload>,
}

/// Unpacks a batch. Photos without a time of their own expire at `expires_ns`.
async fn unpack(
    shard: &Rc<Shard>,
    slot: &Rc<Slot>,
    tar: TarBuffers,
    expires_ns: Option<u64>,
) -> Result<UnpackedBatch, PlainReply> {
    let len = tar.left as u64;
    let mut tar = Reader::with_len(tar, len);
    let (mut unpacked, mut seen) = (UnpackedBatch::default(), HashSet::new());
    let mut since_yield = 0;
    while let Some(photo) = tar.next_photo()? {
        let (id, cookie) = (NeedleId::new(photo.key, photo.alt), Cookie(photo.cookie));
        if !seen.insert(id) {
            return Err(photo.refused("stands there twice").into());
        }
        if unpacked.needles.len() == COMMIT_NEEDLES_MAX {
            let reason = "a batch takes at most 1000 photos";
            return Err(PlainReply::error(Status::CONTENT_TOO_LARGE, reason));
        }
        if photo.content_type.as_ref().is_some_and(|text| is_form(text.as_bytes())) {
            return Err(photo.refused(FORM_MEDIA_TYPE).into());
        }
        let size = photo.size;
        let content_type = photo.content_type.as_ref().map(|text| text.as_bytes());
        let expires_ns = photo.expires_ns.or(expires_ns);
        let cluster = cluster_attributes(photo.attributes.as_deref().unwrap_or_default());
        let cluster = cluster.ok_or_else(|| photo.refused(BAD_ATTRIBUTES))?;
        let attributes =
            DraftAttributes { content_type, expires_ns, cluster, ..DraftAttributes::default() };
        let draft = if size > NEEDLE_DATA_MAX {
            slot.await_blocks_for(size).await;
            let upload = slot.upload(id, cookie, size);
            let mut upload = shard.volumes.publish_after_write(slot, upload)?;
            store_parts(shard, &mut upload, &mut tar, &photo).await?;
            let manifest = upload::manifest(shard, &upload, attributes).await?;
            unpacked.uploads.push(upload);
            manifest
        } else {
            let draft = Draft::with_attributes(shard.handle.pool(), attributes, size);
            let mut draft = draft.ok_or_else(no_buffer)?;
            fill(&mut tar, &photo, &mut draft)?;
            draft
        };
        let draft = draft.modified(photo.modified_ns);
        unpacked.needles.push(NewNeedle { id, cookie, draft });
        unpacked.sizes.push(size);
        since_yield += size + 512;
        if since_yield >= YIELD_AFTER {
            since_yield = 0;
            shard.handle.yield_now().await;
        }
    }
    if unpacked.needles.is_empty() {
        let reason = "there is no photo in the batch; send a tar with entries {key}/{alt}/{cookie}";
        return Err(PlainReply::error(Status::BAD_REQUEST, reason));
    }
    Ok(unpacked)
}

/// Stores the parts of a photo above 1 MiB in commits of their own; its manifest joins the batch.
async fn store_parts(
    shard: &Shard,
    upload: &mut Upload,
    tar: &mut Reader<TarBuffers>,
    photo: &Photo,
) -> Result<(), PlainReply> {
    while upload.next_len(u64::MAX) > 0 {
        let part = upload.part(shard.handle.pool(), upload.next_len(u64::MAX));
        let mut part = part.ok_or_else(no_buffer)?;
        fill(tar, photo, &mut part)?;
        upload.add(part).await?;
        upload.settle().await?;
    }
    Ok(())
}

fn fill(tar: &mut Reader<TarBuffers>, photo: &Photo, draft: &mut Draft) -> Result<(), PlainReply> {
    match tar.read_exact(draft.data_mut()) {
        Ok(()) => Ok(()),
        Err(_) => Err(photo.refused("is cut off").into()),
    }
}

impl From<TarError> for PlainReply {
    fn from(error: TarError) -> Self {
        let reason = match error {
            TarError::Entry { .. } | TarError::Longer(_) => {
                format!("{error}; nothing of the batch was stored")
            }
            error if error.is_damage() => format!("the body is no tar, or damaged: {error}"),
            error => format!("{error}; nothing was stored"),
        };
        Self { reason: reason.into(), ..Self::error(Status::BAD_REQUEST, "") }
    }
}
