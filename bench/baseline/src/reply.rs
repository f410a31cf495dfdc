//! Response head of an object, with the same fields as the daemon's, so that the client parses the same
//! amount.

use hayloft::http::date;
use hayloft::http::entity_tag::EntityTag;
use hayloft::http::reply::{DEFAULT_CONTENT_TYPE, ReplyHead};
use hayloft::http::status::Status;

/// Default `Cache-Control` of the daemon (see `hayloft config check`).
const CACHE_CONTROL: &[u8] = b"public, max-age=86400";

/// Head of a 200 response with `len` bytes of body; `etag` and `modified_seconds` (since 1970) are the
/// object's.
pub fn object_head(
    date: &[u8; date::LEN],
    len: u64,
    etag: u64,
    modified_seconds: u64,
) -> ReplyHead<'_> {
    ReplyHead {
        content_length: len,
        content_type: Some(DEFAULT_CONTENT_TYPE),
        etag: Some(EntityTag::Xxh3(etag)),
        last_modified: Some(modified_seconds),
        cache_control: Some(CACHE_CONTROL),
        volume_writable: Some(true),
        ..ReplyHead::new(Status::OK, date)
    }
}
