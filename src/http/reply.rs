//! Response heads: writes a status and its header fields into a buffer of the caller (RFC 9112 section 4),
//! at the front or right-aligned before a body that is already in the buffer.
//!
//! This module does not know requests, preconditions or ranges, only the format of the response. It checks
//! that no field value can end its line.

use super::date;
use super::digits;
use super::entity_tag::{EntityTag, TAG_MAX};
use super::status::Status;
use super::target::OBJECT_PATH_MAX;
use crate::base::limits::{CACHE_CONTROL_MAX, CONTENT_TYPE_MAX, REPLY_HEADROOM};

/// The interim response that asks for the body (RFC 9110 section 15.2.1). It has no header fields.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Media type of an object that was uploaded without one (RFC 9110 section 8.3).
pub const DEFAULT_CONTENT_TYPE: &[u8] = b"application/octet-stream";

/// The `Connection` field of a reply (RFC 9112 section 9.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connection {
    /// Stays open, the default of HTTP/1.1: no field.
    #[default]
    Persistent,
    /// Stays open for an HTTP/1.0 client: `keep-alive`.
    KeepAlive,
    /// Is closed after this reply: `close`.
    Close,
}

/// `Content-Range` (RFC 9110 section 14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentRange {
    /// The part from `first` to `last` inclusive, of `size` bytes: with 206.
    Part {
        /// Offset of the first byte sent.
        first: u64,
        /// Offset of the last byte sent.
        last: u64,
        /// Size of the whole object (bytes).
        size: u64,
    },
    /// None of the requested bytes exists: with 416.
    Unsatisfied {
        /// Size of the whole object (bytes).
        size: u64,
    },
}

/// A response head. [`ReplyHead::new`] sets only the fields that every reply has.
#[derive(Clone, Copy, Debug)]
pub struct ReplyHead<'a> {
    /// The status.
    pub status: Status,
    /// `Date`, formatted by [`date::format`].
    pub date: &'a [u8; date::LEN],
    /// `Content-Length`: length of the body that a GET receives (bytes). Not sent with 1xx, 204 and 304.
    pub content_length: u64,
    /// `Content-Type`; must satisfy [`valid_content_type`].
    pub content_type: Option<&'a [u8]>,
    /// The strong `ETag`.
    pub etag: Option<EntityTag>,
    /// `Last-Modified`, in seconds since 1970.
    pub last_modified: Option<u64>,
    /// `Accept-Ranges: bytes`.
    pub accept_ranges: bool,
    /// `X-Content-Type-Options: nosniff`: browsers do not take an upload for another type than its own, such
    /// as a page of the site that it is served from.
    pub nosniff: bool,
    /// `Cache-Control`; must satisfy [`valid_cache_control`].
    pub cache_control: Option<&'a [u8]>,
    /// `X-Hayloft-Expires`: when the object expires (nanoseconds since 1970). Not together with `location`,
    /// whose space it takes.
    pub expires_ns: Option<u64>,
    /// `Content-Range`.
    pub content_range: Option<ContentRange>,
    /// `X-Hayloft-Volume`: whether the object's volume accepts writes. A cache in front uses it for the
    /// admission rule of the Haystack paper (OSDI 2010).
    pub volume_writable: Option<bool>,
    /// `Location`, with 201 after POST; at most [`OBJECT_PATH_MAX`] visible ASCII characters.
    pub location: Option<&'a [u8]>,
    /// `Retry-After` in seconds, with 503.
    pub retry_after: Option<u32>,
    /// `Allow`, with 405.
    pub allow: Option<&'a str>,
    /// `Accept-Encoding: identity`, with 415 for a content coding.
    pub accept_identity: bool,
    /// `X-Hayloft-Instance`: identifies this start of this daemon. Only in the 405 of GET and HEAD of `/`.
    pub instance: Option<u64>,
    /// Further header fields, whole lines ([`is_lines`]); their length is not in [`MAX_HEAD_LEN`].
    pub more: &'a [u8],
    /// `Connection`.
    pub connection: Connection,
}

