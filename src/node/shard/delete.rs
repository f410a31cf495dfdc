//! DELETE of an object.

use std::rc::Rc;

use super::answered::Answered;
use super::exchange::{error_reply, refuse_when_draining, reply};
use super::object_name::ObjectName;
use super::plain_reply::PlainReply;
use super::request::DeleteNeedle;
use super::shard::Shard;
use crate::http::conditional::WriteConditions;
use crate::http::conn::Conn;
use crate::http::head::Head;
use crate::http::status::Status;
use crate::http::upload;

/// Answers a DELETE.
pub async fn delete(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    object: ObjectName,
) -> Result<Answered, PlainReply> {
    let conditions = {
        let bytes = conn.head_bytes();
        upload::check_origin(head, bytes)?;
        WriteConditions::parse(head, bytes, shard.now_seconds())?.non_empty()
    };
    refuse_when_draining(shard)?;
    let ObjectName { volume, id, cookie } = object;
    let deleted = shard.perform(volume, DeleteNeedle { id, cookie, conditions }).await;
    deleted.map_err(|error| error_reply(shard, error))?;
    let answered = reply(shard, conn, head, PlainReply::success(Status::NO_CONTENT)).await;
    Ok(answered.with_object(object, 0, false))
}
