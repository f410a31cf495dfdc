//! What the handlers of requests use to answer: short replies, and the next step of the connection.

use std::rc::Rc;

use super::answered::{Answered, NextStep};
use super::plain_reply::{PlainReply, no_buffer};
use super::request::RequestError;
use super::shard::Shard;
use crate::base::types::ShardId;
use crate::http::conn::{Conn, PeerError};
use crate::http::head::{Head, Method, Version};
use crate::http::reply::{CONTINUE, Connection, MAX_HEAD_LEN, ReplyHead};
use crate::http::status::Status;
use crate::node::metrics::{self, TimeoutKind};

/// Answers input that is not a complete, valid request, and ends the connection.
pub async fn reject_and_close(shard: &Rc<Shard>, conn: &mut Conn, plain: PlainReply) -> Answered {
    let method = if conn.is_head_request() { Method::Head } else { Method::Get };
    send_plain(shard, conn, method, &plain, Connection::Close).await;
    Answered::new(plain.status, NextStep::Linger)
}

/// Counts a reply by its status, before its first byte is sent.
pub fn count_reply(shard: &Shard, status: Status) {
    shard.metrics().responses.record(status.code());
}

async fn send_plain(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    method: Method,
    plain: &PlainReply,
    connection: Connection,
) -> bool {
    count_reply(shard, plain.status);
    if let Some(refusal) = plain.refusal {
        shard.metrics().admission_refusals.at(refusal).inc();
    }
    let Some(mut buf) = conn.reply_buffer(connection == Connection::Close) else { return false };
    let len = plain.write(&mut buf, method, connection, &shard.date());
    check_sent(shard, conn.send(buf, 0, len).await)
}

/// Returns whether a reply was sent completely; counts a send timeout.
pub fn check_sent(shard: &Shard, sent: Result<(), PeerError>) -> bool {
    if sent == Err(PeerError::Late) {
        shard.metrics().timeouts.at(TimeoutKind::Send).inc();
    }
    sent.is_ok()
}

/// Decides whether the connection stays open after this request, provided that nothing fails.
pub fn connection_option(shard: &Shard, head: &Head) -> Connection {
    match head.version {
        _ if !head.keep_alive || shard.draining() => Connection::Close,
        Version::Http10 => Connection::KeepAlive,
        Version::Http11 => Connection::Persistent,
    }
}

/// Returns the next step after a reply that was sent completely, or not.
pub fn next_step_after(connection: Connection, sent: bool) -> NextStep {
    match connection {
        Connection::Close => NextStep::Linger,
        _ if sent => NextStep::Stay,
        _ => NextStep::Close,
    }
}

/// Moves the connection, with its request, to the shard that owns a volume.
///
/// # Errors
/// 503 when the connection was moved before, or the other shard's mailbox is too full.
pub fn move_to_owner(shard: &Shard, conn: &Conn, owner: ShardId) -> Result<Answered, PlainReply> {
    if conn.has_moved() || !shard.may_hand_over(owner) {
        return Err(error_reply(shard, RequestError::Busy));
    }
    Ok(Answered::without_reply(NextStep::Move(owner)))
}

/// Sends a short reply without waiting for the rest of the request. The connection stays open only if the
/// whole request has arrived already and nothing in it was malformed.
pub async fn reply(shard: &Rc<Shard>, conn: &mut Conn, head: &Head, plain: PlainReply) -> Answered {
    let whole = conn.skip_buffered(head.body_len());
    let malformed = plain.status == Status::BAD_REQUEST;
    if malformed {
        shard.metrics().bad_requests.inc();
    }
    let connection =
        if whole && !malformed { connection_option(shard, head) } else { Connection::Close };
    let sent = send_plain(shard, conn, head.method, &plain, connection).await;
    Answered::new(plain.status, next_step_after(connection, sent))
}

