//! The reply to GET or HEAD of an object: status, head, and a body that is already in its buffer.

use std::ops::Range;

use super::plain_reply::PlainReply;
use crate::http::conditional::{self, ReadOutcome, Validators};
use crate::http::date;
use crate::http::entity_tag::EntityTag;
use crate::http::freshness::CacheControl;
use crate::http::head::{Head, Method};
use crate::http::range::{self, RangeResult};
use crate::http::reply::{
    Connection, ContentRange, DEFAULT_CONTENT_TYPE, MAX_HEAD_LEN, ReplyHead, valid_content_type,
};
use crate::http::status::Status;
use crate::runtime::buffer::Buf;
use crate::volume::{Needle, Refusal};

/// A reply ready to be sent: bytes `start..start + len` of `buf`.
pub struct ObjectReply {
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
pub struct ReadContext<'a> {
    /// Head of the request.
    pub head: &'a Head,
    /// Bytes that the spans of `head` refer to.
    pub head_bytes: &'a [u8],
    /// `Date`.
    pub date: &'a [u8; date::LEN],
    /// Seconds since 1970.
    pub now_seconds: u64,
    /// The same time in nanoseconds.
    pub now_ns: u64,
    /// `Cache-Control`.
    pub cache_control: &'a str,
    /// Whether the connection stays open after the reply.
    pub connection: Connection,
}

/// Result of evaluating preconditions and range of a read: a status and the selected part of the object.
#[derive(Clone, Copy)]
pub struct SelectedPart {
    /// 200, 206 or 304.
    pub status: Status,
    /// First and last byte of a partial reply.
    pub part: Option<(u64, u64)>,
    /// Size of the object (bytes).
    pub size: u64,
    /// Whether the reply has a body.
    pub has_body: bool,
}

impl SelectedPart {
    /// Byte range of the object that the reply describes.
    pub fn range(&self) -> Range<u64> {
        self.part.map_or(0..self.size, |(first, last)| first..last + 1)
    }
}

/// The validators of a needle in Hayloft's own dialect.
pub fn validators(needle: &Needle) -> Validators {
    let modified_seconds = needle.modified_ns / 1_000_000_000;
    Validators { etag: EntityTag::Xxh3(needle.etag), modified_seconds }
}

/// Evaluates the preconditions and the range of a GET or HEAD of an object of `size` bytes (RFC 9110,
/// sections 13 and 14).
///
/// # Errors
/// A reply without the object: 412 or 416.
pub fn select_part(
    validators: Validators,
    size: u64,
    context: &ReadContext<'_>,
) -> Result<SelectedPart, PlainReply> {
    let ReadContext { head, head_bytes, now_seconds, .. } = *context;
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
                    let mut plain = PlainReply::error(Status::RANGE_NOT_SATISFIABLE, reason);
                    plain.unsatisfied = Some(size);
                    return Err(plain);
                }
                Some(RangeResult::Ignore) | None => {}
            }
        }
    }
    let has_body = head.method == Method::Get && status != Status::NOT_MODIFIED;
    Ok(SelectedPart { status, part, size, has_body })
}

/// Head of a reply with an object, in its own memory.
#[expect(clippy::large_enum_variant, reason = "a GET of an own target allocates nothing")]
pub enum ObjectHead {
    /// In one of Hayloft's own dialect.
    Own {
        /// Buffer.
        bytes: [u8; MAX_HEAD_LEN],
        /// Length of the head in it (bytes).
        len: usize,
    },
    /// With further fields, of any length.
    Long(Box<[u8]>),
}

impl ObjectHead {
    /// Writes the head of the reply with `needle`.
    pub fn new(
        needle: &Needle,
        writable: bool,
        selected: &SelectedPart,
        context: &ReadContext<'_>,
    ) -> Self {
        let there = selected.status != Status::NOT_MODIFIED;
        let content_type = needle.content_type().filter(|value| valid_content_type(value));
        let content_type = content_type.unwrap_or(DEFAULT_CONTENT_TYPE);
        let range = selected.range();
        let cache_control = context.cache_control.as_bytes();
        // Until it expires, and no longer.
        let limited = needle.expires_ns.map(|expires_ns| {
            let left = expires_ns.saturating_sub(context.now_ns) / 1_000_000_000;
            CacheControl::limited(cache_control, left)
        });
        let cache_control = limited.as_ref().map_or(cache_control, CacheControl::as_bytes);
        let reply = ReplyHead {
            content_length: range.end - range.start,
            content_type: there.then_some(content_type),
            etag: Some(EntityTag::Xxh3(needle.etag)),
            last_modified: Some(needle.modified_ns / 1_000_000_000),
            accept_ranges: there,
            // With 304 too: a response that a cache stored without this field is updated with it (RFC 9111
            // section 3.2).
            nosniff: true,
            cache_control: Some(cache_control),
            expires_ns: needle.expires_ns,
            content_range: selected.part.map(|(first, last)| ContentRange::Part {
                first,
                last,
                size: selected.size,
            }),
            volume_writable: Some(writable),
            connection: context.connection,
            ..ReplyHead::new(selected.status, context.date)
        };
        let mut bytes = [0; MAX_HEAD_LEN];
        let len = reply.write(&mut bytes);
        Self::Own { bytes, len }
    }

    /// The head.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Own { bytes, len } => &bytes[..*len],
            Self::Long(bytes) => bytes,
        }
    }

    /// Copies the head right in front of `buf[end]` and returns the offset at which it begins; `None` if it
    /// is too long.
    pub fn put_before(&self, buf: &mut [u8], end: usize) -> Option<usize> {
        let bytes = self.as_bytes();
        let start = end.checked_sub(bytes.len())?;
        buf[start..end].copy_from_slice(bytes);
        Some(start)
    }
}

impl ObjectReply {
    /// Turns a needle into the reply to GET or HEAD. The head is written right in front of the body, over the
    /// needle's own header, so that one send carries both.
    pub fn new(
        needle: Needle,
        writable: bool,
        selected: &SelectedPart,
        context: &ReadContext<'_>,
    ) -> Self {
        let head = ObjectHead::new(&needle, writable, selected, context);
        let range = selected.range();
        let to_usize = |at: u64| usize::try_from(at).expect("an offset inside a needle");
        let (end, body_len) = if selected.has_body {
            (needle.data.start + to_usize(range.start), to_usize(range.end - range.start))
        } else {
            (needle.data.start, 0)
        };
        let mut buf = needle.buf;
        let start = head.put_before(&mut buf, end).expect("there is space for the longest head");
        Self { buf, start, len: end - start + body_len, status: selected.status, body_len }
    }
}
