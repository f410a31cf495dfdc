//! What a request to store photos asks for.

use super::plain_reply::PlainReply;
use super::shard::Shard;
use crate::http::attributes;
use crate::http::conditional::WriteConditions;
use crate::http::conn::Conn;
use crate::http::digest::Verifier;
use crate::http::head::Head;
use crate::http::modified;
use crate::http::reply::valid_content_type;
use crate::http::status::Status;
use crate::http::upload;
use crate::volume::ClusterAttributes;

/// Parameters of an upload, from the head of its request.
pub struct UploadParameters {
    /// Length of the body (bytes).
    pub len: u64,
    /// `Content-Type`.
    pub content_type: Option<Box<[u8]>>,
    /// `X-Hayloft-Modified` (nanoseconds since 1970).
    pub modified_ns: Option<u64>,
    /// `X-Hayloft-Expires` (nanoseconds since 1970).
    pub expires_ns: Option<u64>,
    /// `X-Hayloft-Attributes`: what a cluster stores with a photo, as a needle has it.
    pub attributes: Box<[u8]>,
    /// Preconditions.
    pub conditions: Option<WriteConditions>,
    /// Verifier of the digests that the request states.
    pub verifier: Option<Box<Verifier>>,
}

impl UploadParameters {
    /// Parses and checks the parameters. The bytes of the head are not needed afterwards.
    ///
    /// # Errors
    /// 400, 403 or 415.
    pub fn of(shard: &Shard, conn: &Conn, head: &Head) -> Result<Self, PlainReply> {
        let (bytes, now) = (conn.head_bytes(), shard.now_seconds());
        let digests = upload::expected_body(head, bytes)?;
        let conditions = WriteConditions::parse(head, bytes, now)?.non_empty();
        let content_type = head.content_type.map(|span| span.of(bytes));
        if content_type.is_some_and(|value| !valid_content_type(value)) {
            let reason = "the content type is not 1 to 255 visible characters";
            return Err(PlainReply::error(Status::BAD_REQUEST, reason));
        }
        let modified = head.x_hayloft_modified.map(|span| modified::parse(span.of(bytes)));
        if modified == Some(None) {
            let reason =
                "X-Hayloft-Modified is not SECONDS[.FRACTION] since 1970, with up to 9 decimals";
            return Err(PlainReply::error(Status::BAD_REQUEST, reason));
        }
        let expires_ns = expires_ns(head, bytes, shard.handle.wall())?;
        let attributes = match head.x_hayloft_attributes.map(|span| span.of(bytes)) {
            None => Vec::new(),
            Some(text) => attributes::decode(text).ok_or_else(bad_attributes)?,
        };
        cluster_attributes(&attributes).ok_or_else(bad_attributes)?;
        Ok(Self {
            len: head.content_length.unwrap_or(0),
            content_type: content_type.map(Into::into),
            modified_ns: modified.flatten(),
            expires_ns,
            attributes: attributes.into(),
            conditions,
            verifier: digests.verifier().map(Box::new),
        })
    }
}

/// Returns what a cluster stores with a photo; `None` if no needle has such attributes.
pub fn cluster_attributes(bytes: &[u8]) -> Option<ClusterAttributes<'_>> {
    ClusterAttributes::decode(bytes).filter(|attributes| attributes.check().is_ok())
}

fn bad_attributes() -> PlainReply {
    let reason = "X-Hayloft-Attributes is not what hayloft import sends for a photo of a cluster";
    PlainReply::error(Status::BAD_REQUEST, reason)
}

/// Returns the time at which the photo expires (nanoseconds since 1970), which must be after `now`.
///
/// # Errors
/// 400.
fn expires_ns(head: &Head, bytes: &[u8], now: u64) -> Result<Option<u64>, PlainReply> {
    head.x_hayloft_expires.map(|span| parse_expiry(span.of(bytes), now)).transpose()
}

/// Parses a time at which a photo expires (nanoseconds since 1970), which must be after `now`.
///
/// # Errors
/// 400.
pub fn parse_expiry(value: &[u8], now: u64) -> Result<u64, PlainReply> {
    let reason = match modified::parse(value) {
        None => "X-Hayloft-Expires is not SECONDS[.FRACTION] since 1970, with up to 9 decimals",
        Some(expires_ns) if expires_ns <= now => {
            "X-Hayloft-Expires is in the past: nobody could read the photo"
        }
        Some(expires_ns) => return Ok(expires_ns),
    };
    Err(PlainReply::error(Status::BAD_REQUEST, reason))
}
