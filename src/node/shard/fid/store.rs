//! PUT and POST of a fid: admission, receiving the file, the request to the volume, the reply.

use std::rc::Rc;

use super::attributes::attributes;
use super::fid_reply::{FidReply, Received, send};
use super::file_check::FileCheck;
use super::file_head::FileHead;
use super::fill::fill;
use super::not_stored::NotStored;
use super::put::put;
use super::store_large;
use super::stored_file::StoredFile;
use super::upload_body::UploadBody;
use super::upload_request::UploadRequest;
use crate::base::limits::NEEDLE_DATA_MAX;
use crate::http::conn::Conn;
use crate::http::head::Head;
use crate::http::reject::Reject;
use crate::node::shard::answered::Answered;
use crate::node::shard::copies::FanOut;
use crate::node::shard::exchange::{
    answer_incomplete_body, error_reply, move_to_owner, refuse_when_draining, send_continue,
};
use crate::node::shard::plain_reply::no_buffer;
use crate::node::shard::request::RequestError;
use crate::node::shard::shard::Shard;
use crate::volume::{Draft, DraftAttributes};

/// Length by which a form may exceed its file (bytes): other fields, and the heads of parts.
const FORM_MAX: u64 = 128 << 10;
/// Space for the bytes by which a file is longer than its form let expect.
const SLACK: usize = 8;

const TOO_LARGE: Reject =
    Reject::bad("the file is larger than this store takes (limits.largest_body)");

/// Answers a PUT or POST of a fid.
pub async fn store(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    mut request: UploadRequest,
) -> Result<Answered, FidReply> {
    refuse_when_draining(shard).map_err(FidReply::of_change)?;
    let most = shard.config.body_max.saturating_add(request.form.as_ref().map_or(0, |_| FORM_MAX));
    if head.content_length.is_some_and(|len| len > most) {
        return Err(TOO_LARGE.into());
    }
    let no_volume = || FidReply::of_change(error_reply(shard, RequestError::NoVolume));
    let owner = shard.owner_of(request.object.volume).ok_or_else(no_volume)?;
    // What may be a large body is received where its volume is.
    if head.body_len() > NEEDLE_DATA_MAX && owner != shard.id {
        return move_to_owner(shard, conn, owner).map_err(FidReply::of_change);
    }
    let object = request.object;
    if !request.is_replica {
        let len = head.content_length.unwrap_or(1);
        let begun = FanOut::begin(shard, object.volume, object.id, Some(len)).await;
        request.fan_out = begun.map_err(FidReply::of_change)?;
        request.origin = request.fan_out.as_ref().map(|fan_out| fan_out.origin);
    }
    let stored = receive(shard, conn, head, request).await;
    let decided_at = shard.handle.now();
    let (answered, size) = match stored {
        Ok(file) => (send(shard, conn, head, file.reply(), Received::Whole).await, file.len),
        Err(NotStored::RefusedAfterBody(reply)) => {
            (send(shard, conn, head, reply, Received::Whole).await, 0)
        }
        Err(NotStored::Refused(reply)) => (refuse(shard, conn, head, reply).await, 0),
        Err(NotStored::Missing(error)) => {
            return Ok(answer_incomplete_body(shard, conn, error).await);
        }
        Err(NotStored::Answered(answered)) => return Ok(answered),
    };
    Ok(answered.decided_at(decided_at).with_object(object, size, false))
}

/// Refuses an upload of which a part was received, and ends the connection.
async fn refuse(shard: &Rc<Shard>, conn: &mut Conn, head: &Head, reply: FidReply) -> Answered {
    let unfinished = Head { content_length: Some(u64::MAX), ..*head };
    send(shard, conn, &unfinished, reply, Received::Head).await
}

/// Receives and stores a file.
async fn receive(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    mut request: UploadRequest,
) -> Result<StoredFile, NotStored> {
    send_continue(shard, conn, head).await?;
    // No memory is reserved for a client that sends nothing.
    let first = if head.is_chunked { 1 } else { head.body_len() };
    conn.await_body(first).await.map_err(NotStored::Missing)?;
    let (form, raw) = (request.form.take(), std::mem::take(&mut request.raw));
    let (body, file) = UploadBody::begin(conn, head, form, raw).await?;
    let check = FileCheck::new(&file, shard.config.body_max)?;
    match body.expected_len() {
        Some(len) if len > shard.config.body_max => Err(TOO_LARGE.into()),
        // A file may be a little longer than its form lets expect.
        Some(len) if len + SLACK as u64 <= NEEDLE_DATA_MAX => {
            receive_needle(shard, conn, &request, (body, file, check), len).await
        }
        _ => store_large::receive(shard, conn, &request, (body, file, check)).await,
    }
}

/// Receives and stores a file that is expected to fit into one needle, of `len` bytes.
async fn receive_needle(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    request: &UploadRequest,
    (mut body, file, mut check): (UploadBody, FileHead, FileCheck),
    len: u64,
) -> Result<StoredFile, NotStored> {
    let attributes = attributes(request, &file);
    attributes.check().map_err(|_| UNFIT)?;
    let memory = Draft::memory_with(&attributes, len);
    let _permit = shard.admission.admit_body(memory).await.ok_or_else(no_buffer)?;
    let pool = shard.handle.pool();
    let mut draft = Draft::with_attributes(pool, attributes, len).ok_or_else(no_buffer)?;
    let (buf, start) = draft.take();
    let (buf, filled) =
        fill(shard, conn, &mut body, &mut check, buf, start, draft.data_len()).await;
    draft.restore(buf);
    let (filled, mut is_end) = filled?;
    let mut more = Vec::new();
    if !is_end {
        is_end = body.ends_here(conn).await?;
    }
    if !is_end {
        more = receive_slack(shard, conn, &mut body, &mut check).await?;
    }
    body.finish(conn).await?;
    if filled < draft.data_len() || !more.is_empty() {
        draft = resized(shard, attributes, &mut draft, filled, &more)?;
    }
    let len = draft.data_len() as u64;
    shard.metrics().payload_bytes_in.add(len);
    let stored = async {
        let plain_len = check.finish()?;
        put(shard, request, &file, draft, plain_len).await
    };
    stored.await.map_err(NotStored::after_body)
}

const UNFIT: Reject = Reject::bad("the file name, the content type or the pairs are too long");

/// Receives the few bytes by which a file may be longer than its form let expect, to its end.
async fn receive_slack(
    shard: &Shard,
    conn: &mut Conn,
    body: &mut UploadBody,
    check: &mut FileCheck,
) -> Result<Vec<u8>, NotStored> {
    let buf = shard.admission.buffer(SLACK).ok_or_else(no_buffer)?;
    let (buf, filled) = fill(shard, conn, body, check, buf, 0, SLACK).await;
    match filled? {
        (len, true) => Ok(buf[..len].to_vec()),
        (_, false) => Err(Reject::bad("the body does not end with the form").into()),
    }
}

/// A draft of the first `len` bytes of the data of another, and `more`.
fn resized(
    shard: &Shard,
    attributes: DraftAttributes<'_>,
    draft: &mut Draft,
    len: usize,
    more: &[u8],
) -> Result<Draft, NotStored> {
    // It fits into a needle: what is longer by more than SLACK was refused.
    let new_len = (len + more.len()) as u64;
    let new = Draft::with_attributes(shard.handle.pool(), attributes, new_len);
    let mut new = new.ok_or_else(no_buffer)?;
    let (front, back) = new.data_mut().split_at_mut(len);
    front.copy_from_slice(&draft.data_mut()[..len]);
    back.copy_from_slice(more);
    Ok(new)
}
