//! Parser of request heads (RFC 9112): returns a [`Head`] or the reason of a refusal.
//!
//! This module does not know the meaning of targets (`target`) and preconditions (`conditional`, `range`),
//! nor the source of the bytes.
//!
//! Of several errors, the one that is reported is:
//! 1. While bytes are received, the first in the stream: a violation of the grammar (400), a target or head
//!    over its limit (414, 431), a repeated or malformed `Host`, another repeated field that may occur once
//!    (400).
//! 2. After the head, the first in this order: a version other than 1.0 and 1.1 (505); no `Host` on 1.1, or
//!    one that is not the host of a target in absolute form (400); an unknown method (405);
//!    `Transfer-Encoding` (501); `Content-Length` repeated or malformed (400), beyond 64 bits (413),
//!    above 0 with GET, HEAD or DELETE (400), missing with PUT or POST (411); an unknown expectation
//!    (417).
//!
//! A target of the other grammar ([`fid`](super::fid)) has other rules, if the connection serves it
//! ([`Dialects::WithFids`]): OPTIONS is known, an unknown method is malformed (400), and PUT and POST may
//! have the chunked transfer coding instead of a Content-Length. Both together, or the coding with another
//! method or with HTTP/1.0, are refused (400), other codings as above.
//!
//! The caller checks its own limit for bodies (413), and whether the target allows a known method (405).
//! After a refusal here the connection must be closed: the bytes after the head may be a body. `Upgrade` is
//! ignored (RFC 9110 section 7.8): the bytes after the head are HTTP/1.1, or malformed.

use super::authority;
use super::fid::is_fid_target;
use super::fields::{Expectation, Fields, TransferEncoding};
use super::reject::Reject;
use super::scan::{Event, Scan};
use super::status::Status;

pub use super::scan::{HeadLimits, Span};

/// A request method (RFC 9110 section 9) that Hayloft serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read an object.
    Get,
    /// Read only the header fields of an object.
    Head,
    /// Write an object under a name that the client chooses.
    Put,
    /// Write one object or a batch.
    Post,
    /// Delete an object.
    Delete,
    /// Ask what is allowed. Only with a fid.
    Options,
}

impl Method {
    /// All methods of Hayloft's own targets, in the order of [`super::target::ALLOW_ANY`].
    pub const ALL: [Self; 5] = [Self::Get, Self::Head, Self::Put, Self::Post, Self::Delete];

    /// Parses a method; `None` if it is unknown. Methods are case-sensitive (RFC 9110 section 9.1).
    #[must_use]
    pub fn from_token(token: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.token() == token)
    }

    /// The method as in a request line.
    #[must_use]
    pub const fn token(self) -> &'static [u8] {
        match self {
            Self::Get => b"GET",
            Self::Head => b"HEAD",
            Self::Put => b"PUT",
            Self::Post => b"POST",
            Self::Delete => b"DELETE",
            Self::Options => b"OPTIONS",
        }
    }

    /// Returns whether a request has a body: PUT and POST must have a Content-Length, the others must have no
    /// body (RFC 9110 section 9.3 defines no meaning for it).
    #[must_use]
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Put | Self::Post)
    }
}

/// The grammars of targets that a connection serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialects {
    /// Hayloft's own ([`super::target`]).
    #[default]
    Own,
    /// Also that of SeaweedFS clients ([`super::fid`]).
    WithFids,
}

/// The protocol version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: the connection is closed unless the client asks to keep it.
    Http10,
    /// HTTP/1.1: the connection is kept unless the client asks to close it.
    Http11,
}

