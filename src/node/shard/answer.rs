//! Replies made of task outcomes: status, head, and a body that is already in its buffer.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::ops::Range;

use serde::Serialize;

use crate::base::limits::RETRY_AFTER_SECONDS;
use crate::base::types::{Cookie, NeedleId};
use crate::http::conditional::{self, ReadOutcome, Validators};
use crate::http::date;
use crate::http::head::{Head, Method};
use crate::http::range::{self, RangeResult};
use crate::http::reject::Reject;
use crate::http::reply::{
    Connection, ContentRange, DEFAULT_CONTENT_TYPE, MAX_HEAD_LEN, ReplyHead, valid_content_type,
    write_error_body,
};
use crate::http::status::Status;
use crate::http::target::{OBJECT_PATH_MAX, write_object};
use crate::http::upload;
use crate::node::metrics;
use crate::runtime::buffer::Buf;
use crate::volume::{GetError, Needle, Refusal, Stored};

/// A short reply: an error with a one-line text body, or a success without a body.
#[derive(Clone, Debug)]
pub struct Plain {
    /// Status.
    pub status: Status,
    /// Body of an error; empty with a success.
    pub reason: Cow<'static, str>,
    /// `Allow`, with 405.
    pub allow: Option<&'static str>,
    /// Whether to send `Accept-Encoding: identity`, with 415 for a content coding.
    pub accept_identity: bool,
    /// Instance number of the daemon, which differs after each start.
    pub instance: Option<NonZeroU64>,
    /// Entity tag and modification time (seconds since 1970) of the stored object.
    pub stored: Option<(u64, u64)>,
    /// Whether the volume takes writes.
    pub writable: Option<bool>,
    /// Size of the object (bytes), with 416.
    pub unsatisfied: Option<u64>,
    /// Kind of an admission refusal, for the counters.
    pub refusal: Option<metrics::AdmissionRefusal>,
}

impl Plain {
    /// Creates an error reply.
    pub const fn error(status: Status, reason: &'static str) -> Self {
        Self {
            status,
            reason: Cow::Borrowed(reason),
            allow: None,
            accept_identity: false,
            instance: None,
            stored: None,
            writable: None,
            unsatisfied: None,
            refusal: None,
        }
    }

    /// Creates a success without a body.
    pub const fn success(status: Status) -> Self {
        Self::error(status, "")
    }

    /// Creates a 503 reply that is counted as `refusal`.
    pub const fn unavailable(reason: &'static str, refusal: metrics::AdmissionRefusal) -> Self {
        let mut plain = Self::error(Status::SERVICE_UNAVAILABLE, reason);
        plain.refusal = Some(refusal);
        plain
    }

    /// Writes the whole reply to the front of `out` and returns its length (bytes). For HEAD only the head
    /// is written.
    pub fn write(
        &self,
        out: &mut [u8],
        method: Method,
        connection: Connection,
        date: &[u8; date::LEN],
    ) -> usize {
        let mut head = match &*self.reason {
            "" => ReplyHead::new(self.status, date),
            reason => ReplyHead::error(self.status, reason, date),
        };
        head.connection = connection;
        head.allow = self.allow;
        head.accept_identity = self.accept_identity;
        head.instance = self.instance.map(NonZeroU64::get);
        head.volume_writable = self.writable;
        head.content_range = self.unsatisfied.map(|size| ContentRange::Unsatisfied { size });
        if self.status == Status::SERVICE_UNAVAILABLE {
            head.retry_after = Some(RETRY_AFTER_SECONDS);
        }
        if let Some((etag, modified_seconds)) = self.stored {
            head.etag = Some(etag);
            head.last_modified = Some(modified_seconds);
        }
        let len = head.write(out);
        if self.reason.is_empty() || method == Method::Head {
            return len;
        }
        len + write_error_body(&self.reason, &mut out[len..])
    }
}

impl From<Reject> for Plain {
    fn from(reject: Reject) -> Self {
        let mut plain = Self::error(reject.status, reject.reason);
        plain.accept_identity = reject == upload::CODED;
        plain
    }
}

impl From<GetError> for Plain {
    fn from(error: GetError) -> Self {
        match error {
            GetError::NotFound => Self::error(Status::NOT_FOUND, "no such photo"),
            GetError::Unreadable(..) => {
                Self::error(Status::INTERNAL_SERVER_ERROR, "the photo is damaged on disk")
            }
            GetError::NeedBuffer(_) => no_buffer(),
        }
    }
}

/// The 503 reply when no buffer is free.
pub const fn no_buffer() -> Plain {
    Plain::unavailable("no buffer is free; try again", metrics::AdmissionRefusal::Buffers)
}

