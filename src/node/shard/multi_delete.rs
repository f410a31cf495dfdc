//! Multi-delete: many photos, deleted with one commit, all or none. Runs only in the shard that owns the
//! volume.

use std::rc::Rc;

use serde::Serialize;

use super::answered::{Access, Answered};
use super::exchange::{
    answer_incomplete_body, error_reply, move_to_owner, refuse_when_draining, reply_after_body,
    reply_with_body, send_continue,
};
use super::object_name::ObjectName;
use super::plain_reply::{PlainReply, no_buffer};
use super::preconditions::hold;
use super::receive;
use super::request::RequestError;
use super::shard::Shard;
use super::upload_parameters::UploadParameters;
use crate::base::limits::{BLOCK, DELETE_BODY_MAX, DELETES_MAX};
use crate::base::types::{Cookie, NeedleId, VolumeId};
use crate::http::conn::Conn;
use crate::http::head::Head;
use crate::http::photo_list::{self, ListError};
use crate::http::reply::ReplyHead;
use crate::http::status::Status;
use crate::volume::{Check, Existing, Refusal, Slot};

/// Length of the shortest line (bytes).
const LINE_MIN: usize = "0/0/0123456789abcdef\n".len();

const COPIED: &str = "the volume has copies on other nodes of its cluster: delete its photos one by one, or \
                      by BatchDelete of each node";

/// Answers a multi-delete.
pub async fn delete(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    volume: VolumeId,
) -> Result<Answered, PlainReply> {
    let mut parameters = UploadParameters::of(shard, conn, head)?;
    if parameters.len > DELETE_BODY_MAX {
        let reason =
            "the body is longer than the names of 1000 photos, which a request deletes at most";
        return Err(PlainReply::error(Status::CONTENT_TOO_LARGE, reason));
    }
    refuse_when_draining(shard)?;
    let owner = shard.owner_of(volume).ok_or_else(|| error_reply(shard, RequestError::NoVolume))?;
    if owner != shard.id {
        return move_to_owner(shard, conn, owner);
    }
    let slot = shard.volumes.local(volume).map_err(|error| error_reply(shard, error))?;
    if slot.volume().has_copies() {
        return Err(PlainReply::error(Status::FORBIDDEN, COPIED));
    }
    let len = usize::try_from(parameters.len).expect("limited to DELETE_BODY_MAX");
    if let Err(answered) = send_continue(shard, conn, head).await {
        return Ok(answered);
    }
    if let Err(error) = conn.await_body(parameters.len).await {
        return Ok(answer_incomplete_body(shard, conn, error).await);
    }
    let _permit = shard.admission.admit_body(memory(len)).await.ok_or_else(no_buffer)?;
    let buf = shard.admission.buffer(len.max(1)).ok_or_else(no_buffer)?;
    let mut verifier = parameters.verifier.take();
    let (buf, result) = receive::read_body(conn, buf, 0, len, verifier.as_deref_mut()).await;
    if let Err(error) = result {
        drop(buf);
        return Ok(answer_incomplete_body(shard, conn, error).await);
    }
    shard.metrics().payload_bytes_in.add(parameters.len);
    if let Err(plain) = receive::verify(verifier) {
        return Ok(reply_after_body(shard, conn, head, plain).await);
    }
    let photos = match photo_list::parse(&buf[..len]) {
        Ok(photos) => photos,
        Err(error) => return Ok(reply_after_body(shard, conn, head, error.into()).await),
    };
    drop(buf);
    let needles: Vec<(NeedleId, Cookie)> = photos
        .iter()
        .map(|photo| (NeedleId::new(photo.key, photo.alt), Cookie(photo.cookie)))
        .collect();
    let deleted = delete_all(shard, &slot, &needles, &parameters).await;
    let decided_at = shard.handle.now();
    let (answered, statuses) = match deleted {
        Ok(existed) => {
            let statuses: Vec<Status> = existed.into_iter().map(status_of).collect();
            let answered = reply_list(shard, conn, head, &needles, &statuses).await;
            (answered, statuses)
        }
        Err(refusal) => {
            let plain = refused(refusal);
            let statuses = vec![plain.status; needles.len()];
            (reply_after_body(shard, conn, head, plain).await, statuses)
        }
    };
    let objects = needles.iter().map(|&(id, cookie)| ObjectName { volume, id, cookie });
    let access = Access::Deletes(objects.zip(statuses).collect());
    Ok(Answered { access, ..answered.decided_at(decided_at) })
}

