//! The life of a connection: request after request, from the head to the reply.

use std::rc::Rc;

use super::Shard;
use super::answer::{self, Context, Plain, no_buffer};
use super::task::{Conditions, Outcome, Task, Want};
use crate::http::conditional::WriteConditions;
use crate::http::conn::{BodyError, Conn, Next};
use crate::http::head::{Head, Method, Version};
use crate::http::reply::{self, Connection, valid_content_type};
use crate::http::status::Status;
use crate::http::target::{self, Target};
use crate::metrics::{self, GetPhase, MethodGroup, TimeoutKind};
use crate::types::{Cookie, NeedleId};
use crate::volume::Draft;

/// How a connection goes on after a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// With the next request.
    Stay,
    /// Not at all; the peer knows.
    Close,
    /// Not at all; the peer may still be sending.
    Linger,
}

/// The object that a request names.
#[derive(Clone, Copy)]
struct Object {
    volume: u32,
    id: NeedleId,
    cookie: Cookie,
}

/// Serves a connection to its end.
pub async fn serve(shard: &Rc<Shard>, mut conn: Conn) {
    loop {
        let then = match conn.next_request().await {
            Next::Request(head) => answer(shard, &mut conn, &head).await,
            Next::Malformed(reject) => {
                shard.metrics().bad_requests.inc();
                let plain = Plain {
                    allow: (reject.status == Status::METHOD_NOT_ALLOWED)
                        .then(|| conn.refused_target().map_or(target::ALLOW_ANY, target::allow_of)),
                    ..reject.into()
                };
                refuse_and(shard, &mut conn, plain).await
            }
            Next::Late => {
                shard.metrics().timeouts.at(TimeoutKind::Head).inc();
                let late = "the request head took too long";
                refuse_and(shard, &mut conn, Plain::error(Status::REQUEST_TIMEOUT, late)).await
            }
            Next::Idle => {
                if !shard.draining() {
                    shard.metrics().timeouts.at(TimeoutKind::Idle).inc();
                }
                Then::Close
            }
            Next::Closed => Then::Close,
        };
        match then {
            Then::Stay => {}
            Then::Close => return conn.close().await,
            Then::Linger => return conn.linger().await,
        }
    }
}

/// Tells a client that there are too many connections.
pub async fn refuse(shard: &Rc<Shard>, mut conn: Conn) {
    let plain =
        Plain::unavailable("too many connections; try again", metrics::Refusal::Connections);
    refuse_and(shard, &mut conn, plain).await;
    conn.linger().await;
}

/// Answers something that is no request, after which the connection cannot go on.
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
    if let Some(refusal) = plain.refusal {
        shard.metrics().admission_refusals.at(refusal).inc();
    }
    let Some(mut buf) = conn.reply_buffer() else { return false };
    let len = plain.write(&mut buf, method, connection, &shard.date());
    let sent = conn.send(buf, 0, len).await;
    if !sent {
        shard.metrics().timeouts.at(TimeoutKind::Send).inc();
    }
    sent
}

/// What becomes of the connection after this request, if nothing goes wrong.
fn connection(shard: &Shard, head: &Head) -> Connection {
    match head.version {
        _ if !head.keep_alive || shard.draining() => Connection::Close,
        Version::Http10 => Connection::KeepAlive,
        Version::Http11 => Connection::Persistent,
    }
}

fn then(connection: Connection, sent: bool) -> Then {
    match connection {
        Connection::Close => Then::Linger,
        _ if sent => Then::Stay,
        _ => Then::Close,
    }
}

fn counted(method: Method) -> metrics::Method {
    match method {
        Method::Get => metrics::Method::Get,
        Method::Head => metrics::Method::Head,
        Method::Put => metrics::Method::Put,
        Method::Post => metrics::Method::Post,
        Method::Delete => metrics::Method::Delete,
    }
}

async fn answer(shard: &Rc<Shard>, conn: &mut Conn, head: &Head) -> Then {
    let method = counted(head.method);
    shard.metrics().requests.at(method).inc();
    let result = match object_of(conn, head) {
        Ok(object) => match head.method {
            Method::Get | Method::Head => read(shard, conn, head, object).await,
            Method::Put => put(shard, conn, head, object).await,
            _ => delete(shard, conn, head, object).await,
        },
        Err(plain) => Err(plain),
    };
    let then = match result {
        Ok(then) => then,
        Err(plain) => reply(shard, conn, head, plain).await,
    };
    let took = shard.handle.now().saturating_sub(conn.began());
    shard.metrics().request_latency.at(MethodGroup::from(method)).record(took);
    then
}

