//! Upload of a multipart object, whose body is larger than a needle. It is received part by part: while one
//! part is being written, the next one is received. Runs only in the shard that owns the volume.

use std::rc::Rc;

use super::admission::{BUFFER_PAUSE_NS, BUFFER_WAIT_NS, Grant, TransferPermit};
use super::answered::Answered;
use super::exchange::{answer_incomplete_body, error_reply, reply, send_continue};
use super::not_stored::NotStored;
use super::object_name::ObjectName;
use super::perform::takes_photos;
use super::plain_reply::{PlainReply, no_buffer};
use super::preconditions::hold;
use super::receive;
use super::request::{RequestError, StoredNeedle};
use super::shard::Shard;
use super::stored_photo::StoredPhoto;
use super::upload_parameters::{UploadParameters, cluster_attributes};
use crate::base::limits::CHUNK;
use crate::base::types::VolumeId;
use crate::http::conn::{Conn, PeerError};
use crate::http::digest::Verifier;
use crate::http::head::Head;
use crate::volume::{Check, Draft, DraftAttributes, Existing, Refusal, Upload};

const CHUNK_LEN: usize = CHUNK as usize;

/// Receives and stores a large body.
pub async fn receive(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    (number, object): (VolumeId, Option<ObjectName>),
    parameters: UploadParameters,
) -> Result<StoredPhoto, NotStored> {
    let UploadParameters {
        len,
        content_type,
        modified_ns,
        expires_ns,
        attributes,
        conditions,
        mut verifier,
    } = parameters;
    let slot = shard.volumes.own(number).map_err(|error| error_reply(shard, error))?;
    let absent = |existing: Option<&Existing>| existing.is_none();
    let holds = |existing: Option<&Existing>| hold(conditions.as_ref(), existing);
    let ((id, cookie), check): (_, Check<'_>) = match object {
        Some(ObjectName { id, cookie, .. }) => {
            ((id, cookie), conditions.as_ref().map(|_| &holds as _))
        }
        None => (slot.volume().fresh_name(), Some(&absent)),
    };
    // Check now, so that no body is received only to be refused at the end.
    slot.may_put(id, cookie, check).await?;
    if !slot.volume().has_space_for(len) {
        return Err(shard.volumes.refused_for_room(&slot).into());
    }
    drop(shard.admission.admit_large_transfer().ok_or_else(no_buffer)?);
    send_continue(shard, conn, head).await?;
    // A slow client gets neither a permit nor a reservation in the volume before its body begins to arrive.
    if let Err(error) = conn.await_body(len).await {
        return Err(answer_incomplete_body(shard, conn, error).await.into());
    }
    let permit = shard.admission.admit_large_transfer().ok_or_else(no_buffer)?;
    slot.await_blocks_for(len).await;
    let mut upload = shard.volumes.publish_after_write(&slot, slot.upload(id, cookie, len))?;
    match receive_parts(shard, conn, &permit, &mut upload, verifier.as_deref_mut()).await {
        Ok(()) => {}
        Err(ReceiveError::Missing(error)) => {
            return Err(answer_incomplete_body(shard, conn, error).await.into());
        }
        Err(ReceiveError::Refused(plain)) => {
            return Err(reply_and_close(shard, conn, head, plain).await.into());
        }
    }
    // If a digest does not match, the parts remain in the volume as dead bytes.
    receive::verify(verifier).map_err(NotStored::RefusedAfterBody)?;
    let attributes = DraftAttributes {
        content_type: content_type.as_deref(),
        expires_ns,
        cluster: cluster_attributes(&attributes).unwrap_or_default(),
        ..DraftAttributes::default()
    };
    let stored = match manifest(shard, &upload, attributes).await {
        Ok(manifest) => slot.put(id, cookie, manifest.modified(modified_ns), check).await,
        Err(refusal) => Err(refusal),
    };
    let is_writable = takes_photos(&slot.volume());
    match shard.volumes.publish_after_write(&slot, stored) {
        Ok(stored) => {
            let needle = StoredNeedle { id, cookie, stored, is_writable };
            Ok(StoredPhoto { volume: number, needle })
        }
        // Another write took the picked name meanwhile.
        Err(Refusal::Precondition | Refusal::Conflict) if object.is_none() => {
            Err(NotStored::RefusedAfterBody(error_reply(shard, RequestError::Busy)))
        }
        Err(refusal) => Err(NotStored::RefusedAfterBody(refusal.into())),
    }
}

