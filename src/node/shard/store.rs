//! PUT and POST of one photo: admission, receiving the body, the task, the reply.

use std::rc::Rc;

use super::Shard;
use super::access::Accessed;
use super::answer::{Created, Plain, no_buffer};
use super::receive;
use super::session::{
    Object, Then, ask_for_body, body_missing, failed, move_to, refuse_when_draining,
    reply_after_body, reply_with, traced,
};
use super::task::{Conditions, Outcome, Task};
use crate::base::limits::NEEDLE_DATA_MAX;
use crate::base::types::{Cookie, NeedleId};
use crate::http::conditional::WriteConditions;
use crate::http::conn::Conn;
use crate::http::digest::Verifier;
use crate::http::head::Head;
use crate::http::modified;
use crate::http::reply::{ReplyHead, valid_content_type};
use crate::http::status::Status;
use crate::http::upload;
use crate::volume::{Draft, Refusal, Stored};

/// Destination of an upload.
#[derive(Clone, Copy)]
pub enum Destination {
    /// This object.
    Object(Object),
    /// This volume, under a name that the volume picks.
    Volume(u32),
    /// Any volume that has room, under a name that the volume picks.
    Any,
}

/// Parameters of an upload, from the head of its request.
pub struct Terms {
    /// Length of the body (bytes).
    pub len: u64,
    /// `Content-Type`.
    pub content_type: Option<Box<[u8]>>,
    /// `X-Hayloft-Modified` (nanoseconds since 1970).
    pub modified_ns: Option<u64>,
    /// Preconditions.
    pub conditions: Option<Conditions>,
    /// Verifier of the digests that the request states.
    pub verifier: Option<Box<Verifier>>,
}

impl Terms {
    /// Parses and checks the parameters. The bytes of the head are not needed afterwards.
    ///
    /// # Errors
    /// 400, 403 or 415.
    pub fn of(shard: &Shard, conn: &Conn, head: &Head) -> Result<Self, Plain> {
        let (bytes, now) = (conn.head_bytes(), shard.now_seconds());
        let digests = upload::expected_body(head, bytes)?;
        WriteConditions::parse(head, bytes, now)?;
        let content_type = head.content_type.map(|span| span.of(bytes));
        if content_type.is_some_and(|value| !valid_content_type(value)) {
            let reason = "the content type is not 1 to 255 visible characters";
            return Err(Plain::error(Status::BAD_REQUEST, reason));
        }
        let modified = head.x_hayloft_modified.map(|span| modified::parse(span.of(bytes)));
        if modified == Some(None) {
            let reason =
                "X-Hayloft-Modified is not SECONDS[.FRACTION] since 1970, with up to 9 decimals";
            return Err(Plain::error(Status::BAD_REQUEST, reason));
        }
        Ok(Self {
            len: head.content_length.unwrap_or(0),
            content_type: content_type.map(Into::into),
            modified_ns: modified.flatten(),
            conditions: Conditions::keep(head, bytes, now),
            verifier: digests.verifier().map(Box::new),
        })
    }
}

/// A stored photo.
pub struct StoredPhoto {
    /// Volume id.
    pub volume: u32,
    /// Key and alternate key.
    pub id: NeedleId,
    /// Cookie.
    pub cookie: Cookie,
    /// Result of the write in the volume.
    pub stored: Stored,
    /// Whether the volume takes writes.
    pub writable: bool,
}

impl StoredPhoto {
    fn object(&self) -> Object {
        Object { volume: self.volume, id: self.id, cookie: self.cookie }
    }
}