/// Sends a short reply. What the request still has to say is not waited for: the connection goes
/// on only when all of it has arrived already and nothing was malformed.
async fn reply(shard: &Rc<Shard>, conn: &mut Conn, head: &Head, plain: Plain) -> Then {
    let whole = conn.skip_buffered(head.content_length.unwrap_or(0));
    let malformed = plain.status == Status::BAD_REQUEST;
    if malformed {
        shard.metrics().bad_requests.inc();
    }
    let connection = if whole && !malformed { connection(shard, head) } else { Connection::Close };
    let sent = send_plain(shard, conn, head.method, &plain, connection).await;
    then(connection, sent)
}

/// Sends a short reply to a request whose body was taken.
async fn reply_after_body(shard: &Rc<Shard>, conn: &mut Conn, head: &Head, plain: Plain) -> Then {
    let connection = connection(shard, head);
    let sent = send_plain(shard, conn, head.method, &plain, connection).await;
    then(connection, sent)
}

fn object_of(conn: &Conn, head: &Head) -> Result<Object, Plain> {
    let target = target::parse(head.target.of(conn.head_bytes()))?;
    let Target::Object { volume, key, alt, cookie } = target else {
        let mut plain = Plain::error(
            Status::METHOD_NOT_ALLOWED,
            "this version stores photos by PUT of /{volume}/{key}/{alt}/{cookie} only",
        );
        plain.allow = Some("");
        return Err(plain);
    };
    if !target.allows(head.method) {
        let reason = "this method is not possible on a photo";
        let mut plain = Plain::error(Status::METHOD_NOT_ALLOWED, reason);
        plain.allow = Some(target.allow());
        return Err(plain);
    }
    Ok(Object { volume, id: NeedleId::new(key, alt), cookie: Cookie(cookie) })
}

fn failed(shard: &Shard, outcome: Outcome) -> Plain {
    match outcome {
        Outcome::NotRead(error) => error.into(),
        Outcome::Refused(refusal) => refusal.into(),
        Outcome::NoVolume if shard.config.disk_missing => Plain::error(
            Status::SERVICE_UNAVAILABLE,
            "no such volume here now; a data directory is missing",
        ),
        Outcome::NoVolume => Plain::error(Status::NOT_FOUND, "no such volume"),
        Outcome::Recovering => {
            Plain::unavailable("the volume is being recovered", metrics::Refusal::Recovering)
        }
        Outcome::Failed => {
            Plain::error(Status::SERVICE_UNAVAILABLE, "the volume could not be opened")
        }
        Outcome::NoBuffer => no_buffer(),
        Outcome::Busy => {
            Plain::unavailable("too much is under way; try again", metrics::Refusal::Queue)
        }
        Outcome::Read(..) | Outcome::Stored(..) | Outcome::Deleted => {
            unreachable!("a success is answered where it was asked for")
        }
    }
}

async fn read(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    object: Object,
) -> Result<Then, Plain> {
    let want = if head.method == Method::Get { Want::Whole } else { Want::Head };
    let Object { volume, id, cookie } = object;
    let began = shard.handle.now();
    let outcome = shard.perform(volume, Task::Read { id, cookie, want, buf: None }).await;
    let got = shard.handle.now();
    let metrics = shard.metrics();
    let (needle, writable) = match outcome {
        Outcome::Read(needle, writable) => (needle, writable),
        other => {
            let plain = failed(shard, other);
            let missing = plain.status == Status::NOT_FOUND && want == Want::Whole;
            metrics.gets_missing.add(u64::from(missing));
            return Err(plain);
        }
    };
    metrics.gets_found.add(u64::from(want == Want::Whole));
    let connection = connection(shard, head);
    let context = Context {
        head,
        head_bytes: conn.head_bytes(),
        date: &shard.date(),
        now_seconds: shard.now_seconds(),
        cache_control: &shard.config.cache_control,
        connection,
    };
    let ready = answer::object(needle, writable, &context)?;
    metrics.responses.record(ready.status.code());
    conn.skip_buffered(head.content_length.unwrap_or(0));
    let sent = conn.send(ready.buf, ready.start, ready.len).await;
    if want == Want::Whole {
        metrics.get_phase.at(GetPhase::Device).record(got - began);
        metrics.get_phase.at(GetPhase::Send).record(shard.handle.now() - got);
    }
    if sent {
        metrics.payload_bytes_out.add(ready.body_len as u64);
    } else {
        metrics.timeouts.at(TimeoutKind::Send).inc();
    }
    Ok(then(connection, sent))
}