/// A request head. Its spans refer to the buffer that was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Length of the head in the buffer (bytes), including a blank line before it; the body follows.
    pub len: usize,
    /// The method.
    pub method: Method,
    /// The path of the request target (and its query); begins with a slash.
    pub target: Span,
    /// The protocol version.
    pub version: Version,
    /// Whether the target is in the grammar of SeaweedFS clients.
    pub is_fid: bool,
    /// Length of the body (bytes). Always present with PUT and POST unless `is_chunked`; 0 or absent with the
    /// others.
    pub content_length: Option<u64>,
    /// Whether the body has the chunked transfer coding: only its end shows its length.
    pub is_chunked: bool,
    /// Whether the connection may be kept after this request.
    pub keep_alive: bool,
    /// Whether the client waits for 100 (Continue) before it sends a body that is not empty.
    pub expect_continue: bool,
    /// `Host`: a host with an optional port, or empty. Always present with HTTP/1.1.
    pub host: Option<Span>,
    /// `Content-Type`; not checked.
    pub content_type: Option<Span>,
    /// `X-Hayloft-Modified`; not checked.
    pub x_hayloft_modified: Option<Span>,
    /// `X-Hayloft-Expires`; not checked.
    pub x_hayloft_expires: Option<Span>,
    /// `X-Hayloft-Attributes`; not checked.
    pub x_hayloft_attributes: Option<Span>,
    /// `Range`; it is defined for GET only (RFC 9110 section 14.2).
    pub range: Option<Span>,
    /// `If-Range`.
    pub if_range: Option<Span>,
    /// `If-Match`.
    pub if_match: Option<Span>,
    /// `If-None-Match`.
    pub if_none_match: Option<Span>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<Span>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<Span>,
}

impl Head {
    /// Length of the body (bytes); the largest number if only its end shows it.
    #[must_use]
    pub fn body_len(&self) -> u64 {
        if self.is_chunked { u64::MAX } else { self.content_length.unwrap_or(0) }
    }

    /// Iterates over all header fields (name, value) in `buf`, the buffer that was parsed, in the order
    /// received. For fields that [`Head`] does not keep: those that neither delimit the request nor apply to
    /// every method.
    pub fn lines<'b>(&self, buf: &'b [u8]) -> impl Iterator<Item = (&'b [u8], &'b [u8])> {
        let bytes = &buf[..self.len];
        let mut scan = Scan::default();
        std::iter::from_fn(move || match scan.step(bytes, &HeadLimits::DEFAULT) {
            Ok(Event::Field(field)) => Some((field.name.of(bytes), field.value.of(bytes))),
            _ => None,
        })
    }
}

/// State of the parser of one head. Starts with `HeadProgress::default()` for every request.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadProgress {
    scan: Scan,
    fields: Fields,
}

impl HeadProgress {
    /// State for a request before which a blank line was read and discarded: a second one is refused.
    #[must_use]
    pub fn after_blank_line() -> Self {
        Self { scan: Scan::after_blank_line(), ..Self::default() }
    }

    /// Returns whether the request is known to be a HEAD: the reply has no body, also if it is a refusal.
    #[must_use]
    pub fn is_head_request(&self, buf: &[u8]) -> bool {
        self.method(buf) == Some(Method::Head.token())
    }

    /// The method, if it was parsed (before the request was refused).
    #[must_use]
    pub fn method<'a>(&self, buf: &'a [u8]) -> Option<&'a [u8]> {
        self.scan.method_span().map(|span| span.of(buf))
    }

    /// The request target, if it was parsed (before the request was refused). A 405 for an unknown method
    /// needs it for `Allow`.
    #[must_use]
    pub fn target(&self) -> Option<Span> {
        self.scan.target_span()
    }

    /// Returns whether no byte of a request line was received: the connection is idle between requests, also
    /// after a stray blank line.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.scan.is_idle()
    }
}

/// Parses the head that begins at `buf[0]`. Returns `None` if more bytes are needed: call again with the same
/// bytes and more, and with the same `progress`.
///
/// After a head or a refusal the next request needs a new `progress`.
///
/// # Errors
/// Statuses and precedence: see the module's documentation.
pub fn parse(
    buf: &[u8],
    limits: &HeadLimits,
    progress: &mut HeadProgress,
) -> Result<Option<Head>, Reject> {
    parse_as(buf, limits, Dialects::Own, progress)
}