/// Maximum length of a response head (bytes): the longest status line and every field at its longest.
pub const MAX_HEAD_LEN: usize = STATUS_LINE_MAX
    + "Date: \r\n".len()
    + date::LEN
    + "Content-Length: \r\n".len()
    + digits::U64_DIGITS
    + "Content-Type: \r\n".len()
    + CONTENT_TYPE_MAX
    + "ETag: \"0123456789abcdef\"\r\n".len()
    + "Last-Modified: \r\n".len()
    + date::LEN
    + "Accept-Ranges: bytes\r\n".len()
    + NOSNIFF.len()
    + "Cache-Control: \r\n".len()
    + CACHE_CONTROL_MAX
    + "Content-Range: bytes -/\r\n".len()
    + 3 * digits::U64_DIGITS
    + "X-Hayloft-Volume: read-only\r\n".len()
    + "Location: \r\n".len()
    + OBJECT_PATH_MAX
    + "Retry-After: 4294967295\r\n".len()
    + "Allow: \r\n".len()
    + ALLOW_MAX
    + ACCEPT_IDENTITY.len()
    + "X-Hayloft-Instance: 0123456789abcdef\r\n".len()
    + "Connection: keep-alive\r\n".len()
    + "\r\n".len();

/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;

const NOSNIFF: &[u8] = b"X-Content-Type-Options: nosniff\r\n";
const ACCEPT_IDENTITY: &[u8] = b"Accept-Encoding: identity\r\n";
const STATUS_LINE_MAX: usize = Status::HEADER_FIELDS_TOO_LARGE.line().len();
const ALLOW_MAX: usize = super::target::ALLOW_ANY.len();

const _: () = assert!(MAX_HEAD_LEN <= REPLY_HEADROOM);
const EXPIRES_MAX: usize = "X-Hayloft-Expires: 18446744073.709551615\r\n".len();
const _: () = assert!(EXPIRES_MAX <= "Location: \r\n".len() + OBJECT_PATH_MAX);

impl<'a> ReplyHead<'a> {
    /// The head of a reply without a body and without optional fields.
    #[must_use]
    pub const fn new(status: Status, date: &'a [u8; date::LEN]) -> Self {
        Self {
            status,
            date,
            content_length: 0,
            content_type: None,
            etag: None,
            last_modified: None,
            accept_ranges: false,
            nosniff: false,
            cache_control: None,
            expires_ns: None,
            content_range: None,
            volume_writable: None,
            location: None,
            retry_after: None,
            allow: None,
            accept_identity: false,
            instance: None,
            more: b"",
            connection: Connection::Persistent,
        }
    }

    /// The head of an error reply with the body that [`write_error_body`] writes for `reason`.
    #[must_use]
    pub const fn error(status: Status, reason: &str, date: &'a [u8; date::LEN]) -> Self {
        let mut head = Self::new(status, date);
        head.content_type = Some(b"text/plain");
        head.content_length = error_body_len(reason) as u64;
        head
    }

    /// Writes the head to the front of `out` and returns its length (bytes).
    ///
    /// # Panics If the head does not fit; [`MAX_HEAD_LEN`] bytes and those of `more` are always enough. If a
    /// field value is invalid.
    #[must_use]
    pub fn write(&self, out: &mut [u8]) -> usize {
        self.check();
        let mut writer = Writer { out, len: 0 };
        self.put(&mut writer);
        writer.len
    }

    /// Writes the head right-aligned before `buf[end]`, where the body begins, and returns the index of its
    /// first byte.
    ///
    /// # Panics
    /// If the head does not fit; [`MAX_HEAD_LEN`] bytes are always enough. If a field value is invalid.
    #[must_use]
    pub fn write_before(&self, buf: &mut [u8], end: usize) -> usize {
        let start =
            end.checked_sub(self.encoded_len()).expect("there must be room for the response head");
        let len = self.write(&mut buf[start..end]);
        assert_eq!(start + len, end, "the written length of a head differs from the counted one");
        start
    }

