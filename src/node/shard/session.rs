//! Serves a connection: its requests one after the other, from the head to the reply.

use std::num::NonZeroU64;
use std::rc::Rc;

use super::Shard;
use super::access::Accessed;
use super::answer::{Plain, no_buffer};
use super::slots::Slot;
use super::store::Destination;
use super::task::{Arrival, Conditions, Outcome, Task};
use super::{batch, download, store};
use crate::base::access_trace;
use crate::base::types::{Cookie, NeedleId};
use crate::http::conditional::WriteConditions;
use crate::http::conn::{Conn, Next, PeerError};
use crate::http::head::{Head, Method, Version};
use crate::http::reply::{CONTINUE, Connection, MAX_HEAD_LEN, ReplyHead};
use crate::http::status::Status;
use crate::http::target::{self, Target};
use crate::http::upload;
use crate::node::metrics::{self, MethodGroup, TimeoutKind};

/// Next step of a connection after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Wait for the next request.
    Stay,
    /// Continue with the same request in this other shard.
    Move(u16),
    /// Close the connection.
    Close,
    /// Close the connection, but read on for a while first: the peer may still be sending.
    Linger,
}

/// The object that a request names.
#[derive(Clone, Copy)]
pub struct Object {
    /// Volume id.
    pub volume: u32,
    /// Key and alternate key of the needle.
    pub id: NeedleId,
    /// Cookie that the client presented.
    pub cookie: Cookie,
}

/// Serves a connection to its end, and then returns its slot. `moved` is the request with which it was moved
/// here from another shard.
pub async fn serve(shard: &Rc<Shard>, mut conn: Conn, moved: Option<Head>, slot: Slot) {
    let mut then = match moved {
        Some(head) => answer(shard, &mut conn, &head).await,
        None => Then::Stay,
    };
    loop {
        then = match then {
            Then::Stay => next(shard, &mut conn).await,
            Then::Move(to) => {
                return shard.hand_over(to, Arrival::Moved(Box::new(conn.detach()), slot));
            }
            Then::Close => return conn.close().await,
            Then::Linger => return conn.linger().await,
        }
    }
}

async fn next(shard: &Rc<Shard>, conn: &mut Conn) -> Then {
    match conn.next_request().await {
        Next::Request(head) => {
            shard.metrics().requests.at(counted(head.method)).inc();
            answer(shard, conn, &head).await
        }
        Next::Malformed(reject) => {
            shard.metrics().bad_requests.inc();
            let audited = shard.audited_malformed(conn).await;
            let plain = Plain {
                allow: (reject.status == Status::METHOD_NOT_ALLOWED)
                    .then(|| conn.refused_target().map_or(target::ALLOW_ANY, target::allow_of)),
                ..reject.into()
            };
            let then = refuse_and(shard, conn, plain).await;
            if let Some(audited) = audited {
                audited.log(conn);
            }
            then
        }
        Next::Late => {
            shard.metrics().timeouts.at(TimeoutKind::Head).inc();
            let late = "the request head took too long";
            refuse_and(shard, conn, Plain::error(Status::REQUEST_TIMEOUT, late)).await
        }
        Next::Idle => {
            if !shard.draining() {
                shard.metrics().timeouts.at(TimeoutKind::Idle).inc();
            }
            Then::Close
        }
        Next::Closed => Then::Close,
    }
}

/// Refuses a connection with 503 because there are too many.
pub async fn refuse(shard: &Rc<Shard>, mut conn: Conn) {
    let plain = Plain::unavailable(
        "too many connections; try again",
        metrics::AdmissionRefusal::Connections,
    );
    refuse_and(shard, &mut conn, plain).await;
    conn.linger().await;
}

/// Answers input that is not a complete, valid request, and ends the connection.
async fn refuse_and(shard: &Rc<Shard>, conn: &mut Conn, plain: Plain) -> Then {
    let method = if conn.is_head_request() { Method::Head } else { Method::Get };
    send_plain(shard, conn, method, &plain, Connection::Close).await;
    Then::Linger
}

async fn send_plain(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    method: Method,
    plain: &Plain,
    connection: Connection,
) -> bool {
    shard.metrics().responses.record(plain.status.code());
    conn.note_answer(plain.status);
    if let Some(refusal) = plain.refusal {
        shard.metrics().admission_refusals.at(refusal).inc();
    }
    let Some(mut buf) = conn.reply_buffer(connection == Connection::Close) else { return false };
    let len = plain.write(&mut buf, method, connection, &shard.date());
    was_taken(shard, conn.send(buf, 0, len).await)
}

/// Returns whether a reply was sent completely; counts a send timeout.
pub fn was_taken(shard: &Shard, sent: Result<(), PeerError>) -> bool {
    if sent == Err(PeerError::Late) {
        shard.metrics().timeouts.at(TimeoutKind::Send).inc();
    }
    sent.is_ok()
}

