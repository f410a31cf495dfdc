//! DELETE of a fid.

use std::rc::Rc;

use serde_json::json;

use super::fid_reply::{FidReply, Received, send};
use super::store::refuse_to_copy;
use crate::http::conn::Conn;
use crate::http::head::Head;
use crate::http::status::Status;
use crate::node::shard::answered::Answered;
use crate::node::shard::exchange::{error_reply, refuse_when_draining};
use crate::node::shard::object_name::ObjectName;
use crate::node::shard::request::{DeleteFid, DeletedFid};
use crate::node::shard::shard::Shard;

/// Answers a DELETE of a fid.
pub async fn delete(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
    object: ObjectName,
    is_replica: bool,
) -> Result<Answered, FidReply> {
    refuse_when_draining(shard).map_err(FidReply::of_change)?;
    let ObjectName { volume, id, cookie } = object;
    refuse_to_copy(shard, volume, is_replica)?;
    let deleted = shard.perform(volume, DeleteFid { id, cookie: Some(cookie) }).await;
    let deleted = deleted.map_err(|error| FidReply::of_change(error_reply(shard, error)))?;
    let reply = match deleted {
        DeletedFid::Deleted(size) => FidReply::json(Status::ACCEPTED, &json!({ "size": size })),
        DeletedFid::Absent => FidReply::json(Status::NOT_FOUND, &json!({ "size": 0 })),
        DeletedFid::OtherCookie => FidReply::error(Status::BAD_REQUEST, "mismatching cookie"),
    };
    Ok(send(shard, conn, head, reply, Received::Head).await.with_object(object, 0, false))
}