impl From<Refusal> for Plain {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict => {
                Self::error(Status::CONFLICT, "the photo exists with another cookie")
            }
            Refusal::Precondition => {
                Self::error(Status::PRECONDITION_FAILED, "a precondition does not hold")
            }
            Refusal::NotFound => Self::error(Status::NOT_FOUND, "no such photo"),
            Refusal::Unreadable(_) => {
                Self::error(Status::INTERNAL_SERVER_ERROR, "the photo is damaged on disk")
            }
            Refusal::Full => Self::error(Status::INSUFFICIENT_STORAGE, "the volume is full"),
            Refusal::ReadOnly => {
                Self::unavailable("the volume is read-only", metrics::AdmissionRefusal::ReadOnly)
            }
            Refusal::Poisoned => Self::unavailable(
                "the volume takes no writes until the daemon is restarted: one failed, or its file was \
                 lost",
                metrics::AdmissionRefusal::ReadOnly,
            ),
            Refusal::Closing => Self::unavailable(
                "the daemon is shutting down",
                metrics::AdmissionRefusal::Draining,
            ),
            Refusal::NoBuffer => no_buffer(),
            Refusal::Failed(_) => Self::error(
                Status::INTERNAL_SERVER_ERROR,
                "the write failed; whether the change took effect is not known",
            ),
        }
    }
}

/// A reply ready to be sent: bytes `start..start + len` of `buf`.
pub struct Ready {
    /// Buffer with head and body.
    pub buf: Buf,
    /// Offset of the head in `buf`.
    pub start: usize,
    /// Length of head and body (bytes).
    pub len: usize,
    /// Status.
    pub status: Status,
    /// Length of the body (bytes).
    pub body_len: usize,
}

/// Input of a reply besides the needle.
pub struct Context<'a> {
    /// Head of the request.
    pub head: &'a Head,
    /// Bytes that the spans of `head` refer to.
    pub head_bytes: &'a [u8],
    /// `Date`.
    pub date: &'a [u8; date::LEN],
    /// Seconds since 1970.
    pub now_seconds: u64,
    /// `Cache-Control`.
    pub cache_control: &'a str,
    /// Whether the connection stays open after the reply.
    pub connection: Connection,
}

/// Result of evaluating preconditions and range of a read: a status and the selected part of the object.
#[derive(Clone, Copy)]
pub struct Decided {
    /// 200, 206 or 304.
    pub status: Status,
    /// First and last byte of a partial reply.
    part: Option<(u64, u64)>,
    /// Size of the object (bytes).
    size: u64,
    /// Whether the reply has a body.
    pub has_body: bool,
}

impl Decided {
    /// Byte range of the object that the reply describes.
    pub fn range(&self) -> Range<u64> {
        self.part.map_or(0..self.size, |(first, last)| first..last + 1)
    }
}

/// Evaluates the preconditions and the range of a GET or HEAD (RFC 9110, sections 13 and 14).
///
/// # Errors
/// A reply without the object: 412 or 416.
pub fn decide(needle: &Needle, context: &Context<'_>) -> Result<Decided, Plain> {
    let Context { head, head_bytes, now_seconds, .. } = *context;
    let modified_seconds = needle.modified_ns / 1_000_000_000;
    let validators = Validators { etag: needle.etag, modified_seconds };
    let size = needle.body_len;
    let (mut status, mut part) = (Status::OK, None);
    match conditional::read(head, head_bytes, validators, now_seconds) {
        ReadOutcome::Failed => return Err(Refusal::Precondition.into()),
        ReadOutcome::NotModified => status = Status::NOT_MODIFIED,
        ReadOutcome::Proceed => {
            let wanted = conditional::applicable_range(head, head_bytes, validators, now_seconds);
            match wanted.map(|value| range::parse(value, size)) {
                Some(RangeResult::Satisfiable { first, last }) => {
                    status = Status::PARTIAL_CONTENT;
                    part = Some((first, last));
                }
                Some(RangeResult::Unsatisfiable) => {
                    let reason = "the range begins behind the end of the photo";
                    let mut plain = Plain::error(Status::RANGE_NOT_SATISFIABLE, reason);
                    plain.unsatisfied = Some(size);
                    return Err(plain);
                }
                Some(RangeResult::Ignore) | None => {}
            }
        }
    }
    let has_body = head.method == Method::Get && status != Status::NOT_MODIFIED;
    Ok(Decided { status, part, size, has_body })
}

/// Head of a reply with an object, in its own memory.
pub struct ObjectHead {
    bytes: [u8; MAX_HEAD_LEN],
    len: usize,
}

