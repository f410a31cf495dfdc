//! GET and HEAD of an object.

use std::ops::Range;
use std::rc::Rc;

use super::Shard;
use super::access::Accessed;
use super::admission::{Grant, LargePermit};
use super::answer::{self, Context, Decided, ObjectHead, Plain, no_buffer};
use super::session::{Object, Then, connection, failed, move_to, then, traced, was_taken};
use super::task::{Outcome, ReadKind, Task};
use crate::http::conn::Conn;
use crate::http::head::{Head, Method};
use crate::http::status::Status;
use crate::node::metrics::GetPhase;
use crate::runtime::buffer::Buf;
use crate::runtime::join;
use crate::volume::{Body, Needle};

/// Answers a GET or HEAD.
pub async fn read(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    object: Object,
) -> Result<Then, Plain> {
    let kind = if head.method == Method::Get { ReadKind::Whole } else { ReadKind::Head };
    let Object { volume, id, cookie } = object;
    let began = shard.handle.now();
    let outcome = shard.perform(volume, Task::Read { id, cookie, kind, buf: None }).await;
    let got = shard.handle.now();
    let metrics = shard.metrics();
    let (needle, writable) = match outcome {
        Outcome::Read(needle, writable) => (needle, writable),
        other => {
            let plain = failed(shard, other);
            let missing = plain.status == Status::NOT_FOUND && kind == ReadKind::Whole;
            metrics.gets_missing.add(u64::from(missing));
            return Err(plain);
        }
    };
    let connection = connection(shard, head);
    let context = Context {
        head,
        head_bytes: conn.head_bytes(),
        date: &shard.date(),
        now_seconds: shard.now_seconds(),
        cache_control: &shard.config.cache_control,
        connection,
    };
    let decided = answer::decide(&needle, &context);
    let is_stream = needle.is_large && decided.as_ref().is_ok_and(|decided| decided.has_body);
    let elsewhere = shard.owner_of(volume).filter(|owner| *owner != shard.id);
    if let Some(owner) = elsewhere.filter(|_| is_stream) {
        return move_to(shard, conn, owner);
    }
    metrics.gets_found.add(u64::from(kind == ReadKind::Whole));
    let decided = decided?;
    let size = needle.body_len;
    let sent = if is_stream {
        let permit = shard.admit_large().ok_or_else(no_buffer)?;
        // Boxed: this path is rare and its state is large.
        let head = Box::new(ObjectHead::new(&needle, writable, &decided, &context));
        Box::pin(stream(shard, conn, object, needle, &decided, (head, permit))).await?
    } else {
        let ready = answer::object(needle, writable, &decided, &context);
        metrics.responses.record(ready.status.code());
        conn.skip_buffered(head.content_length.unwrap_or(0));
        let sent = was_taken(shard, conn.send(ready.buf, ready.start, ready.len).await);
        metrics.payload_bytes_out.add(if sent { ready.body_len as u64 } else { 0 });
        sent
    };
    shard.trace(&Accessed {
        method: traced(head.method),
        object,
        size,
        status: decided.status,
        is_range: head.range.is_some(),
        began: conn.began(),
    });
    if kind == ReadKind::Whole {
        metrics.get_phase.at(GetPhase::Device).record(got - began);
        metrics.get_phase.at(GetPhase::Send).record(shard.handle.now() - got);
    }
    Ok(then(connection, sent))
}

/// A piece of a large body that was read and verified.
struct BodyPiece {
    buf: Buf,
    range: Range<usize>,
    /// Permit for the buffer.
    grant: Grant,
}

/// Sends a large body piece by piece, and reads one piece ahead while there is memory for two. Returns
/// whether all of it was sent. After the first piece the status is sent, so that a damaged chunk can only
/// end the connection before `Content-Length` bytes were sent.
async fn stream(
    shard: &Rc<Shard>,
    conn: &Conn,
    object: Object,
    manifest: Needle,
    decided: &Decided,
    (head, permit): (Box<ObjectHead>, Rc<LargePermit>),
) -> Result<bool, Plain> {
    let volume = shard.volumes.local(object.volume).map_err(|outcome| failed(shard, outcome))?;
    let mut body = volume.body(object.id, manifest, decided.range())?;
    let grant = permit.grant(body.remaining()).ok_or_else(no_buffer)?;
    let mut piece = read_piece(shard, &mut body, grant).await?;
    let metrics = shard.metrics();
    metrics.responses.record(decided.status.code());
    let mut start = head.put_before(&mut piece.buf, piece.range.start);
    loop {
        let BodyPiece { buf, range, grant } = piece;
        let sending = conn.send(buf, start, range.end - start);
        let second = if body.remaining() > 0 { permit.grant(body.remaining()) } else { None };
        let (sent, ahead) = match second {
            Some(grant) => {
                let (sent, ahead) = join(sending, read_piece(shard, &mut body, grant)).await;
                (sent, Some(ahead))
            }
            None => (sending.await, None),
        };
        if !was_taken(shard, sent) {
            return Ok(false);
        }
        metrics.payload_bytes_out.add(range.len() as u64);
        let next = match ahead {
            Some(ahead) => ahead,
            None if body.remaining() == 0 => return Ok(true),
            None => read_piece(shard, &mut body, grant).await,
        };
        piece = match next {
            Ok(piece) => piece,
            Err(plain) => {
                let (volume, id) = (object.volume, object.id);
                if let Some(omitted) = shard.damage_warnings.admit(shard.handle.now()) {
                    let why = plain.reason;
                    tracing::error!(volume, "sending needle {id} ended early: {why}{omitted}");
                }
                return Ok(false);
            }
        };
        start = piece.range.start;
    }
}

async fn read_piece(shard: &Shard, body: &mut Body, grant: Grant) -> Result<BodyPiece, Plain> {
    let alloc = |len| shard.buffer(Body::buffer_len(len));
    let buf = shard.buffer_of(grant.len, alloc).await.ok_or_else(no_buffer)?;
    let (buf, range) = body.read(buf).await?;
    Ok(BodyPiece { buf, range, grant })
}
