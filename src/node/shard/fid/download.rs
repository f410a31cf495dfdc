//! GET and HEAD of a fid.

use std::rc::Rc;

use super::attributes::is_chunk_manifest;
use super::fid_head::{Coding, fid_head, validators};
use super::fid_reply::FidReply;
use super::find::find;
use super::read_options::ReadOptions;
use super::unpack::{self, Packed};
use crate::http::conn::Conn;
use crate::http::head::{Head, Method};
use crate::http::status::Status;
use crate::node::metrics::GetPhase;
use crate::node::shard::answered::Answered;
use crate::node::shard::download::{NotAnswered, send_head, stream};
use crate::node::shard::exchange::{
    check_sent, connection_option, count_reply, move_to_owner, next_step_after,
};
use crate::node::shard::object_name::ObjectName;
use crate::node::shard::object_reply::{self, ObjectHead, ReadContext, SelectedPart};
use crate::node::shard::plain_reply::{PlainReply, no_buffer};
use crate::node::shard::request::ReadExtent;
use crate::node::shard::shard::Shard;
use crate::volume::Needle;

/// Answers a GET or HEAD of a fid.
pub async fn read(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    object: ObjectName,
    options: &ReadOptions,
) -> Result<Answered, FidReply> {
    let mut is_first = true;
    loop {
        match read_once(shard, conn, head, object, options, is_first).await {
            Ok(answered) => return Ok(answered),
            Err(NotAnswered::Plain(plain)) => return Err(FidReply::of_read(plain)),
            // The object that has its place now is the answer.
            Err(NotAnswered::Changed) => is_first = false,
        }
    }
}

/// Answers a GET or HEAD with what is found now. `is_first`: whether the request is not counted yet.
async fn read_once(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    object: ObjectName,
    options: &ReadOptions,
    is_first: bool,
) -> Result<Answered, NotAnswered> {
    let is_get = head.method == Method::Get;
    let extent = if is_get { ReadExtent::Whole } else { ReadExtent::Head };
    let began = shard.handle.now();
    let mut needle = find(shard, object, extent).await?;
    let got = shard.handle.now();
    let metrics = shard.metrics();
    let coding = Coding::of(&needle, options);
    if is_chunk_manifest(needle.attributes().cluster.flags) && !options.is_raw_manifest {
        let reason = "the photo is a list of chunks (cm=true), which this node does not join";
        return Err(PlainReply::error(Status::NOT_IMPLEMENTED, reason).into());
    }
    let is_elsewhere = shard.owner_of(object.volume).filter(|owner| *owner != shard.id);
    if let Some(owner) = is_elsewhere
        && needle.is_large
        && (is_get || coding == Coding::Unpacked)
    {
        return Ok(move_to_owner(shard, conn, owner)?);
    }
    let mut size = needle.body_len;
    if coding == Coding::Unpacked {
        if extent == ReadExtent::Head {
            needle = find(shard, object, ReadExtent::Whole).await?;
        }
        size = unpack::plain_len(shard, object, &mut needle).await?;
    }
    metrics.gets_found.add(u64::from(is_first && is_get));
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
    let selected = object_reply::select_part(validators(&needle), size, &context)?;
    let reply_head = fid_head(&needle, coding, &selected, options, &context);
    let body_len = needle.body_len;
    let sent = if !selected.has_body {
        count_reply(shard, selected.status);
        send_head(shard, conn, &reply_head).await
    } else if coding == Coding::Unpacked {
        let packed = Packed { object, needle };
        unpack::send(shard, conn, packed, &selected, &reply_head).await?
    } else if needle.is_large {
        let permit = shard.admission.admit_large_transfer().ok_or_else(no_buffer)?;
        let head = Box::new(reply_head);
        Box::pin(stream(shard, conn, object, needle, &selected, (head, permit))).await?
    } else {
        send_needle(shard, conn, needle, &selected, &reply_head).await
    };
    conn.skip_buffered(head.body_len());
    if is_get {
        metrics.get_phase.at(GetPhase::Device).record(got - began);
        metrics.get_phase.at(GetPhase::Send).record(shard.handle.now() - got);
    }
    let answered = Answered::new(selected.status, next_step_after(connection, sent));
    Ok(answered.with_object(object, body_len, head.range.is_some()))
}

/// Sends a needle: the head right in front of the data, in the same buffer, if it fits there.
async fn send_needle(
    shard: &Shard,
    conn: &Conn,
    needle: Needle,
    selected: &SelectedPart,
    head: &ObjectHead,
) -> bool {
    count_reply(shard, selected.status);
    let range = selected.range();
    let to_usize = |at: u64| usize::try_from(at).expect("an offset inside a needle");
    let (start, end) =
        (needle.data.start + to_usize(range.start), needle.data.start + to_usize(range.end));
    let mut buf = needle.buf;
    let first = match head.put_before(&mut buf, start) {
        Some(first) => first,
        None if send_head(shard, conn, head).await => start,
        None => return false,
    };
    let sent = check_sent(shard, conn.send(buf, first, end - first).await);
    shard.metrics().payload_bytes_out.add(if sent { (end - start) as u64 } else { 0 });
    sent
}
