//! Stores an uploaded file that is one needle.

use std::rc::Rc;

use super::file_head::FileHead;
use super::not_stored::NotStored;
use super::stored_file::StoredFile;
use super::upload_request::UploadRequest;
use crate::http::conditional::WriteConditions;
use crate::node::shard::exchange::error_reply;
use crate::node::shard::request::{Dialect, PutNeedle, RequestError};
use crate::node::shard::shard::Shard;
use crate::volume::{Draft, Refusal};

/// Stores a file that was received as one needle.
pub async fn put(
    shard: &Rc<Shard>,
    request: &UploadRequest,
    file: &FileHead,
    draft: Draft,
    plain_len: u64,
) -> Result<StoredFile, NotStored> {
    let (id, cookie) = (request.object.id, request.object.cookie);
    let len = draft.data_len() as u64;
    let crc32c = draft.crc32c();
    // Photos that live for a time begin to do so anew.
    let conditions = request.ttl.is_none().then(|| WriteConditions::unless_same(draft.etag()));
    let draft = draft.modified(Some(request.modified_ns));
    let put = PutNeedle { id, cookie, draft, conditions, dialect: Dialect::Fid };
    let is_unchanged = match shard.perform(request.object.volume, put).await {
        Ok(_) => false,
        Err(RequestError::Refused(Refusal::Precondition)) => true,
        Err(error) => return Err(error_reply(shard, error).into()),
    };
    Ok(StoredFile { head: file.clone(), plain_len, len, crc32c, is_unchanged })
}
