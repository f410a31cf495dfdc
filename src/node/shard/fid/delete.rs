//! DELETE of a fid.

use std::rc::Rc;

use serde_json::json;

use super::fid_reply::{FidReply, Received, send};
use crate::http::conn::Conn;
use crate::http::head::Head;
use crate::http::status::Status;
use crate::node::shard::answered::Answered;
use crate::node::shard::copies::FanOut;
use crate::node::shard::exchange::{error_reply, refuse_when_draining};
use crate::node::shard::object_name::ObjectName;
use crate::node::shard::request::{DeleteFid, DeletedFid};
use crate::node::shard::shard::Shard;
use crate::runtime::join;

/// Answers a DELETE of a fid: `origin` is its origin version if another node sends it.
pub async fn delete(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    object: ObjectName,
    (is_replica, origin): (bool, Option<u64>),
) -> Result<Answered, FidReply> {
    refuse_when_draining(shard).map_err(FidReply::of_change)?;
    let ObjectName { volume, id, cookie } = object;
    let fan_out = match is_replica {
        true => None,
        false => FanOut::begin(shard, volume, id, None).await.map_err(FidReply::of_change)?,
    };
    let origin = fan_out.as_ref().map(|fan_out| fan_out.origin).or(origin);
    let local = shard.perform(volume, DeleteFid { id, cookie: Some(cookie), origin });
    let (deleted, copied) = match &fan_out {
        Some(fan_out) => join(local, fan_out.delete(shard, &object)).await,
        None => (local.await, Ok(())),
    };
    let deleted = deleted.map_err(|error| FidReply::of_change(error_reply(shard, error)))?;
    let size = match deleted {
        DeletedFid::Deleted(size) => Some(size),
        DeletedFid::Outdated => Some(0),
        DeletedFid::Absent => None,
        DeletedFid::OtherCookie => {
            return Err(FidReply::error(Status::BAD_REQUEST, "mismatching cookie"));
        }
    };
    copied.map_err(|error| FidReply::of_change(error.into()))?;
    let status = if size.is_some() { Status::ACCEPTED } else { Status::NOT_FOUND };
    let reply = FidReply::json(status, &json!({ "size": size.unwrap_or_default() }));
    Ok(send(shard, conn, head, reply, Received::Head).await.with_object(object, 0, false))
}
