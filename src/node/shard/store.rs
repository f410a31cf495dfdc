//! PUT and POST of one photo: admission, receiving the body, the request to the volume, the reply.

use std::rc::Rc;

use super::answered::Answered;
use super::exchange::{
    answer_incomplete_body, error_reply, move_to_owner, refuse_when_draining, reply_after_body,
    reply_with_body, send_continue,
};
use super::not_stored::NotStored;
use super::object_name::ObjectName;
use super::photo_description::PhotoDescription;
use super::plain_reply::{PlainReply, no_buffer};
use super::preconditions::hold;
use super::request::{CheckPut, Dialect, PostNeedle, PutNeedle, RequestError, StoredNeedle};
use super::shard::Shard;
use super::stored_photo::StoredPhoto;
use super::upload_parameters::{UploadParameters, cluster_attributes};
use super::{receive, upload};
use crate::base::limits::NEEDLE_DATA_MAX;
use crate::base::types::VolumeId;
use crate::http::conn::Conn;
use crate::http::entity_tag::EntityTag;
use crate::http::head::Head;
use crate::http::reply::ReplyHead;
use crate::http::status::Status;
use crate::volume::{Draft, DraftAttributes, Refusal, Stored};

/// Destination of an upload.
#[derive(Clone, Copy)]
pub enum Destination {
    /// This object.
    Object(ObjectName),
    /// This volume, under a name that the volume picks.
    Volume(VolumeId),
    /// Any volume that has room, under a name that the volume picks.
    Any,
}

/// Answers a PUT or POST of one photo.
pub async fn store(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    destination: Destination,
) -> Result<Answered, PlainReply> {
    let parameters = UploadParameters::of(shard, conn, head)?;
    if parameters.len > shard.config.body_max {
        let reason = "the photo is larger than this store takes (limits.largest_body)";
        return Err(PlainReply::error(Status::CONTENT_TOO_LARGE, reason));
    }
    refuse_when_draining(shard)?;
    let volume = match destination {
        Destination::Object(ObjectName { volume, .. }) | Destination::Volume(volume) => volume,
        Destination::Any => shard.pick_volume(parameters.len)?,
    };
    let owner = shard.owner_of(volume).ok_or_else(|| error_reply(shard, RequestError::NoVolume))?;
    let is_post = !matches!(destination, Destination::Object(_));
    // The store picks a new name, so the preconditions are evaluated against an absent photo.
    if is_post && !hold(parameters.conditions.as_ref(), None) {
        return Err(Refusal::Precondition.into());
    }
    let object = match destination {
        Destination::Object(object) => Some(object),
        _ => None,
    };
    let size = parameters.len;
    let stored = if size > NEEDLE_DATA_MAX {
        if owner != shard.id {
            return move_to_owner(shard, conn, owner);
        }
        // Boxed: this path is rare and its future is large.
        Box::pin(upload::receive(shard, conn, head, (volume, object), parameters)).await
    } else {
        receive_needle(shard, conn, head, (volume, object), parameters).await
    };
    let decided_at = shard.handle.now();
    let (object, answered) = match stored {
        Err(NotStored::Refused(plain)) => return Err(plain),
        Err(NotStored::Answered(answered)) => return Ok(answered),
        Err(NotStored::RefusedAfterBody(plain)) => {
            (object, reply_after_body(shard, conn, head, plain).await)
        }
        Ok(photo) if is_post => {
            (Some(photo.object()), reply_created(shard, conn, head, size, &photo).await)
        }
        Ok(photo) => {
            let Stored { etag, modified_ns, replaced, .. } = photo.needle.stored;
            let status = if replaced { Status::NO_CONTENT } else { Status::CREATED };
            let plain = PlainReply {
                stored: Some((etag, modified_ns / 1_000_000_000)),
                writable: Some(photo.needle.is_writable),
                ..PlainReply::success(status)
            };
            (Some(photo.object()), reply_after_body(shard, conn, head, plain).await)
        }
    };
    let answered = answered.decided_at(decided_at);
    Ok(match object {
        Some(object) => answered.with_object(object, size, false),
        None => answered,
    })
}

/// Replies to an upload under a name that the volume picked.
async fn reply_created(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    size: u64,
    photo: &StoredPhoto,
) -> Answered {
    let StoredNeedle { id, cookie, stored, is_writable } = &photo.needle;
    let created = PhotoDescription::new(photo.volume, *id, *cookie, size, stored);
    let body = serde_json::to_vec(&created).expect("numbers and strings serialize");
    let date = shard.date();
    let reply = ReplyHead {
        content_type: Some(b"application/json"),
        etag: Some(EntityTag::Xxh3(stored.etag)),
        last_modified: Some(stored.modified_ns / 1_000_000_000),
        location: Some(created.url().as_bytes()),
        volume_writable: Some(*is_writable),
        ..ReplyHead::new(Status::CREATED, &date)
    };
    reply_with_body(shard, conn, head, reply, &body).await
}

/// Receives and stores a body that fits into one needle.
async fn receive_needle(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    (volume, object): (VolumeId, Option<ObjectName>),
    parameters: UploadParameters,
) -> Result<StoredPhoto, NotStored> {
    let UploadParameters {
        len,
        content_type,
        modified_ns,
        expires_ns,
        attributes,
        mut conditions,
        mut verifier,
    } = parameters;
    let attributes = DraftAttributes {
        content_type: content_type.as_deref(),
        expires_ns,
        cluster: cluster_attributes(&attributes).unwrap_or_default(),
        ..DraftAttributes::default()
    };
    let memory = Draft::memory_with(&attributes, len);
    if head.expect_continue && conn.buffered() == 0 {
        // The client sends the body only after 100 (Continue), so check before that.
        if let Some(ObjectName { id, cookie, .. }) = object {
            let checked = shard.perform(volume, CheckPut { id, cookie, conditions }).await;
            conditions = checked.map_err(|error| error_reply(shard, error))?;
        }
        // The client may be slow to send the body, so no memory is reserved for it meanwhile.
        drop(shard.admission.admit_body(memory).await.ok_or_else(no_buffer)?);
    }
    send_continue(shard, conn, head).await?;
    if let Err(error) = conn.await_body(len).await {
        return Err(answer_incomplete_body(shard, conn, error).await.into());
    }
    let _permit = shard.admission.admit_body(memory).await.ok_or_else(no_buffer)?;
    let draft = Draft::with_attributes(shard.handle.pool(), attributes, len);
    let mut draft = draft.ok_or_else(no_buffer)?.modified(modified_ns);
    let (buf, start) = draft.take();
    let wanted = draft.data_len();
    let (buf, result) = receive::read_body(conn, buf, start, wanted, verifier.as_deref_mut()).await;
    draft.restore(buf);
    if let Err(error) = result {
        drop(draft);
        return Err(answer_incomplete_body(shard, conn, error).await.into());
    }
    shard.metrics().payload_bytes_in.add(len);
    receive::verify(verifier).map_err(NotStored::RefusedAfterBody)?;
    let stored = match object {
        Some(ObjectName { id, cookie, .. }) => {
            shard
                .perform(volume, PutNeedle { id, cookie, draft, conditions, dialect: Dialect::Own })
                .await
        }
        None => shard.perform(volume, PostNeedle { draft }).await,
    };
    match stored {
        Ok(needle) => Ok(StoredPhoto { volume, needle }),
        Err(error) => Err(NotStored::RefusedAfterBody(error_reply(shard, error))),
    }
}
