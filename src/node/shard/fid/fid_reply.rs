//! Replies in the dialect of SeaweedFS. Its clients do not judge an upload by its status: an answer with a
//! body failed if it is JSON with an `error`. So the body of each refusal is such JSON; reads have empty
//! bodies.

use std::rc::Rc;

use serde_json::json;

use crate::base::limits::RETRY_AFTER_SECONDS;
use crate::http::conn::Conn;
use crate::http::entity_tag::EntityTag;
use crate::http::fid::to_json;
use crate::http::head::{Head, Method};
use crate::http::reject::Reject;
use crate::http::reply::{Connection, MAX_HEAD_LEN, ReplyHead};
use crate::http::status::Status;
use crate::node::metrics;
use crate::node::shard::answered::{Answered, NextStep};
use crate::node::shard::exchange::{check_sent, connection_option, count_reply, next_step_after};
use crate::node::shard::plain_reply::PlainReply;
use crate::node::shard::shard::Shard;

/// A short reply.
pub struct FidReply {
    /// Status.
    pub status: Status,
    /// JSON, or nothing.
    pub body: Vec<u8>,
    /// Entity tag.
    pub etag: Option<EntityTag>,
    /// Further header fields, whole lines.
    pub more: Vec<u8>,
    /// Length of the object (bytes), with 416.
    pub unsatisfied: Option<u64>,
    /// Kind of an admission refusal, for the counters.
    pub refusal: Option<metrics::AdmissionRefusal>,
}

impl FidReply {
    /// A reply without a body.
    pub fn empty(status: Status) -> Self {
        let (body, more) = (Vec::new(), Vec::new());
        Self { status, body, etag: None, more, unsatisfied: None, refusal: None }
    }

    /// A reply with this JSON.
    pub fn json(status: Status, value: &impl serde::Serialize) -> Self {
        Self { body: to_json(value), ..Self::empty(status) }
    }

    /// A refusal with this reason.
    pub fn error(status: Status, reason: &str) -> Self {
        Self::json(status, &json!({ "error": reason }))
    }

    /// The reply to a read that `plain` refuses: without a body.
    pub fn of_read(plain: PlainReply) -> Self {
        let PlainReply { status, refusal, unsatisfied, .. } = plain;
        Self { refusal, unsatisfied, ..Self::empty(status) }
    }

    /// The reply to a change that `plain` refuses. What a cluster has to ask of another node, and what a
    /// client has to be assigned another fid for, is 500 there.
    pub fn of_change(plain: PlainReply) -> Self {
        let status = match plain.status {
            Status::NOT_FOUND | Status::CONFLICT | Status::INSUFFICIENT_STORAGE => {
                Status::INTERNAL_SERVER_ERROR
            }
            Status::CONTENT_TOO_LARGE | Status::UNSUPPORTED_MEDIA_TYPE => Status::BAD_REQUEST,
            status => status,
        };
        let reason = match plain.status {
            Status::CONFLICT => "mismatching cookie: the key exists with another one",
            _ => &*plain.reason,
        };
        Self { refusal: plain.refusal, ..Self::error(status, reason) }
    }

    /// Writes the reply to the front of `out`, and returns its length (bytes).
    fn write(&self, out: &mut [u8], head: ReplyHead<'_>, method: Method) -> usize {
        let len = head.write(out);
        if method == Method::Head {
            return len;
        }
        out[len..len + self.body.len()].copy_from_slice(&self.body);
        len + self.body.len()
    }
}

impl From<Reject> for FidReply {
    fn from(reject: Reject) -> Self {
        Self::error(reject.status, reject.reason)
    }
}

/// How much of a request was received when it is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// All of it.
    Whole,
    /// Its head, and maybe more.
    Head,
}

/// Sends a reply. The connection stays open if the whole request was received, or has arrived already, and
/// nothing in it was malformed.
pub async fn send(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    reply: FidReply,
    received: Received,
) -> Answered {
    let is_whole = received == Received::Whole || conn.skip_buffered(head.body_len());
    let is_malformed = reply.status == Status::BAD_REQUEST;
    if is_malformed {
        shard.metrics().bad_requests.inc();
    }
    let keeps = is_whole && (received == Received::Whole || !is_malformed);
    let connection = if keeps { connection_option(shard, head) } else { Connection::Close };
    let status = reply.status;
    count_reply(shard, status);
    if let Some(refusal) = reply.refusal {
        shard.metrics().admission_refusals.at(refusal).inc();
    }
    let date = shard.date();
    let has_body = !reply.body.is_empty();
    let reply_head = ReplyHead {
        content_length: reply.body.len() as u64,
        content_type: has_body.then_some(b"application/json"),
        etag: reply.etag,
        content_range: reply
            .unsatisfied
            .map(|size| crate::http::reply::ContentRange::Unsatisfied { size }),
        retry_after: (status == Status::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_SECONDS),
        more: &reply.more,
        connection,
        ..ReplyHead::new(status, &date)
    };
    let len = MAX_HEAD_LEN + reply.more.len() + reply.body.len();
    let buf = match conn.reply_buffer(connection == Connection::Close) {
        Some(buf) if buf.len() >= len => Some(buf),
        _ => shard.admission.wait_for_buffer(0, |_| shard.admission.buffer(len)).await,
    };
    let Some(mut buf) = buf else { return Answered::new(status, NextStep::Close) };
    let len = reply.write(&mut buf, reply_head, head.method);
    let sent = check_sent(shard, conn.send(buf, 0, len).await);
    Answered::new(status, next_step_after(connection, sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_as_go_does() {
        let reply = FidReply::error(Status::BAD_REQUEST, "a & b <c> \"d\"");
        assert_eq!(reply.body, br#"{"error":"a \u0026 b \u003cc\u003e \"d\""}"#);
    }

    #[test]
    fn refusals_of_changes_get_the_statuses_that_clients_expect() {
        for (status, expected) in [
            (Status::NOT_FOUND, 500),
            (Status::CONFLICT, 500),
            (Status::INSUFFICIENT_STORAGE, 500),
            (Status::CONTENT_TOO_LARGE, 400),
            (Status::BAD_REQUEST, 400),
            (Status::SERVICE_UNAVAILABLE, 503),
        ] {
            let reply = FidReply::of_change(PlainReply::error(status, "why"));
            assert_eq!(reply.status.code(), expected);
            assert!(reply.body.starts_with(b"{\"error\":\""), "{status:?}");
        }
        let read = FidReply::of_read(PlainReply::error(Status::NOT_FOUND, "why"));
        assert_eq!((read.status, read.body.len()), (Status::NOT_FOUND, 0));
    }
}
