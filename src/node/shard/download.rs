//! GET and HEAD of an object.

use std::ops::Range;
use std::rc::Rc;

use super::admission::{Grant, TransferPermit};
use super::answered::Answered;
use super::exchange::{
    check_sent, connection_option, count_reply, error_reply, move_to_owner, next_step_after,
};
use super::object_name::ObjectName;
use super::object_reply::{self, ObjectHead, ObjectReply, ReadContext, SelectedPart};
use super::plain_reply::{PlainReply, no_buffer};
use super::request::{Dialect, FoundNeedle, ReadExtent, ReadNeedle};
use super::shard::Shard;
use crate::base::sabotage::{Sabotage, chosen};
use crate::http::conn::Conn;
use crate::http::head::{Head, Method};
use crate::http::status::Status;
use crate::node::metrics::GetPhase;
use crate::runtime::buffer::Buf;
use crate::runtime::join;
use crate::volume::{Body, BodyError, GetError, Needle, Slot};

/// Why a read was not answered.
pub enum NotAnswered {
    /// The object was replaced or deleted since its manifest was read. Nothing was sent.
    Changed,
    /// The answer is without the object.
    Plain(PlainReply),
}

impl From<PlainReply> for NotAnswered {
    fn from(plain: PlainReply) -> Self {
        Self::Plain(plain)
    }
}

impl From<BodyError> for NotAnswered {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Changed => Self::Changed,
            BodyError::NotRead(error) => Self::Plain(error.into()),
        }
    }
}

/// Answers a GET or HEAD.
pub async fn read(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    object: ObjectName,
) -> Result<Answered, PlainReply> {
    let mut is_first = true;
    loop {
        match read_once(shard, conn, head, object, is_first).await {
            Ok(answered) => return Ok(answered),
            Err(NotAnswered::Plain(plain)) => return Err(plain),
            // The object that has its place now is the answer.
            Err(NotAnswered::Changed) if !chosen(Sabotage::ChangedIsMissing) => is_first = false,
            Err(NotAnswered::Changed) => return Err(GetError::NotFound.into()),
        }
    }
}

/// Answers a GET or HEAD with what is found now. `is_first`: whether the request is not counted yet.
async fn read_once(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    object: ObjectName,
    is_first: bool,
) -> Result<Answered, NotAnswered> {
    let extent = if head.method == Method::Get { ReadExtent::Whole } else { ReadExtent::Head };
    let ObjectName { volume, id, cookie } = object;
    let dialect = Dialect::Own;
    let began = shard.handle.now();
    let found = shard.perform(volume, ReadNeedle { id, cookie, extent, dialect }).await;
    let got = shard.handle.now();
    let metrics = shard.metrics();
    let FoundNeedle { needle, is_writable } = match found {
        Ok(found) => found,
        Err(error) => {
            let plain = error_reply(shard, error);
            let missing = plain.status == Status::NOT_FOUND && extent == ReadExtent::Whole;
            metrics.gets_missing.add(u64::from(missing));
            return Err(plain.into());
        }
    };
    let connection = connection_option(shard, head);
    let context = ReadContext {
        head,
        head_bytes: conn.head_bytes(),
        date: &shard.date(),
        now_seconds: shard.now_seconds(),
        now_ns: shard.handle.wall(),
        cache_control: &shard.config.cache_control,
        connection,
    };
    let selected =
        object_reply::select_part(object_reply::validators(&needle), needle.body_len, &context);
    let is_stream = needle.is_large && selected.as_ref().is_ok_and(|selected| selected.has_body);
    let elsewhere = shard.owner_of(volume).filter(|owner| *owner != shard.id);
    if let Some(owner) = elsewhere.filter(|_| is_stream) {
        return Ok(move_to_owner(shard, conn, owner)?);
    }
    metrics.gets_found.add(u64::from(is_first && extent == ReadExtent::Whole));
    let selected = selected?;
    let size = needle.body_len;
    let sent = if is_stream {
        let permit = shard.admission.admit_large_transfer().ok_or_else(no_buffer)?;
        // Boxed: this path is rare and its state is large.
        let head = Box::new(ObjectHead::new(&needle, is_writable, &selected, &context));
        Box::pin(stream(shard, conn, object, needle, &selected, (head, permit))).await?
    } else {
        let ready = ObjectReply::new(needle, is_writable, &selected, &context);
        count_reply(shard, ready.status);
        conn.skip_buffered(head.body_len());
        let sent = check_sent(shard, conn.send(ready.buf, ready.start, ready.len).await);
        metrics.payload_bytes_out.add(if sent { ready.body_len as u64 } else { 0 });
        sent
    };
    if extent == ReadExtent::Whole {
        metrics.get_phase.at(GetPhase::Device).record(got - began);
        metrics.get_phase.at(GetPhase::Send).record(shard.handle.now() - got);
    }
    let answered = Answered::new(selected.status, next_step_after(connection, sent));
    Ok(answered.with_object(object, size, head.range.is_some()))
}