impl ObjectHead {
    /// Writes the head of the reply with `needle`.
    pub fn new(needle: &Needle, writable: bool, decided: &Decided, context: &Context<'_>) -> Self {
        let there = decided.status != Status::NOT_MODIFIED;
        let content_type = needle.content_type().filter(|value| valid_content_type(value));
        let content_type = content_type.unwrap_or(DEFAULT_CONTENT_TYPE);
        let range = decided.range();
        let reply = ReplyHead {
            content_length: range.end - range.start,
            content_type: there.then_some(content_type),
            etag: Some(needle.etag),
            last_modified: Some(needle.modified_ns / 1_000_000_000),
            accept_ranges: there,
            // With 304 too: a response that a cache stored without this field is updated with it (RFC 9111
            // section 3.2).
            nosniff: true,
            cache_control: Some(context.cache_control.as_bytes()),
            content_range: decided.part.map(|(first, last)| ContentRange::Part {
                first,
                last,
                size: decided.size,
            }),
            volume_writable: Some(writable),
            connection: context.connection,
            ..ReplyHead::new(decided.status, context.date)
        };
        let mut bytes = [0; MAX_HEAD_LEN];
        let len = reply.write(&mut bytes);
        Self { bytes, len }
    }

    /// Copies the head right in front of `buf[end]` and returns the offset at which it begins.
    pub fn put_before(&self, buf: &mut [u8], end: usize) -> usize {
        let start = end - self.len;
        buf[start..end].copy_from_slice(&self.bytes[..self.len]);
        start
    }
}

/// Turns a needle into the reply to GET or HEAD. The head is written right in front of the body, over the
/// needle's own header, so that one send carries both.
pub fn object(needle: Needle, writable: bool, decided: &Decided, context: &Context<'_>) -> Ready {
    let head = ObjectHead::new(&needle, writable, decided, context);
    let range = decided.range();
    let to_usize = |at: u64| usize::try_from(at).expect("an offset inside a needle");
    let (end, body_len) = if decided.has_body {
        (needle.data.start + to_usize(range.start), to_usize(range.end - range.start))
    } else {
        (needle.data.start, 0)
    };
    let mut buf = needle.buf;
    let start = head.put_before(&mut buf, end);
    Ready { buf, start, len: end - start + body_len, status: decided.status, body_len }
}

/// JSON description of a stored photo, sent for a name that the store picked and for each photo of a batch.
#[derive(Serialize)]
pub struct Created {
    volume: u32,
    key: u64,
    alt: u32,
    cookie: String,
    url: String,
    etag: String,
    size: u64,
}

impl Created {
    /// Describes needle `id` of `size` bytes.
    pub fn new(volume: u32, id: NeedleId, cookie: Cookie, size: u64, stored: &Stored) -> Self {
        let (key, alt) = (id.key.0, id.alt.0);
        let mut path = [0; OBJECT_PATH_MAX];
        let len = write_object(volume, key, alt, cookie.0, &mut path);
        Self {
            volume,
            key,
            alt,
            cookie: format!("{:016x}", cookie.0),
            url: String::from_utf8_lossy(&path[..len]).into_owned(),
            etag: format!("\"{:016x}\"", stored.etag),
            size,
        }
    }

    /// Path of the object.
    pub fn url(&self) -> &str {
        &self.url
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::buffer::{Pool, Region};

    #[test]
    fn a_plain_reply_is_whole() {
        let mut out = [0; 1024];
        let plain = Plain::error(Status::NOT_FOUND, "no such photo");
        let date = date::format(0);
        let len = plain.write(&mut out, Method::Get, Connection::Persistent, &date);
        let text = std::str::from_utf8(&out[..len]).unwrap();
        assert!(text.starts_with("HTTP/1.1 404 "));
        assert!(text.contains("Content-Length: 14\r\n"));
        assert!(text.ends_with("\r\n\r\nno such photo\n"));
        let len = plain.write(&mut out, Method::Head, Connection::Persistent, &date);
        assert!(std::str::from_utf8(&out[..len]).unwrap().ends_with("\r\n\r\n"));
    }

    #[test]
    fn the_longest_error_fits_the_smallest_buffer() {
        let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
        let mut buf = pool.alloc(1).unwrap();
        for refusal in [Refusal::Poisoned, Refusal::Full, Refusal::Conflict] {
            let mut plain = Plain::from(refusal);
            plain.allow = Some("GET, HEAD, PUT, POST, DELETE");
            plain.stored = Some((u64::MAX, 1));
            plain.write(&mut buf, Method::Get, Connection::Close, &date::format(0));
        }
    }
}