async fn put(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    object: Object,
) -> Result<Then, Plain> {
    let len = head.content_length.unwrap_or(0);
    let now_seconds = shard.now_seconds();
    let (content_type, conditions) = {
        let bytes = conn.head_bytes();
        WriteConditions::parse(head, bytes, now_seconds)?;
        let content_type = head.content_type.map(|span| span.of(bytes));
        (content_type, Conditions::keep(head, bytes, now_seconds))
    };
    if content_type.is_some_and(|value| !valid_content_type(value)) {
        let reason = "the content type is not 1 to 255 visible characters";
        return Err(Plain::error(Status::BAD_REQUEST, reason));
    }
    if len > shard.config.body_max {
        let reason =
            "the photo is larger than this store takes (limits.largest_body, 1 MiB at most)";
        return Err(Plain::error(Status::CONTENT_TOO_LARGE, reason));
    }
    if shard.draining() {
        let refusal = metrics::Refusal::Draining;
        return Err(Plain::unavailable("the daemon is shutting down", refusal));
    }
    if !shard.knows(object.volume) {
        return Err(failed(shard, Outcome::NoVolume));
    }
    let draft = Draft::new(shard.handle.pool(), content_type, len).ok_or_else(no_buffer)?;
    let draft = match receive(shard, conn, head, draft).await {
        Ok(draft) => draft,
        Err(then) => return Ok(then),
    };
    shard.metrics().payload_bytes_in.add(len);
    let Object { volume, id, cookie } = object;
    let outcome = shard.perform(volume, Task::Put { id, cookie, draft, conditions }).await;
    let plain = match outcome {
        Outcome::Stored(stored, writable) => Plain {
            stored: Some((stored.etag, stored.modified_ns / 1_000_000_000)),
            writable: Some(writable),
            ..Plain::success(if stored.replaced { Status::NO_CONTENT } else { Status::CREATED })
        },
        other => failed(shard, other),
    };
    Ok(reply_after_body(shard, conn, head, plain).await)
}

/// Receives the body of a PUT into its place.
async fn receive(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    mut draft: Draft,
) -> Result<Draft, Then> {
    if head.expect_continue && conn.buffered() == 0 && draft.data_len() > 0 {
        let Some(mut buf) = shard.handle.pool().alloc(reply::CONTINUE.len()) else {
            return Err(reply(shard, conn, head, no_buffer()).await);
        };
        buf[..reply::CONTINUE.len()].copy_from_slice(reply::CONTINUE);
        if !conn.send(buf, 0, reply::CONTINUE.len()).await {
            return Err(Then::Close);
        }
    }
    let len = draft.data_len();
    let (buf, start) = draft.take();
    let (buf, result) = conn.read_body(buf, start, len).await;
    match result {
        Ok(()) => {
            draft.restore(buf);
            Ok(draft)
        }
        Err(BodyError::Closed) => Err(Then::Close),
        Err(BodyError::Late) => {
            drop(buf);
            shard.metrics().timeouts.at(TimeoutKind::Body).inc();
            let plain = Plain::error(Status::REQUEST_TIMEOUT, "the body came too slowly");
            Err(refuse_and(shard, conn, plain).await)
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
        WriteConditions::parse(head, bytes, now_seconds)?;
        Conditions::keep(head, bytes, now_seconds)
    };
    if shard.draining() {
        let refusal = metrics::Refusal::Draining;
        return Err(Plain::unavailable("the daemon is shutting down", refusal));
    }
    let Object { volume, id, cookie } = object;
    match shard.perform(volume, Task::Delete { id, cookie, conditions }).await {
        Outcome::Deleted => Ok(reply(shard, conn, head, Plain::success(Status::NO_CONTENT)).await),
        other => Err(failed(shard, other)),
    }
}