/// Builds the manifest of a body whose parts are all stored. Waits up to [`BUFFER_WAIT_NS`] for a buffer,
/// because a refusal would discard the parts.
///
/// # Errors
/// [`Refusal::NoBuffer`] after that time, or what [`Upload::finish`] reports.
pub async fn manifest(
    shard: &Shard,
    upload: &Upload,
    attributes: DraftAttributes<'_>,
) -> Result<Draft, Refusal> {
    let deadline = shard.handle.now() + BUFFER_WAIT_NS;
    loop {
        match upload.finish_with(shard.handle.pool(), attributes).await {
            Err(Refusal::NoBuffer) if shard.handle.now() < deadline => {
                shard.handle.sleep_until(shard.handle.now() + BUFFER_PAUSE_NS).await;
            }
            other => return other,
        }
    }
}

/// Reason why the rest of a body is not received.
enum ReceiveError {
    /// The peer did not send it.
    Missing(PeerError),
    /// The upload is refused.
    Refused(PlainReply),
}

impl From<PeerError> for ReceiveError {
    fn from(error: PeerError) -> Self {
        Self::Missing(error)
    }
}

impl From<Refusal> for ReceiveError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

async fn receive_parts(
    shard: &Shard,
    conn: &mut Conn,
    permit: &Rc<TransferPermit>,
    upload: &mut Upload,
    mut verifier: Option<&mut Verifier>,
) -> Result<(), ReceiveError> {
    // Permit for the buffer of the part that is being written.
    let mut writing: Option<Grant> = None;
    while upload.next_len(u64::MAX) > 0 {
        // No buffer is held while a slow peer sends nothing.
        conn.await_body(upload.next_len(u64::MAX)).await?;
        let grant = match permit.grant(upload.next_len(u64::MAX)) {
            Some(grant) => grant,
            None => {
                upload.settle().await?;
                drop(writing.take());
                let own = permit.grant(upload.next_len(u64::MAX));
                own.expect("one piece is reserved for each transfer")
            }
        };
        let wanted = upload.next_len(grant.len);
        let part = |len: u64| upload.part(shard.handle.pool(), len.min(wanted));
        let part = shard.admission.wait_for_buffer(wanted, part).await;
        let mut part = part.ok_or_else(|| ReceiveError::Refused(no_buffer()))?;
        let (mut buf, start) = part.take();
        // Chunk by chunk, so that checksums are computed while the bytes are in the CPU cache, and other
        // requests do not wait for long.
        let end = start + part.data_len();
        for at in (start..end).step_by(CHUNK_LEN) {
            let len = CHUNK_LEN.min(end - at);
            let piece = receive::read_body(conn, buf, at, len, verifier.as_deref_mut());
            let (back, result) = piece.await;
            result?;
            upload.absorb(&back[at..at + len]);
            buf = back;
        }
        part.restore(buf);
        shard.metrics().payload_bytes_in.add(part.data_len() as u64);
        // Wait for the previous part, so that at most two parts are in memory.
        upload.settle().await?;
        upload.add(part).await?;
        writing = Some(grant);
    }
    Ok(())
}

/// Answers before the body was received completely, and ends the connection.
async fn reply_and_close(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    plain: PlainReply,
) -> Answered {
    reply(shard, conn, &Head { content_length: Some(u64::MAX), ..*head }, plain).await
}
