//! POST of an object: changes when it expires.

use std::rc::Rc;

use super::answered::Answered;
use super::exchange::{error_reply, refuse_when_draining, reply};
use super::object_name::ObjectName;
use super::plain_reply::PlainReply;
use super::request::SetExpiry;
use super::shard::Shard;
use super::upload_parameters::parse_expiry;
use crate::http::conditional::WriteConditions;
use crate::http::conn::Conn;
use crate::http::head::Head;
use crate::http::status::Status;
use crate::http::upload;

/// Value of `X-Hayloft-Expires` with which a photo does not expire any more.
const NEVER: &[u8] = b"never";

/// Answers a POST of an object, which has no body.
pub async fn set_expiry(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    object: ObjectName,
) -> Result<Answered, PlainReply> {
    let (conditions, expires_ns) = {
        let bytes = conn.head_bytes();
        upload::check_origin(head, bytes)?;
        let bad = |reason| PlainReply::error(Status::BAD_REQUEST, reason);
        if head.content_length.unwrap_or(0) > 0 {
            let reason = "POST of a photo changes when it expires, and has no body; store a photo with \
                          PUT, or with POST / under a new name";
            return Err(bad(reason));
        }
        let Some(span) = head.x_hayloft_expires else {
            return Err(bad(
                "POST of a photo changes when it expires: send X-Hayloft-Expires with a time or never",
            ));
        };
        let expires_ns = match span.of(bytes) {
            NEVER => None,
            value => Some(parse_expiry(value, shard.handle.wall())?),
        };
        let conditions = WriteConditions::parse(head, bytes, shard.now_seconds())?.non_empty();
        (conditions, expires_ns)
    };
    refuse_when_draining(shard)?;
    let ObjectName { volume, id, cookie } = object;
    let request = SetExpiry { id, cookie, expires_ns, conditions };
    let changed = shard.perform(volume, request).await;
    changed.map_err(|error| error_reply(shard, error))?;
    let answered = reply(shard, conn, head, PlainReply::success(Status::NO_CONTENT)).await;
    Ok(answered.with_object(object, 0, false))
}