    /// Number of bytes that [`ReplyHead::write`] writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let mut counter = Counter(0);
        self.put(&mut counter);
        counter.0
    }

    /// Panics if a field value could exceed [`MAX_HEAD_LEN`] or end its line: such a value must have been
    /// refused before it was stored or configured.
    fn check(&self) {
        assert!(self.content_type.is_none_or(valid_content_type), "unchecked content type");
        assert!(self.cache_control.is_none_or(valid_cache_control), "unchecked cache control");
        assert!(is_lines(self.more), "unchecked header fields");
        assert!(self.location.is_none_or(|path| path.len() <= OBJECT_PATH_MAX));
        assert!(self.location.is_none() || self.expires_ns.is_none(), "there is room for one");
        assert!(self.location.is_none_or(|path| path.iter().all(u8::is_ascii_graphic)));
        assert!(self.allow.is_none_or(|methods| methods.len() <= ALLOW_MAX));
    }

    /// Writes all fields. RFC 9110 section 5.3 recommends control data, such as Date, first.
    fn put(&self, sink: &mut impl Sink) {
        sink.bytes(self.status.line());
        sink.line(b"Date: ", self.date);
        if self.status.has_content_length() {
            sink.bytes(b"Content-Length: ");
            sink.decimal(self.content_length);
            sink.bytes(b"\r\n");
        }
        self.put_validators(sink);
        self.put_body_fields(sink);
        self.put_context(sink);
        sink.bytes(self.more);
        match self.connection {
            Connection::Persistent => {}
            Connection::KeepAlive => sink.bytes(b"Connection: keep-alive\r\n"),
            Connection::Close => sink.bytes(b"Connection: close\r\n"),
        }
        sink.bytes(b"\r\n");
    }

    fn put_validators(&self, sink: &mut impl Sink) {
        if let Some(etag) = self.etag {
            sink.bytes(b"ETag: \"");
            sink.bytes(etag.text(&mut [0; TAG_MAX]));
            sink.bytes(b"\"\r\n");
        }
        if let Some(seconds) = self.last_modified {
            sink.bytes(b"Last-Modified: ");
            sink.date(seconds);
            sink.bytes(b"\r\n");
        }
        if let Some(value) = self.cache_control {
            sink.line(b"Cache-Control: ", value);
        }
        if let Some(expires_ns) = self.expires_ns {
            sink.bytes(b"X-Hayloft-Expires: ");
            sink.decimal(expires_ns / SECOND_NS);
            if let Some(decimals) = decimals_of(expires_ns % SECOND_NS) {
                sink.line(b".", &decimals);
            } else {
                sink.bytes(b"\r\n");
            }
        }
    }

    fn put_body_fields(&self, sink: &mut impl Sink) {
        if let Some(value) = self.content_type {
            sink.line(b"Content-Type: ", value);
        }
        if self.accept_ranges {
            sink.bytes(b"Accept-Ranges: bytes\r\n");
        }
        if self.nosniff {
            sink.bytes(NOSNIFF);
        }
        match self.content_range {
            None => {}
            Some(ContentRange::Part { first, last, size }) => {
                sink.bytes(b"Content-Range: bytes ");
                sink.decimal(first);
                sink.bytes(b"-");
                sink.decimal(last);
                sink.bytes(b"/");
                sink.decimal(size);
                sink.bytes(b"\r\n");
            }
            Some(ContentRange::Unsatisfied { size }) => {
                sink.bytes(b"Content-Range: bytes */");
                sink.decimal(size);
                sink.bytes(b"\r\n");
            }
        }
    }

    fn put_context(&self, sink: &mut impl Sink) {
        match self.volume_writable {
            None => {}
            Some(true) => sink.bytes(b"X-Hayloft-Volume: writable\r\n"),
            Some(false) => sink.bytes(b"X-Hayloft-Volume: read-only\r\n"),
        }
        if let Some(path) = self.location {
            sink.line(b"Location: ", path);
        }
        if let Some(seconds) = self.retry_after {
            sink.bytes(b"Retry-After: ");
            sink.decimal(u64::from(seconds));
            sink.bytes(b"\r\n");
        }
        if let Some(methods) = self.allow {
            sink.line(b"Allow: ", methods.as_bytes());
        }
        if self.accept_identity {
            sink.bytes(ACCEPT_IDENTITY);
        }
        if let Some(instance) = self.instance {
            sink.line(b"X-Hayloft-Instance: ", &digits::hex16(instance));
        }
    }
}