/// Parses the head that begins at `buf[0]`, as [`parse`] does, of a request in one of these grammars.
///
/// # Errors
/// As [`parse`].
pub fn parse_as(
    buf: &[u8],
    limits: &HeadLimits,
    dialects: Dialects,
    progress: &mut HeadProgress,
) -> Result<Option<Head>, Reject> {
    loop {
        match progress.scan.step(buf, limits)? {
            Event::More => return Ok(None),
            Event::Field(field) => progress.fields.take(buf, field)?,
            Event::End => return finish(buf, dialects, progress).map(Some),
        }
    }
}

/// Evaluates a complete, well-formed head.
fn finish(buf: &[u8], dialects: Dialects, progress: &HeadProgress) -> Result<Head, Reject> {
    let HeadProgress { scan, fields } = progress;
    let version = version(scan)?;
    // RFC 9112 section 3.2.
    if version == Version::Http11 && fields.host.is_none() {
        return Err(Reject::bad("no Host header"));
    }
    // By RFC 9112 section 3.2.2 an absolute form takes precedence over Host, and by section 3.2 clients send
    // the same in both. Different ones are refused: two parsers could route them to different sites.
    if let Some(named) = scan.authority_span()
        && !fields.host.is_some_and(|host| authority::is_same(named.of(buf), host.of(buf), b"80"))
    {
        return Err(Reject::bad(
            "the host in the request target differs from that in the Host header",
        ));
    }
    let target = scan.target_span().expect("the scanner ends a head only after a target");
    let is_fid = dialects == Dialects::WithFids && is_fid_target(target.of(buf));
    let method = scan.method_span().map_or(&b""[..], |span| span.of(buf));
    let method = if is_fid { method_of_fid(method)? } else { own_method(method)? };
    let is_chunked =
        if is_fid { is_chunked(version, method, fields)? } else { own_framing(fields)? };
    let content_length = if is_chunked { None } else { content_length(method, fields)? };
    let has_body = is_chunked || content_length.is_some_and(|length| length > 0);
    let expect_continue = expect_continue(version, fields)? && has_body;
    Ok(Head {
        len: scan.consumed(),
        method,
        target,
        version,
        is_fid,
        content_length,
        is_chunked,
        keep_alive: keep_alive(version, fields),
        expect_continue,
        host: fields.host,
        content_type: fields.content_type,
        x_hayloft_modified: fields.x_hayloft_modified,
        x_hayloft_expires: fields.x_hayloft_expires,
        x_hayloft_attributes: fields.x_hayloft_attributes,
        range: fields.range,
        if_range: fields.if_range,
        if_match: fields.if_match,
        if_none_match: fields.if_none_match,
        if_modified_since: fields.if_modified_since,
        if_unmodified_since: fields.if_unmodified_since,
    })
}

fn own_method(token: &[u8]) -> Result<Method, Reject> {
    Method::from_token(token).ok_or(Reject::new(Status::METHOD_NOT_ALLOWED, "unknown method"))
}

fn method_of_fid(token: &[u8]) -> Result<Method, Reject> {
    if token == Method::Options.token() {
        return Ok(Method::Options);
    }
    Method::from_token(token).ok_or(Reject::bad("unknown method"))
}

const OTHER_CODING: Reject =
    Reject::new(Status::NOT_IMPLEMENTED, "Transfer-Encoding is not supported, send Content-Length");

/// RFC 9112 section 6.1: 501 for an unknown transfer coding. None is supported, not even chunked. A
/// Content-Length beside it is ignored: such messages are request smuggling attempts.
fn own_framing(fields: &Fields) -> Result<bool, Reject> {
    if fields.transfer_encoding.is_some() { Err(OTHER_CODING) } else { Ok(false) }
}

