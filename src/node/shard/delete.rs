//! DELETE of an object.

use std::rc::Rc;

use super::answered::Answered;
use super::copies::FanOut;
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
    if FanOut::others(shard, volume) > 0 {
        // Boxed: this path is rare and its state is large.
        Box::pin(delete_everywhere(shard, object, conditions)).await?;
    } else {
        let deleted = DeleteNeedle { id, cookie, origin: None, conditions };
        shard.perform(volume, deleted).await.map_err(|error| error_reply(shard, error))?;
    }
    let answered = reply(shard, conn, head, PlainReply::success(Status::NO_CONTENT)).await;
    Ok(answered.with_object(object, 0, false))
}

/// Deletes an object here, and then on the other nodes that have a copy of it: those decide nothing.
async fn delete_everywhere(
    shard: &Shard,
    object: ObjectName,
    conditions: Option<WriteConditions>,
) -> Result<(), PlainReply> {
    let ObjectName { volume, id, cookie } = object;
    let fan_out = FanOut::begin(shard, volume, id, None).await?;
    let origin = fan_out.as_ref().map(|fan_out| fan_out.origin);
    let deleted = shard.perform(volume, DeleteNeedle { id, cookie, origin, conditions }).await;
    deleted.map_err(|error| error_reply(shard, error))?;
    match fan_out {
        Some(fan_out) => Ok(fan_out.delete(shard, &object).await?),
        None => Ok(()),
    }
}
