//! A body larger than a needle, received part by part: while one part is being written, the next
//! one is received. Only in the shard that owns the volume.

use std::rc::Rc;

use super::Shard;
use super::answer::{Plain, no_buffer};
use super::session::{Object, Then, ask_for_body, body_missing, failed, reply};
use super::store::{Done, Received, Terms};
use crate::http::conn::Conn;
use crate::http::head::Head;
use crate::volume::{Check, Draft, Existing, Refusal, Upload};

/// Receives and stores a large body.
pub async fn receive(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    (number, object): (u32, Option<Object>),
    terms: Terms,
) -> Result<Received, Plain> {
    let Terms { len, content_type, conditions } = terms;
    let volume = shard.volumes.local(number).map_err(|outcome| failed(shard, outcome))?;
    let permit = shard.admit_large().ok_or_else(no_buffer)?;
    let absent = |existing: Option<&Existing>| existing.is_none();
    let holds = |existing: Option<&Existing>| {
        conditions.as_ref().is_none_or(|conditions| conditions.hold(existing))
    };
    let ((id, cookie), check): (_, Check<'_>) = match object {
        Some(Object { id, cookie, .. }) => ((id, cookie), conditions.as_ref().map(|_| &holds as _)),
        None => (volume.fresh_name(), Some(&absent)),
    };
    // Not to receive in vain what is refused in the end.
    volume.may_put(id, cookie, check).await?;
    let mut upload = volume.upload(id, cookie, len)?;
    if let Err(then) = ask_for_body(shard, conn, head).await {
        return Ok(Err(then));
    }
    while upload.next_len(u64::MAX) > 0 {
        // A peer that dawdles is waited for without a buffer.
        if let Err(error) = conn.await_body(upload.next_len(u64::MAX)).await {
            return Ok(Err(body_missing(shard, conn, error).await));
        }
        let part = next_part(shard, &upload, upload.next_len(permit.piece_len())).await;
        let Some(mut part) = part else {
            return Ok(Err(give_up(shard, conn, head, no_buffer()).await));
        };
        let (buf, start) = part.take();
        let (buf, result) = conn.read_body(buf, start, part.data_len()).await;
        part.restore(buf);
        if let Err(error) = result {
            drop(part);
            return Ok(Err(body_missing(shard, conn, error).await));
        }
        shard.metrics().payload_bytes_in.add(part.data_len() as u64);
        // At most two parts are in memory.
        let added = match upload.settle().await {
            Ok(()) => upload.add(part),
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = added {
            return Ok(Err(give_up(shard, conn, head, refusal.into()).await));
        }
    }
    let stored = match upload.finish(shard.handle.pool(), content_type.as_deref()).await {
        Ok(manifest) => volume.put(id, cookie, manifest, check).await,
        Err(refusal) => Err(refusal),
    };
    let writable = volume.writable();
    Ok(Ok(match stored {
        Ok(stored) => Ok(Done { volume: number, id, cookie, stored, writable }),
        // The name that was picked was taken meanwhile.
        Err(Refusal::Precondition | Refusal::Conflict) if object.is_none() => {
            Err(failed(shard, super::task::Outcome::Busy))
        }
        Err(refusal) => Err(refusal.into()),
    }))
}

async fn next_part(shard: &Shard, upload: &Upload, wanted: u64) -> Option<Draft> {
    let pool = shard.handle.pool();
    shard.buffer_of(wanted, |len| upload.part(pool, len.min(wanted))).await
}

/// Answers before the body has come whole, after which the connection cannot go on.
async fn give_up(shard: &Rc<Shard>, conn: &mut Conn, head: &Head, plain: Plain) -> Then {
    reply(shard, conn, &Head { content_length: Some(u64::MAX), ..*head }, plain).await
}