/// Returns whether `lines` are header fields, each with a name, a value without control characters, and CRLF.
#[must_use]
pub fn is_lines(lines: &[u8]) -> bool {
    let mut rest = lines;
    while !rest.is_empty() {
        let Some(end) = rest.iter().position(|&byte| byte < b' ' || byte == 0x7f) else {
            return false;
        };
        let (line, after) = rest.split_at(end);
        let Some(after) = after.strip_prefix(b"\r\n") else { return false };
        if line.iter().position(|&byte| byte == b':').is_none_or(|at| at == 0) {
            return false;
        }
        rest = after;
    }
    true
}

/// Length of the body of an error reply (bytes): the reason and a line end.
#[must_use]
pub const fn error_body_len(reason: &str) -> usize {
    reason.len() + 1
}

/// Writes the body of an error reply to the front of `out` and returns its length (bytes).
///
/// # Panics
/// If it does not fit: [`error_body_len`].
pub fn write_error_body(reason: &str, out: &mut [u8]) -> usize {
    let (line, end) = out[..error_body_len(reason)].split_at_mut(reason.len());
    line.copy_from_slice(reason.as_bytes());
    end[0] = b'\n';
    error_body_len(reason)
}

/// Returns whether `value` may be stored and sent as `Content-Type`: 1 to [`CONTENT_TYPE_MAX`] (255) visible
/// ASCII characters, spaces and tabs. The syntax of media types is not checked.
#[must_use]
pub fn valid_content_type(value: &[u8]) -> bool {
    (1..=CONTENT_TYPE_MAX).contains(&value.len()) && value.iter().all(|&byte| is_text(byte))
}

/// Returns whether `value` may be configured as `Cache-Control`: 1 to [`CACHE_CONTROL_MAX`] (128) visible
/// ASCII characters, spaces and tabs.
#[must_use]
pub fn valid_cache_control(value: &[u8]) -> bool {
    (1..=CACHE_CONTROL_MAX).contains(&value.len()) && value.iter().all(|&byte| is_text(byte))
}

/// Returns the nine decimals of a fraction of a second (nanoseconds), unless they are all 0.
fn decimals_of(ns: u64) -> Option<[u8; 9]> {
    let mut rest = ns;
    let mut digits = [0; 9];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    (ns > 0).then_some(digits)
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (b' '..=b'~').contains(&byte)
}

/// Destination of a head. The same code counts and writes it, so that the lengths agree.
trait Sink {
    fn bytes(&mut self, bytes: &[u8]);
    fn decimal(&mut self, value: u64);
    fn date(&mut self, seconds: u64);

    fn line(&mut self, name: &[u8], value: &[u8]) {
        self.bytes(name);
        self.bytes(value);
        self.bytes(b"\r\n");
    }
}

struct Counter(usize);

impl Sink for Counter {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    fn decimal(&mut self, value: u64) {
        self.0 += digits::decimal_len(value);
    }

    fn date(&mut self, _seconds: u64) {
        self.0 += date::LEN;
    }
}

struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Sink for Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.out[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    fn decimal(&mut self, value: u64) {
        self.bytes(digits::decimal(value, &mut [0; digits::U64_DIGITS]));
    }

    fn date(&mut self, seconds: u64) {
        self.bytes(&date::format(seconds));
    }
}

#[cfg(test)]
mod tests;
