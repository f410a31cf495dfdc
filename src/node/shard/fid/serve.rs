//! Passes a request in the dialect of SeaweedFS to its handler.

use std::rc::Rc;

use super::fid_reply::{FidReply, Received, send};
use super::origin::parse_origin;
use super::read_options::ReadOptions;
use super::upload_request::{UploadRequest, object_name};
use super::{delete, download, pages, store};
use crate::http::conn::Conn;
use crate::http::fid::{FidPath, FidQuery};
use crate::http::head::{Head, Method};
use crate::http::reject::Reject;
use crate::http::status::Status;
use crate::http::target::Target;
use crate::node::shard::answered::Answered;
use crate::node::shard::audit::Audited;
use crate::node::shard::config::FidKeys;
use crate::node::shard::object_name::ObjectName;
use crate::node::shard::shard::Shard;

/// What a request asks for. It does not borrow the request head.
enum Asked {
    Read(ObjectName, ReadOptions),
    Store(Box<UploadRequest>),
    /// Whether another node sends it, and its origin version there.
    Delete(ObjectName, bool, Option<u64>),
    Reply(FidReply),
}

/// Answers a request. Also returns what has to be logged of it.
pub async fn answer(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    head: &Head,
) -> (Answered, Option<Audited>) {
    let bytes = conn.head_bytes();
    let is_read = matches!(head.method, Method::Get | Method::Head | Method::Options);
    let (asked, object) = match parse(shard, head, bytes) {
        Ok(found) => found,
        Err(reject) if is_read => (Asked::Reply(FidReply::empty(reject.status)), None),
        Err(reject) => (Asked::Reply(reject.into()), None),
    };
    let target = object.map(|ObjectName { volume, id, cookie }| Target::Object {
        volume,
        key: id.key.0,
        alt: id.alt.0,
        cookie: cookie.0,
    });
    let audited = shard.audited(conn, head.method, target).await;
    let result = match asked {
        Asked::Read(object, options) => download::read(shard, conn, head, object, &options).await,
        Asked::Store(request) => store::store(shard, conn, head, *request).await,
        Asked::Delete(object, is_replica, origin) => {
            delete::delete(shard, conn, head, object, (is_replica, origin)).await
        }
        Asked::Reply(reply) => Err(reply),
    };
    let answered = match result {
        Ok(answered) => answered,
        Err(reply) => {
            let answered = send(shard, conn, head, reply, Received::Head).await;
            match object {
                Some(object) => answered.with_object(object, 0, head.range.is_some()),
                None => answered,
            }
        }
    };
    (answered, audited)
}

/// What web pages of other sites may do.
const CORS: &[u8] = b"Access-Control-Allow-Origin: *\r\n\
    Access-Control-Allow-Methods: PUT, POST, GET, DELETE, OPTIONS\r\n\
    Access-Control-Allow-Headers: *\r\n";

fn parse(shard: &Shard, head: &Head, bytes: &[u8]) -> Result<(Asked, Option<ObjectName>), Reject> {
    if head.method == Method::Options {
        let reply = FidReply { more: CORS.to_vec(), ..FidReply::empty(Status::OK) };
        return Ok((Asked::Reply(reply), None));
    }
    let target = head.target.of(bytes);
    let path = FidPath::parse(target)?;
    let FidPath::Photo(fid) = path else {
        return match head.method {
            Method::Get | Method::Head => Ok((Asked::Reply(pages::page(shard, &path)), None)),
            _ => Err(Reject::bad("this page can only be read")),
        };
    };
    let query = FidQuery::parse(target)?;
    let FidKeys { read, write } = &shard.config.keys;
    let key = if matches!(head.method, Method::Get | Method::Head) { read } else { write };
    if let Some(key) = key {
        let checked = key.check(head, bytes, (&fid, &query), shard.now_seconds());
        checked.map_err(|_| Reject::new(Status::UNAUTHORIZED, "wrong jwt"))?;
    }
    let object = object_name(&fid);
    let asked = match head.method {
        Method::Get | Method::Head => Asked::Read(object, ReadOptions::of(head, bytes, &query)),
        Method::Delete => {
            let origin = match query.is_replica {
                true => parse_origin(head, bytes, shard.handle.wall())?,
                false => None,
            };
            Asked::Delete(object, query.is_replica, origin)
        }
        Method::Put | Method::Post | Method::Options => {
            let now = shard.now_seconds();
            Asked::Store(Box::new(UploadRequest::parse(head, bytes, &fid, &query, now)?))
        }
    };
    Ok((asked, Some(object)))
}