/// Decides whether the connection stays open after this request, provided that nothing fails.
pub fn connection(shard: &Shard, head: &Head) -> Connection {
    match head.version {
        _ if !head.keep_alive || shard.draining() => Connection::Close,
        Version::Http10 => Connection::KeepAlive,
        Version::Http11 => Connection::Persistent,
    }
}

pub fn then(connection: Connection, sent: bool) -> Then {
    match connection {
        Connection::Close => Then::Linger,
        _ if sent => Then::Stay,
        _ => Then::Close,
    }
}

fn counted(method: Method) -> metrics::MethodLabel {
    match method {
        Method::Get => metrics::MethodLabel::Get,
        Method::Head => metrics::MethodLabel::Head,
        Method::Put => metrics::MethodLabel::Put,
        Method::Post => metrics::MethodLabel::Post,
        Method::Delete => metrics::MethodLabel::Delete,
    }
}

/// Converts a method to that of the access trace.
pub fn traced(method: Method) -> access_trace::Method {
    match method {
        Method::Get => access_trace::Method::Get,
        Method::Head => access_trace::Method::Head,
        Method::Put => access_trace::Method::Put,
        Method::Post => access_trace::Method::Post,
        Method::Delete => access_trace::Method::Delete,
    }
}

async fn answer(shard: &Rc<Shard>, conn: &mut Conn, head: &Head) -> Then {
    let target = target::parse(head.target.of(conn.head_bytes()));
    let named = match target {
        Ok(Target::Object { volume, key, alt, cookie }) => {
            Some(Object { volume, id: NeedleId::new(key, alt), cookie: Cookie(cookie) })
        }
        _ => None,
    };
    let audited = shard.audited(conn, head.method, target.as_ref().ok().copied()).await;
    let allowed = target.and_then(|target| {
        upload::check_type(head, conn.head_bytes(), target)?;
        Ok(target)
    });
    let result = match allowed {
        Err(reject) => Err(reject.into()),
        Ok(target) if !target.allows(head.method) => {
            let reason = "this method is not possible here";
            let mut plain = Plain::error(Status::METHOD_NOT_ALLOWED, reason);
            plain.allow = Some(target.allow());
            if target == Target::Root {
                plain.instance = NonZeroU64::new(shard.shared.metrics.node.instance);
            }
            Err(plain)
        }
        Ok(target) => dispatch(shard, conn, head, target).await,
    };
    let then = match result {
        Ok(then) => then,
        Err(plain) => {
            let status = plain.status;
            let then = reply(shard, conn, head, plain).await;
            if let Some(object) = named {
                let (method, began) = (traced(head.method), conn.began());
                let is_range = head.range.is_some();
                shard.trace(&Accessed { method, object, size: 0, status, is_range, began });
            }
            then
        }
    };
    if !matches!(then, Then::Move(_)) {
        if let Some(audited) = audited {
            audited.log(conn);
        }
        let took = shard.handle.now().saturating_sub(conn.began());
        let group = MethodGroup::from(counted(head.method));
        shard.metrics().request_latency.at(group).record(took);
    }
    then
}

async fn dispatch(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    target: Target,
) -> Result<Then, Plain> {
    match target {
        Target::Object { volume, key, alt, cookie } => {
            let object = Object { volume, id: NeedleId::new(key, alt), cookie: Cookie(cookie) };
            match head.method {
                Method::Get | Method::Head => download::read(shard, conn, head, object).await,
                Method::Delete => delete(shard, conn, head, object).await,
                Method::Put | Method::Post => {
                    store::store(shard, conn, head, Destination::Object(object)).await
                }
            }
        }
        Target::Volume { volume } => {
            store::store(shard, conn, head, Destination::Volume(volume)).await
        }
        Target::Root => store::store(shard, conn, head, Destination::Any).await,
        // Boxed: this path is rare and its future is large.
        Target::Batch { volume } => Box::pin(batch::store(shard, conn, head, volume)).await,
    }
}

/// Moves the connection, with its request, to the shard that owns a volume.
///
/// # Errors
/// 503 when the connection was moved before, or the other shard's mailbox is too full.
pub fn move_to(shard: &Shard, conn: &Conn, owner: u16) -> Result<Then, Plain> {
    if conn.has_moved() || !shard.may_hand_over(owner) {
        return Err(failed(shard, Outcome::Busy));
    }
    Ok(Then::Move(owner))
}

/// Sends a short reply without waiting for the rest of the request. The connection stays open only if the
/// whole request has arrived already and nothing in it was malformed.
pub async fn reply(shard: &Rc<Shard>, conn: &mut Conn, head: &Head, plain: Plain) -> Then {
    let whole = conn.skip_buffered(head.content_length.unwrap_or(0));
    let malformed = plain.status == Status::BAD_REQUEST;
    if malformed {
        shard.metrics().bad_requests.inc();
    }
    let connection = if whole && !malformed { connection(shard, head) } else { Connection::Close };
    let sent = send_plain(shard, conn, head.method, &plain, connection).await;
    then(connection, sent)
}