/// Answers a PUT or POST of one photo.
pub async fn store(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    destination: Destination,
) -> Result<Then, Plain> {
    let terms = Terms::of(shard, conn, head)?;
    if terms.len > shard.config.body_max {
        let reason = "the photo is larger than this store takes (limits.largest_body)";
        return Err(Plain::error(Status::CONTENT_TOO_LARGE, reason));
    }
    refuse_when_draining(shard)?;
    let volume = match destination {
        Destination::Object(Object { volume, .. }) | Destination::Volume(volume) => volume,
        Destination::Any => shard.pick_volume(terms.len)?,
    };
    let owner = shard.owner_of(volume).ok_or_else(|| failed(shard, Outcome::NoVolume))?;
    let is_post = !matches!(destination, Destination::Object(_));
    // The store picks a new name, so the preconditions are evaluated against an absent photo.
    if is_post && terms.conditions.as_ref().is_some_and(|conditions| !conditions.hold(None)) {
        return Err(Refusal::Precondition.into());
    }
    let object = match destination {
        Destination::Object(object) => Some(object),
        _ => None,
    };
    let size = terms.len;
    let done = if size > NEEDLE_DATA_MAX {
        if owner != shard.id {
            return move_to(shard, conn, owner);
        }
        // Boxed: this path is rare and its future is large.
        Box::pin(super::upload::receive(shard, conn, head, (volume, object), terms)).await?
    } else {
        receive_needle(shard, conn, head, (volume, object), terms).await?
    };
    let done = match done {
        Ok(done) => done,
        Err(then) => return Ok(then),
    };
    let status = match &done {
        Ok(done) if done.stored.replaced => Status::NO_CONTENT,
        Ok(_) => Status::CREATED,
        Err(plain) => plain.status,
    };
    let stored = done.as_ref().ok().map(StoredPhoto::object);
    if let Some(object) = stored.or(object) {
        let (method, began) = (traced(head.method), conn.began());
        shard.trace(&Accessed { method, object, size, status, is_range: false, began });
    }
    Ok(match done {
        Ok(done) if is_post => reply_created(shard, conn, head, size, &done).await,
        Ok(done) => {
            let Stored { etag, modified_ns, .. } = done.stored;
            let plain = Plain {
                stored: Some((etag, modified_ns / 1_000_000_000)),
                writable: Some(done.writable),
                ..Plain::success(status)
            };
            reply_after_body(shard, conn, head, plain).await
        }
        Err(plain) => reply_after_body(shard, conn, head, plain).await,
    })
}

/// Result of receiving a body: stored or refused after it was received completely, or the next step of the
/// connection when it was not.
pub type Received = Result<Result<StoredPhoto, Plain>, Then>;

async fn reply_created(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    size: u64,
    done: &StoredPhoto,
) -> Then {
    let created = Created::new(done.volume, done.id, done.cookie, size, &done.stored);
    let body = serde_json::to_vec(&created).expect("numbers and strings serialize");
    let date = shard.date();
    let reply = ReplyHead {
        content_type: Some(b"application/json"),
        etag: Some(done.stored.etag),
        last_modified: Some(done.stored.modified_ns / 1_000_000_000),
        location: Some(created.url().as_bytes()),
        volume_writable: Some(done.writable),
        ..ReplyHead::new(Status::CREATED, &date)
    };
    reply_with(shard, conn, head, reply, &body).await
}

/// Receives and stores a body that fits into one needle.
async fn receive_needle(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    (volume, object): (u32, Option<Object>),
    terms: Terms,
) -> Result<Received, Plain> {
    let Terms { len, content_type, modified_ns, mut conditions, mut verifier } = terms;
    if head.expect_continue && conn.buffered() == 0 {
        // The client sends the body only after 100 (Continue), so check before that.
        if let Some(Object { id, cookie, .. }) = object {
            let task = Task::Check { id, cookie, conditions };
            match shard.perform(volume, task).await {
                Outcome::Possible(back) => conditions = back,
                other => return Err(failed(shard, other)),
            }
        }
        // The client may be slow to send the body, so no memory is reserved for it meanwhile.
        drop(shard.admit_body(Draft::memory(len)).await.ok_or_else(no_buffer)?);
    }
    if let Err(then) = ask_for_body(shard, conn, head).await {
        return Ok(Err(then));
    }
    if let Err(error) = conn.await_body(len).await {
        return Ok(Err(body_missing(shard, conn, error).await));
    }
    let _permit = shard.admit_body(Draft::memory(len)).await.ok_or_else(no_buffer)?;
    let draft = Draft::new(shard.handle.pool(), content_type.as_deref(), len);
    let mut draft = draft.ok_or_else(no_buffer)?.modified(modified_ns);
    let (buf, start) = draft.take();
    let wanted = draft.data_len();
    let (buf, result) = receive::read_body(conn, buf, start, wanted, verifier.as_deref_mut()).await;
    draft.restore(buf);
    if let Err(error) = result {
        drop(draft);
        return Ok(Err(body_missing(shard, conn, error).await));
    }
    shard.metrics().payload_bytes_in.add(len);
    if let Err(plain) = receive::verify(verifier) {
        return Ok(Ok(Err(plain)));
    }
    let task = match object {
        Some(Object { id, cookie, .. }) => Task::Put { id, cookie, draft, conditions },
        None => Task::Post { draft },
    };
    let done = match (shard.perform(volume, task).await, object) {
        (Outcome::Stored(stored, writable), Some(Object { id, cookie, .. })) => {
            Ok(StoredPhoto { volume, id, cookie, stored, writable })
        }
        (Outcome::Created(id, cookie, stored, writable), _) => {
            Ok(StoredPhoto { volume, id, cookie, stored, writable })
        }
        (other, _) => Err(failed(shard, other)),
    };
    Ok(Ok(done))
}