/// Sends a short reply to a request whose body was received.
pub async fn reply_after_body(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    plain: PlainReply,
) -> Answered {
    let connection = connection_option(shard, head);
    let sent = send_plain(shard, conn, head.method, &plain, connection).await;
    Answered::new(plain.status, next_step_after(connection, sent))
}

/// Sends a reply with a body to a request whose body was received.
pub async fn reply_with_body(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    reply: ReplyHead<'_>,
    body: &[u8],
) -> Answered {
    let connection = connection_option(shard, head);
    let reply = ReplyHead { connection, content_length: body.len() as u64, ..reply };
    let status = reply.status;
    count_reply(shard, status);
    // The reply reports a write that has happened, so wait for a buffer rather than drop the reply.
    let alloc = |_| shard.admission.buffer(MAX_HEAD_LEN + body.len());
    let Some(mut buf) = shard.admission.wait_for_buffer(0, alloc).await else {
        return Answered::new(status, NextStep::Close);
    };
    let len = reply.write(&mut buf);
    buf[len..len + body.len()].copy_from_slice(body);
    let sent = check_sent(shard, conn.send(buf, 0, len + body.len()).await);
    Answered::new(status, next_step_after(connection, sent))
}

/// Sends 100 (Continue) if the client waits for it.
///
/// # Errors
/// How the request was answered when that fails.
pub async fn send_continue(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
) -> Result<(), Answered> {
    if !head.expect_continue || conn.buffered() > 0 {
        return Ok(());
    }
    let Some(mut buf) = shard.admission.buffer(CONTINUE.len()) else {
        return Err(reply(shard, conn, head, no_buffer()).await);
    };
    buf[..CONTINUE.len()].copy_from_slice(CONTINUE);
    match check_sent(shard, conn.send(buf, 0, CONTINUE.len()).await) {
        true => Ok(()),
        false => Err(Answered::without_reply(NextStep::Close)),
    }
}

/// Answers a request whose body did not arrive, with 408 if it was late.
pub async fn answer_incomplete_body(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    error: PeerError,
) -> Answered {
    match error {
        PeerError::Closed => Answered::without_reply(NextStep::Close),
        PeerError::Late => {
            shard.metrics().timeouts.at(TimeoutKind::Body).inc();
            let plain = PlainReply::error(Status::REQUEST_TIMEOUT, "the body came too slowly");
            reject_and_close(shard, conn, plain).await
        }
    }
}

/// Makes the reply to a request that has no outcome.
pub fn error_reply(shard: &Shard, error: RequestError) -> PlainReply {
    match error {
        RequestError::NotRead(error) => error.into(),
        RequestError::Refused(refusal) => refusal.into(),
        RequestError::NoVolume if shard.config.disk_missing => PlainReply::error(
            Status::SERVICE_UNAVAILABLE,
            "volume not available: a data directory is missing",
        ),
        RequestError::NoVolume => PlainReply::error(Status::NOT_FOUND, "no such volume"),
        RequestError::Recovering => PlainReply::unavailable(
            "the volume is being recovered",
            metrics::AdmissionRefusal::Recovering,
        ),
        RequestError::NotOpened => {
            PlainReply::error(Status::SERVICE_UNAVAILABLE, "the volume could not be opened")
        }
        RequestError::OfCluster => PlainReply::error(
            Status::FORBIDDEN,
            "the volume belongs to a SeaweedFS cluster: ask its master for a fid, and upload with that",
        ),
        RequestError::NoBuffer => no_buffer(),
        RequestError::Busy => PlainReply::unavailable(
            "too much is under way; try again",
            metrics::AdmissionRefusal::Queue,
        ),
    }
}

/// Refuses a write while the daemon shuts down.
///
/// # Errors
/// 503 while the shard drains.
pub fn refuse_when_draining(shard: &Shard) -> Result<(), PlainReply> {
    if shard.draining() {
        let refusal = metrics::AdmissionRefusal::Draining;
        return Err(PlainReply::unavailable("the daemon is shutting down", refusal));
    }
    Ok(())
}