/// A piece of a large body that was read and verified.
pub struct BodyPiece {
    /// Buffer with the piece.
    pub buf: Buf,
    /// Where it is in the buffer.
    pub range: Range<usize>,
    /// Permit for the buffer.
    grant: Grant,
}

/// Sends a large body piece by piece, and reads one piece ahead while there is memory for two. Returns
/// whether all of it was sent. After the first piece the status is sent, so that a damaged chunk can only
/// end the connection before `Content-Length` bytes were sent.
pub async fn stream(
    shard: &Rc<Shard>,
    conn: &Conn,
    object: ObjectName,
    manifest: Needle,
    selected: &SelectedPart,
    (head, permit): (Box<ObjectHead>, Rc<TransferPermit>),
) -> Result<bool, NotAnswered> {
    let slot = &shard.volumes.local(object.volume).map_err(|error| error_reply(shard, error))?;
    let mut body = slot.body((object.id, object.cookie), manifest, selected.range()).await?;
    let grant = permit.grant(body.remaining()).ok_or_else(no_buffer)?;
    let mut piece = read_piece(shard, slot, &mut body, grant).await?;
    let metrics = shard.metrics();
    count_reply(shard, selected.status);
    let mut start = match head.put_before(&mut piece.buf, piece.range.start) {
        Some(start) => start,
        None if send_head(shard, conn, &head).await => piece.range.start,
        None => return Ok(false),
    };
    loop {
        let BodyPiece { buf, range, grant } = piece;
        let sending = conn.send(buf, start, range.end - start);
        let second = if body.remaining() > 0 { permit.grant(body.remaining()) } else { None };
        let (sent, ahead) = match second {
            Some(grant) => {
                let (sent, ahead) = join(sending, read_piece(shard, slot, &mut body, grant)).await;
                (sent, Some(ahead))
            }
            None => (sending.await, None),
        };
        if !check_sent(shard, sent) {
            return Ok(false);
        }
        metrics.payload_bytes_out.add(range.len() as u64);
        let next = match ahead {
            Some(ahead) => ahead,
            None if body.remaining() == 0 => return Ok(true),
            None => read_piece(shard, slot, &mut body, grant).await,
        };
        piece = match next {
            Ok(piece) => piece,
            Err(error) => {
                let (volume, id) = (object.volume, object.id);
                if let Some(omitted) = shard.damage_warnings.admit(shard.handle.now()) {
                    let why = match error {
                        NotAnswered::Changed => {
                            "the photo was replaced or deleted meanwhile".into()
                        }
                        NotAnswered::Plain(plain) => plain.reason,
                    };
                    tracing::error!(
                        volume = volume.0,
                        "sending needle {id} ended early: {why}{omitted}"
                    );
                }
                return Ok(false);
            }
        };
        start = piece.range.start;
    }
}

/// Sends the head of a reply by itself, if it is too long to stand before the body. Returns whether that was
/// done.
pub async fn send_head(shard: &Shard, conn: &Conn, head: &ObjectHead) -> bool {
    let bytes = head.as_bytes();
    let alloc = |_| shard.admission.buffer(bytes.len());
    let Some(mut buf) = shard.admission.wait_for_buffer(0, alloc).await else { return false };
    buf[..bytes.len()].copy_from_slice(bytes);
    check_sent(shard, conn.send(buf, 0, bytes.len()).await)
}

/// Reads the next piece of a large body.
pub async fn read_piece(
    shard: &Shard,
    slot: &Slot,
    body: &mut Body,
    grant: Grant,
) -> Result<BodyPiece, NotAnswered> {
    let alloc = |len| shard.admission.buffer(Body::buffer_len(len));
    let buf = shard.admission.wait_for_buffer(grant.len, alloc).await.ok_or_else(no_buffer)?;
    let (buf, range) = slot.read_body(body, buf).await?;
    Ok(BodyPiece { buf, range, grant })
}