/// Sends a short reply to a request whose body was received.
pub async fn reply_after_body(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    plain: Plain,
) -> Then {
    let connection = connection(shard, head);
    let sent = send_plain(shard, conn, head.method, &plain, connection).await;
    then(connection, sent)
}

/// Sends a reply with a body to a request whose body was received.
pub async fn reply_with(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    reply: ReplyHead<'_>,
    body: &[u8],
) -> Then {
    let connection = connection(shard, head);
    let reply = ReplyHead { connection, content_length: body.len() as u64, ..reply };
    shard.metrics().responses.record(reply.status.code());
    conn.note_answer(reply.status);
    // The reply reports a write that has happened, so wait for a buffer rather than drop the reply.
    let alloc = |_| shard.buffer(MAX_HEAD_LEN + body.len());
    let Some(mut buf) = shard.buffer_of(0, alloc).await else { return Then::Close };
    let len = reply.write(&mut buf);
    buf[len..len + body.len()].copy_from_slice(body);
    let sent = was_taken(shard, conn.send(buf, 0, len + body.len()).await);
    then(connection, sent)
}

/// Sends 100 (Continue) if the client waits for it.
///
/// # Errors
/// The next step of the connection when that fails.
pub async fn ask_for_body(shard: &Rc<Shard>, conn: &mut Conn, head: &Head) -> Result<(), Then> {
    if !head.expect_continue || conn.buffered() > 0 {
        return Ok(());
    }
    let Some(mut buf) = shard.buffer(CONTINUE.len()) else {
        return Err(reply(shard, conn, head, no_buffer()).await);
    };
    buf[..CONTINUE.len()].copy_from_slice(CONTINUE);
    match was_taken(shard, conn.send(buf, 0, CONTINUE.len()).await) {
        true => Ok(()),
        false => Err(Then::Close),
    }
}

/// Answers a request whose body did not arrive, with 408 if it was late.
pub async fn body_missing(shard: &Rc<Shard>, conn: &mut Conn, error: PeerError) -> Then {
    match error {
        PeerError::Closed => Then::Close,
        PeerError::Late => {
            shard.metrics().timeouts.at(TimeoutKind::Body).inc();
            let plain = Plain::error(Status::REQUEST_TIMEOUT, "the body came too slowly");
            refuse_and(shard, conn, plain).await
        }
    }
}

pub fn failed(shard: &Shard, outcome: Outcome) -> Plain {
    match outcome {
        Outcome::NotRead(error) => error.into(),
        Outcome::Refused(refusal) => refusal.into(),
        Outcome::NoVolume if shard.config.disk_missing => Plain::error(
            Status::SERVICE_UNAVAILABLE,
            "volume not available: a data directory is missing",
        ),
        Outcome::NoVolume => Plain::error(Status::NOT_FOUND, "no such volume"),
        Outcome::Recovering => Plain::unavailable(
            "the volume is being recovered",
            metrics::AdmissionRefusal::Recovering,
        ),
        Outcome::Failed => {
            Plain::error(Status::SERVICE_UNAVAILABLE, "the volume could not be opened")
        }
        Outcome::NoBuffer => no_buffer(),
        Outcome::Busy => {
            Plain::unavailable("too much is under way; try again", metrics::AdmissionRefusal::Queue)
        }
        Outcome::Read(..)
        | Outcome::Stored(..)
        | Outcome::Created(..)
        | Outcome::Possible(_)
        | Outcome::Deleted => {
            unreachable!("callers handle the outcomes of successful tasks")
        }
    }
}

async fn delete(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    object: Object,
) -> Result<Then, Plain> {
    let now_seconds = shard.now_seconds();
    let conditions = {
        let bytes = conn.head_bytes();
        upload::check_origin(head, bytes)?;
        WriteConditions::parse(head, bytes, now_seconds)?;
        Conditions::keep(head, bytes, now_seconds)
    };
    refuse_when_draining(shard)?;
    let Object { volume, id, cookie } = object;
    match shard.perform(volume, Task::Delete { id, cookie, conditions }).await {
        Outcome::Deleted => {
            let then = reply(shard, conn, head, Plain::success(Status::NO_CONTENT)).await;
            let (method, status) = (access_trace::Method::Delete, Status::NO_CONTENT);
            let began = conn.began();
            shard.trace(&Accessed { method, object, size: 0, status, is_range: false, began });
            Ok(then)
        }
        other => Err(failed(shard, other)),
    }
}

/// Refuses a write while the daemon shuts down.
///
/// # Errors
/// 503 while the shard drains.
pub fn refuse_when_draining(shard: &Shard) -> Result<(), Plain> {
    if shard.draining() {
        let refusal = metrics::AdmissionRefusal::Draining;
        return Err(Plain::unavailable("the daemon is shutting down", refusal));
    }
    Ok(())
}
