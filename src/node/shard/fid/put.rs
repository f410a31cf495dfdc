//! Stores an uploaded file that is one needle, and sends it to the nodes with copies meanwhile.

use std::rc::Rc;

use super::attributes::copied_file;
use super::file_head::FileHead;
use super::not_stored::NotStored;
use super::stored_file::StoredFile;
use super::upload_request::UploadRequest;
use crate::http::conditional::WriteConditions;
use crate::node::shard::exchange::error_reply;
use crate::node::shard::plain_reply::PlainReply;
use crate::node::shard::request::{Dialect, PutNeedle, RequestError};
use crate::node::shard::shard::Shard;
use crate::runtime::join;
use crate::volume::{Draft, Refusal};

/// Stores a file that was received as one needle, here and on the nodes with copies.
pub async fn put(
    shard: &Rc<Shard>,
    request: &UploadRequest,
    file: &FileHead,
    mut draft: Draft,
    plain_len: u64,
) -> Result<StoredFile, NotStored> {
    let (id, cookie) = (request.object.id, request.object.cookie);
    let len = draft.data_len() as u64;
    let crc32c = draft.crc32c();
    // Photos that live for a time begin to do so anew.
    let conditions = request.ttl.is_none().then(|| WriteConditions::unless_same(draft.etag()));
    let lent = request.fan_out.as_ref().map(|fan_out| (fan_out, draft.lend()));
    let draft = dated(draft, request);
    let put = PutNeedle { id, cookie, draft, conditions, dialect: Dialect::Fid };
    let local = shard.perform(request.object.volume, put);
    let (stored, copied) = match &lent {
        Some((fan_out, data)) => {
            let copied = copied_file(request, file);
            join(local, fan_out.upload(shard, &copied, data)).await
        }
        None => (local.await, Ok(())),
    };
    let is_unchanged = match stored {
        Ok(_) => false,
        Err(RequestError::Refused(Refusal::Precondition)) => true,
        Err(error) => return Err(error_reply(shard, error).into()),
    };
    copied.map_err(PlainReply::from)?;
    Ok(StoredFile { head: file.clone(), plain_len, len, crc32c, is_unchanged })
}

/// The draft with its time of modification. That of another node counts as it is.
pub fn dated(draft: Draft, request: &UploadRequest) -> Draft {
    match request.is_replica {
        true => draft.modified_elsewhere(request.modified_ns),
        false => draft.modified(Some(request.modified_ns)),
    }
}
