//! Serves a connection: its requests one after the other, from the head to the reply.

use std::num::NonZeroU64;
use std::pin::Pin;
use std::rc::Rc;

use super::answered::{Answered, NextStep};
use super::audit::Audited;
use super::exchange::{reject_and_close, reply};
use super::message::Arrival;
use super::object_name::ObjectName;
use super::plain_reply::PlainReply;
use super::shard::Shard;
use super::slots::Slot;
use super::store::Destination;
use super::token_rule::refuse_without_token;
use super::{batch, delete, download, fid, multi_delete, set_expiry, store};
use crate::base::types::{Cookie, NeedleId};
use crate::http::conn::{Conn, Next};
use crate::http::head::{Head, Method};
use crate::http::status::Status;
use crate::http::target::{self, Target};
use crate::http::upload;
use crate::node::metrics::{self, MethodGroup, TimeoutKind};

/// Serves a connection to its end, and then returns its slot. `moved` is the request with which it was moved
/// here from another shard.
pub async fn serve(shard: &Rc<Shard>, mut conn: Conn, moved: Option<Head>, slot: Slot) {
    let mut next_step = match moved {
        Some(head) => serve_request(shard, &mut conn, &head).await,
        None => NextStep::Stay,
    };
    loop {
        next_step = match next_step {
            NextStep::Stay => serve_next_request(shard, &mut conn).await,
            NextStep::Move(to) => {
                return shard.hand_over(to, Arrival::Moved(Box::new(conn.detach()), slot));
            }
            NextStep::Close => return conn.close().await,
            NextStep::Linger => return conn.linger().await,
        }
    }
}

/// Waits for the next request and answers it.
async fn serve_next_request(shard: &Rc<Shard>, conn: &mut Conn) -> NextStep {
    match conn.next_request().await {
        Next::Request(head) => {
            shard.metrics().requests.at(metrics_method(head.method)).inc();
            serve_request(shard, conn, &head).await
        }
        Next::Malformed(reject) => {
            shard.metrics().bad_requests.inc();
            let audited = shard.audited_malformed(conn).await;
            let plain = PlainReply {
                allow: (reject.status == Status::METHOD_NOT_ALLOWED)
                    .then(|| conn.refused_target().map_or(target::ALLOW_ANY, target::allow_of)),
                ..reject.into()
            };
            let answered = reject_and_close(shard, conn, plain).await;
            if let Some(audited) = audited {
                audited.log(answered.status);
            }
            answered.next_step
        }
        Next::Late => {
            shard.metrics().timeouts.at(TimeoutKind::Head).inc();
            let late = "the request head took too long";
            reject_and_close(shard, conn, PlainReply::error(Status::REQUEST_TIMEOUT, late))
                .await
                .next_step
        }
        Next::Idle => {
            if !shard.draining() {
                shard.metrics().timeouts.at(TimeoutKind::Idle).inc();
            }
            NextStep::Close
        }
        Next::Closed => NextStep::Close,
    }
}

/// Refuses a connection with 503 because there are too many.
pub async fn refuse(shard: &Rc<Shard>, mut conn: Conn) {
    let plain = PlainReply::unavailable(
        "too many connections; try again",
        metrics::AdmissionRefusal::Connections,
    );
    reject_and_close(shard, &mut conn, plain).await;
    conn.linger().await;
}

/// Converts a method to that of the metrics.
fn metrics_method(method: Method) -> metrics::MethodLabel {
    match method {
        Method::Get => metrics::MethodLabel::Get,
        Method::Head => metrics::MethodLabel::Head,
        Method::Put => metrics::MethodLabel::Put,
        Method::Post => metrics::MethodLabel::Post,
        Method::Delete => metrics::MethodLabel::Delete,
        Method::Options => metrics::MethodLabel::Other,
    }
}

/// Answers a request and records it: in the access trace, the audit log and the latency metric.
async fn serve_request(shard: &Rc<Shard>, conn: &mut Conn, head: &Head) -> NextStep {
    let (answered, audited) = if head.is_fid {
        // Boxed: its future is large, and only a node of a cluster has any.
        Box::pin(fid::answer(shard, conn, head)).await
    } else {
        answer(shard, conn, head).await
    };
    // The shard that a connection moves to answers the request and records it.
    if !matches!(answered.next_step, NextStep::Move(_)) {
        shard.trace(head, conn.began(), &answered);
        if let Some(audited) = audited {
            audited.log_answered(&answered);
        }
        let took = shard.handle.now().saturating_sub(conn.began());
        let group = MethodGroup::from(metrics_method(head.method));
        shard.metrics().request_latency.at(group).record(took);
    }
    answered.next_step
}

/// Answers a request to one of Hayloft's own targets. Also returns what has to be logged of it.
async fn answer(shard: &Rc<Shard>, conn: &mut Conn, head: &Head) -> (Answered, Option<Audited>) {
    let target = target::parse(head.target.of(conn.head_bytes()));
    let named = match target {
        Ok(Target::Object { volume, key, alt, cookie }) => {
            Some(ObjectName { volume, id: NeedleId::new(key, alt), cookie: Cookie(cookie) })
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
            let mut plain = PlainReply::error(Status::METHOD_NOT_ALLOWED, reason);
            plain.allow = Some(target.allow());
            if target == Target::Root {
                plain.instance = NonZeroU64::new(shard.shared.metrics.node.instance);
            }
            Err(plain)
        }
        Ok(target) => match refuse_without_token(shard, head.method, target) {
            Ok(()) => dispatch(shard, conn, head, target).await,
            Err(plain) => Err(plain),
        },
    };
    let answered = match result {
        Ok(answered) => answered,
        Err(plain) => {
            let answered = reply(shard, conn, head, plain).await;
            match named {
                Some(object) => answered.with_object(object, 0, head.range.is_some()),
                None => answered,
            }
        }
    };
    (answered, audited)
}

/// Stores an object.
fn store<'a>(
    shard: &'a Rc<Shard>,
    conn: &'a mut Conn,
    head: &'a Head,
    destination: Destination,
) -> Pin<Box<impl Future<Output = Result<Answered, PlainReply>> + use<'a>>> {
    Box::pin(store::store(shard, conn, head, destination))
}

/// Passes a request to the handler of its target and method. Handlers that change something are boxed: their
/// futures are large, and each connection has room for the largest that is not, also an idle one.
async fn dispatch(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    target: Target,
) -> Result<Answered, PlainReply> {
    match target {
        Target::Object { volume, key, alt, cookie } => {
            let object = ObjectName { volume, id: NeedleId::new(key, alt), cookie: Cookie(cookie) };
            match head.method {
                Method::Get | Method::Head => download::read(shard, conn, head, object).await,
                Method::Delete => delete::delete(shard, conn, head, object).await,
                Method::Put => store(shard, conn, head, Destination::Object(object)).await,
                Method::Post => Box::pin(set_expiry::set_expiry(shard, conn, head, object)).await,
                Method::Options => unreachable!("the parser knows it with fids only"),
            }
        }
        Target::Volume { volume } => store(shard, conn, head, Destination::Volume(volume)).await,
        Target::Root => store(shard, conn, head, Destination::Any).await,
        Target::Batch { volume } => Box::pin(batch::store(shard, conn, head, volume)).await,
        Target::MultiDelete { volume } => {
            Box::pin(multi_delete::delete(shard, conn, head, volume)).await
        }
    }
}