/// Returns whether the body is chunked. RFC 9112 section 6.1: a request with HTTP/1.0 and a transfer coding
/// is faulty, and one with a Content-Length beside it may be a smuggling attempt.
fn is_chunked(version: Version, method: Method, fields: &Fields) -> Result<bool, Reject> {
    match fields.transfer_encoding {
        None => Ok(false),
        Some(_) if fields.content_length.is_some() => {
            Err(Reject::bad("Transfer-Encoding and Content-Length together"))
        }
        Some(_) if version == Version::Http10 => {
            Err(Reject::bad("HTTP/1.0 has no Transfer-Encoding"))
        }
        Some(_) if !method.has_body() => Err(Reject::bad("only PUT and POST have a body")),
        Some(TransferEncoding::Other) => {
            let reason = "of the transfer codings only chunked is supported";
            Err(Reject::new(Status::NOT_IMPLEMENTED, reason))
        }
        Some(TransferEncoding::Chunked) => Ok(true),
    }
}

/// RFC 9112 section 2.3. A minor version above 1 could be served as 1.1, but none exists.
fn version(scan: &Scan) -> Result<Version, Reject> {
    match scan.version_digits() {
        [1, 0] => Ok(Version::Http10),
        [1, 1] => Ok(Version::Http11),
        _ => Err(Reject::new(Status::VERSION_NOT_SUPPORTED, "only HTTP/1.1 and HTTP/1.0")),
    }
}

/// RFC 9112 section 6.3: without a transfer coding the Content-Length alone determines where the next request
/// begins.
fn content_length(method: Method, fields: &Fields) -> Result<Option<u64>, Reject> {
    let length = fields.content_length.transpose()?;
    match (method.has_body(), length) {
        (true, None) => {
            Err(Reject::new(Status::LENGTH_REQUIRED, "PUT and POST need a Content-Length"))
        }
        (false, Some(1..)) => Err(Reject::bad("GET, HEAD and DELETE have no body")),
        _ => Ok(length),
    }
}

/// RFC 9110 section 10.1.1: a server may answer an unknown expectation with 417, and must ignore 100-continue
/// from an HTTP/1.0 client; its other expectations are ignored too.
fn expect_continue(version: Version, fields: &Fields) -> Result<bool, Reject> {
    match (version, fields.expect) {
        (Version::Http10, _) | (Version::Http11, None) => Ok(false),
        (Version::Http11, Some(Expectation::Continue)) => Ok(true),
        (Version::Http11, Some(Expectation::Unknown)) => {
            Err(Reject::new(Status::EXPECTATION_FAILED, "only Expect: 100-continue"))
        }
    }
}

