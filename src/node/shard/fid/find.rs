//! Finds the needle that a fid names.

use std::rc::Rc;

use crate::http::status::Status;
use crate::node::shard::download::NotAnswered;
use crate::node::shard::exchange::error_reply;
use crate::node::shard::object_name::ObjectName;
use crate::node::shard::request::{Dialect, FoundNeedle, ReadExtent, ReadNeedle};
use crate::node::shard::shard::Shard;
use crate::volume::Needle;

/// Reads a needle.
pub async fn find(
    shard: &Rc<Shard>,
    object: ObjectName,
    extent: ReadExtent,
) -> Result<Needle, NotAnswered> {
    let ObjectName { volume, id, cookie } = object;
    let read = ReadNeedle { id, cookie, extent, dialect: Dialect::Fid };
    match shard.perform(volume, read).await {
        Ok(FoundNeedle { needle, .. }) => Ok(needle),
        Err(error) => {
            let plain = error_reply(shard, error);
            let missing = plain.status == Status::NOT_FOUND && extent == ReadExtent::Whole;
            shard.metrics().gets_missing.add(u64::from(missing));
            Err(plain.into())
        }
    }
}