/// Memory that a multi-delete takes (bytes): its body, and a buffer for each tombstone.
fn memory(len: usize) -> usize {
    len + DELETES_MAX.min(len / LINE_MIN + 1) * BLOCK as usize
}

async fn delete_all(
    shard: &Rc<Shard>,
    slot: &Rc<Slot>,
    needles: &[(NeedleId, Cookie)],
    parameters: &UploadParameters,
) -> Result<Vec<bool>, Refusal> {
    let holds = |existing: Option<&Existing>| hold(parameters.conditions.as_ref(), existing);
    let check: Check<'_> = parameters.conditions.as_ref().map(|_| &holds as _);
    let deleted = slot.delete_all(needles, check).await;
    shard.volumes.publish_after_write(slot, deleted)
}

/// Returns the status of a photo that was deleted, or did not exist with its cookie.
const fn status_of(existed: bool) -> Status {
    if existed { Status::NO_CONTENT } else { Status::NOT_FOUND }
}

/// Reply to a multi-delete of which nothing was done, or of which that is not known.
fn refused(refusal: Refusal) -> PlainReply {
    match refusal {
        Refusal::Unreadable(id) => {
            let (key, alt) = (id.key.0, id.alt.0);
            let reason = format!("photo {key}/{alt} is damaged on disk; nothing was deleted");
            PlainReply { reason: reason.into(), ..refusal.into() }
        }
        refusal => refusal.into(),
    }
}

/// What became of a photo, in the reply.
#[derive(Serialize)]
struct PhotoOutcome {
    key: u64,
    alt: u32,
    status: u16,
}

/// Replies with what became of each photo, in the order of the request.
async fn reply_list(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    needles: &[(NeedleId, Cookie)],
    statuses: &[Status],
) -> Answered {
    let outcome = |((id, _), status): (&(NeedleId, Cookie), &Status)| PhotoOutcome {
        key: id.key.0,
        alt: id.alt.0,
        status: status.code(),
    };
    let outcomes: Vec<PhotoOutcome> = needles.iter().zip(statuses).map(outcome).collect();
    let body = serde_json::to_vec(&outcomes).expect("numbers serialize");
    let date = shard.date();
    let reply =
        ReplyHead { content_type: Some(b"application/json"), ..ReplyHead::new(Status::OK, &date) };
    reply_with_body(shard, conn, head, reply, &body).await
}

impl From<ListError> for PlainReply {
    fn from(error: ListError) -> Self {
        let status = match error {
            ListError::TooMany => Status::CONTENT_TOO_LARGE,
            _ => Status::BAD_REQUEST,
        };
        Self { reason: error.to_string().into(), ..Self::error(status, "") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_covers_the_tombstones_of_any_body() {
        for photos in [1, 2, 17, DELETES_MAX] {
            let tombstones = photos * BLOCK as usize;
            // The end of the last line may be missing.
            let shortest = photos * LINE_MIN - 1;
            assert!(memory(shortest) >= shortest + tombstones, "{photos} photos");
        }
        let longest = usize::try_from(DELETE_BODY_MAX).unwrap();
        assert_eq!(memory(longest), longest + DELETES_MAX * BLOCK as usize);
    }

    #[test]
    fn refusal_names_the_photo_that_cannot_be_read() {
        let plain = refused(Refusal::Unreadable(NeedleId::new(7, 1)));
        assert_eq!(plain.status, Status::INTERNAL_SERVER_ERROR);
        assert_eq!(plain.reason, "photo 7/1 is damaged on disk; nothing was deleted");
    }
}