/// RFC 9112 section 9.3: `close` takes precedence, then the version, then `keep-alive`.
fn keep_alive(version: Version, fields: &Fields) -> bool {
    !fields.close && (version == Version::Http11 || fields.keep_alive)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_whole(bytes: &[u8]) -> Result<Option<Head>, Reject> {
        parse(bytes, &HeadLimits::DEFAULT, &mut HeadProgress::default())
    }

    fn status(text: &str) -> u16 {
        match parse_whole(text.as_bytes()) {
            Ok(Some(_)) => 0,
            Ok(None) => panic!("not complete: {text:?}"),
            Err(reject) => reject.status.code(),
        }
    }

    #[test]
    fn a_head_with_all_kinds_of_fields_is_parsed() {
        let text = "\r\nPUT /1/2/3/0123456789abcdef HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\
                    content-type: image/png\r\nIf-Match: \"a\"\r\nExpect: 100-Continue\r\n\r\n12345";
        let head = parse_whole(text.as_bytes()).unwrap().unwrap();
        assert_eq!(head.method, Method::Put);
        assert_eq!(head.target.of(text.as_bytes()), b"/1/2/3/0123456789abcdef");
        assert_eq!(head.version, Version::Http11);
        assert_eq!(head.content_length, Some(5));
        assert_eq!(head.content_type.unwrap().of(text.as_bytes()), b"image/png");
        assert_eq!(head.if_match.unwrap().of(text.as_bytes()), b"\"a\"");
        assert!(head.keep_alive && head.expect_continue);
        assert_eq!(&text[head.len..], "12345");
    }

    #[test]
    fn version_and_method_are_checked_after_the_end_of_the_head() {
        let text = b"PATCH / HTTP/3.7\r\nTransfer-Encoding: x\r\nExpect: y\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(parse_whole(&text[..end]), Ok(None));
        }
        assert_eq!(parse_whole(text).unwrap_err().status.code(), 505);
    }

    /// Each case lacks the error that was reported for the case before.
    #[test]
    fn of_several_errors_the_first_in_order_is_reported() {
        let tail = "Content-Length: 1\r\n\r\n";
        for (text, want) in [
            ("PATCH / HTTP/2.0\r\nTransfer-Encoding: a\r\nExpect: b\r\nX : y\r\n", 400),
            ("PATCH / HTTP/2.0\r\nTransfer-Encoding: a\r\nExpect: b\r\nContent-Length: x\r\n", 505),
            ("PATCH / HTTP/1.1\r\nTransfer-Encoding: a\r\nExpect: b\r\nContent-Length: x\r\n", 400),
            ("PATCH / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: a\r\nContent-Length: x\r\n", 405),
            ("GET / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: a\r\nContent-Length: x\r\n", 501),
            (
                "GET / HTTP/1.1\r\nHost:\r\nExpect: b\r\nContent-Length: 99999999999999999999\r\n",
                400,
            ),
            ("GET / HTTP/1.1\r\nHost:\r\nExpect: b\r\n", 400),
            ("PUT / HTTP/1.1\r\nHost:\r\nExpect: b\r\n", 417),
            ("PUT / HTTP/1.1\r\nHost:\r\n", 0),
        ] {
            assert_eq!(status(&format!("{text}{tail}")), want, "{text:?}");
        }
        assert_eq!(status("PUT / HTTP/1.1\r\nHost:\r\nExpect: b\r\n\r\n"), 411);
        let large = "Content-Length: 99999999999999999999\r\n\r\n";
        assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost:\r\nExpect: b\r\n{large}")), 413);
    }

    fn fid_status(text: &str) -> Result<(bool, bool, Option<u64>), u16> {
        let mut progress = HeadProgress::default();
        let parsed =
            parse_as(text.as_bytes(), &HeadLimits::DEFAULT, Dialects::WithFids, &mut progress);
        match parsed {
            Ok(head) => {
                let head = head.expect("the head is complete");
                Ok((head.is_fid, head.is_chunked, head.content_length))
            }
            Err(reject) => Err(reject.status.code()),
        }
    }

    #[test]
    fn uploads_to_a_fid_may_be_chunked() {
        let status =
            |line: &str, fields: &str| fid_status(&format!("{line}\r\nHost: a\r\n{fields}\r\n"));
        let (post, chunked) = ("POST /3,01637037d6 HTTP/1.1", "Transfer-Encoding: chunked\r\n");
        assert_eq!(status(post, chunked), Ok((true, true, None)));
        assert_eq!(status("PUT /3/01637037d6/a HTTP/1.1", chunked), Ok((true, true, None)));
        assert_eq!(status(post, "Content-Length: 5\r\n"), Ok((true, false, Some(5))));
        assert_eq!(status(post, ""), Err(411));
        for length in ["5", "0", "x"] {
            let both = format!("{chunked}Content-Length: {length}\r\n");
            assert_eq!(status(post, &both), Err(400), "{length}");
            let both = format!("Content-Length: {length}\r\n{chunked}");
            assert_eq!(status(post, &both), Err(400), "{length}");
        }
        assert_eq!(status("POST /3,01637037d6 HTTP/1.0", chunked), Err(400));
        for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
            assert_eq!(status(&format!("{method} /3,01637037d6 HTTP/1.1"), chunked), Err(400));
            assert_eq!(
                status(&format!("{method} /3,01637037d6 HTTP/1.1"), ""),
                Ok((true, false, None)),
            );
        }
        assert_eq!(status(post, "Transfer-Encoding: gzip, chunked\r\n"), Err(501));
        assert_eq!(status(post, &format!("{chunked}{chunked}")), Err(501));
        assert_eq!(status("PATCH /3,01637037d6 HTTP/1.1", ""), Err(400));
    }

    #[test]
    fn own_targets_keep_their_rules_beside_fids() {
        let status =
            |line: &str, fields: &str| fid_status(&format!("{line}\r\nHost: a\r\n{fields}\r\n"));
        let chunked = "Transfer-Encoding: chunked\r\n";
        for target in
            ["/", "/3", "/3/batch", "/1/2/3/0123456789abcdef", "/1/2/3/0123456789abcdef?x"]
        {
            assert_eq!(status(&format!("POST {target} HTTP/1.1"), chunked), Err(501), "{target}");
            assert_eq!(status(&format!("OPTIONS {target} HTTP/1.1"), ""), Err(405), "{target}");
            let with_length = status(&format!("POST {target} HTTP/1.1"), "Content-Length: 1\r\n");
            assert_eq!(with_length, Ok((false, false, Some(1))), "{target}");
        }
    }

    #[test]
    fn a_connection_without_fids_knows_no_chunked_bodies() {
        let text = "POST /3,01637037d6 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(status(text), 501);
        assert_eq!(status("OPTIONS /3,01637037d6 HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
    }

    #[test]
    fn length_of_a_chunked_body_is_not_known() {
        let text = b"POST /3,01637037d6 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
                     Expect: 100-continue\r\n\r\n";
        let mut progress = HeadProgress::default();
        let head = parse_as(text, &HeadLimits::DEFAULT, Dialects::WithFids, &mut progress);
        let head = head.unwrap().unwrap();
        assert_eq!((head.body_len(), head.expect_continue), (u64::MAX, true));
    }

    #[test]
    fn an_absolute_target_must_have_the_host_of_the_host_field() {
        let status =
            |target: &str, host: &str| status(&format!("GET {target} HTTP/1.1\r\n{host}\r\n\r\n"));
        for (target, host) in [
            ("http://a/1", "Host: a"),
            ("HTTP://Photos.Example/1", "Host: photos.EXAMPLE"),
            ("http://a:80/1", "Host: a"),
            ("http://a/1", "Host: a:80"),
            ("http://a:/1", "Host: a"),
            ("http://a:8080", "Host: a:8080"),
            ("http://[::1]:8080/1", "Host: [::1]:8080"),
        ] {
            assert_eq!(status(target, host), 0, "{target} {host}");
        }
        for (target, host) in [
            ("http://a/1", "Host: b"),
            ("http://a/1", "Host:"),
            ("http://a/1", "Host: a:8080"),
            ("http://a:8080/1", "Host: a"),
            ("http://a:080/1", "Host: a"),
            ("http://a./1", "Host: a"),
            ("http://%61/1", "Host: a"),
            ("http:///1", "Host:"),
            ("http://u@a/1", "Host: a"),
            ("http://a@a/1", "Host: a"),
            ("https://a/1", "Host: a"),
            ("ws://a/1", "Host: a"),
            ("http:/a/1", "Host: a"),
        ] {
            assert_eq!(status(target, host), 400, "{target} {host}");
        }
        let old = "GET http://a/1 HTTP/1.0\r\n\r\n";
        assert_eq!(parse_whole(old.as_bytes()).unwrap_err().status.code(), 400);
        let text = "GET http://a/1 HTTP/1.1\r\nHost: a\r\n\r\n";
        let head = parse_whole(text.as_bytes()).unwrap().unwrap();
        assert_eq!(head.target.of(text.as_bytes()), b"/1");
    }

    #[test]
    fn lines_returns_all_fields_in_order() {
        let text =
            "\r\nPUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nX:\r\nx: \ty z \r\n\r\nX: b";
        let head = parse_whole(text.as_bytes()).unwrap().unwrap();
        let lines: Vec<_> = head.lines(text.as_bytes()).collect();
        let want = [("Host", "a"), ("Content-Length", "1"), ("X", ""), ("x", "y z")];
        assert_eq!(lines, want.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    }

    #[test]
    fn keep_alive_depends_on_close_version_and_keep_alive() {
        for (version, connection, keep) in [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: keep-alive\r\nConnection: CLOSE\r\n", false),
            ("1.1", "Connection: close, keep-alive\r\n", false),
            ("1.1", "Connection: te\r\n", true),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
            let head = parse_whole(text.as_bytes()).unwrap().unwrap();
            assert_eq!(head.keep_alive, keep, "{text:?}");
        }
    }

    #[test]
    fn expect_is_ignored_with_http_1_0() {
        for expect in ["100-continue", "x"] {
            let text = format!("PUT / HTTP/1.0\r\nContent-Length: 1\r\nExpect: {expect}\r\n\r\n");
            assert!(!parse_whole(text.as_bytes()).unwrap().unwrap().expect_continue);
        }
    }

    #[test]
    fn expect_continue_is_ignored_for_an_empty_body() {
        let text = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n";
        assert!(!parse_whole(text.as_bytes()).unwrap().unwrap().expect_continue);
    }

    #[test]
    fn limits_are_inclusive() {
        let limits = HeadLimits { head_bytes_max: 200, fields_max: 2, target_bytes_max: 9 };
        let status = |target: usize, fields: usize, padding: usize| {
            let target = "/".repeat(target);
            let fields = "H: a\r\n".repeat(fields) + &format!("Host: {}\r\n", "a".repeat(padding));
            let text = format!("GET {target} HTTP/1.1\r\n{fields}\r\n");
            let result = parse(text.as_bytes(), &limits, &mut HeadProgress::default());
            (text.len(), result.map(|head| head.unwrap().len).map_err(|r| r.status.code()))
        };
        assert_eq!(status(9, 1, 1).1, Ok(41));
        assert_eq!(status(10, 1, 1).1, Err(414));
        assert_eq!(status(9, 2, 1).1, Err(431));
        assert_eq!(status(9, 1, 160), (200, Ok(200)));
        assert_eq!(status(9, 1, 161), (201, Err(431)));
    }

    #[test]
    fn a_head_without_end_is_refused_at_the_size_limit() {
        let limits = HeadLimits::DEFAULT;
        let mut bytes = b"GET / HTTP/1.1\r\nHost: ".to_vec();
        bytes.resize(usize::from(limits.head_bytes_max) - 1, b'a');
        let mut progress = HeadProgress::default();
        assert_eq!(parse(&bytes, &limits, &mut progress), Ok(None));
        bytes.push(b'a');
        assert_eq!(parse(&bytes, &limits, &mut progress).unwrap_err().status.code(), 431);
    }

    #[test]
    fn progress_keeps_method_and_target_for_a_refusal() {
        let text = b"HEAD /1 HTTP/7.0\r\n\r\n";
        let mut progress = HeadProgress::default();
        assert!(progress.is_idle());
        assert_eq!(progress.target(), None);
        parse(&text[..3], &HeadLimits::DEFAULT, &mut progress).unwrap();
        assert!(!progress.is_idle() && !progress.is_head_request(text));
        parse(text, &HeadLimits::DEFAULT, &mut progress).unwrap_err();
        assert!(progress.is_head_request(text));
        assert_eq!(progress.target().unwrap().of(text), b"/1");
    }

    #[test]
    fn a_blank_line_does_not_start_a_request() {
        let text = b"\r\nG";
        let mut progress = HeadProgress::default();
        for (end, idle) in [(0, true), (1, true), (2, true), (3, false)] {
            parse(&text[..end], &HeadLimits::DEFAULT, &mut progress).unwrap();
            assert_eq!(progress.is_idle(), idle, "{end}");
        }
    }

    #[test]
    fn methods_are_case_sensitive() {
        for method in Method::ALL {
            assert_eq!(Method::from_token(method.token()), Some(method));
            assert_eq!(Method::from_token(&method.token().to_ascii_lowercase()), None);
        }
    }
}
