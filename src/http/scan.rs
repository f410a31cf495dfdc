//! The grammar of a request head (RFC 9112 sections 2 to 5): a state machine over its bytes that returns the
//! header fields one by one.
//!
//! It accepts less than the RFC allows a recipient to accept, since request smuggling exploits differences
//! between parsers: lines end in CRLF, never in a bare LF; fields are not folded; errors are never repaired.
//!
//! Every decision depends only on the bytes up to the current one. A stream therefore gives the same result
//! however it is split, and the cost is linear in its length, whatever the number of pieces.
//!
//! This module does not know the meaning of fields, nor which methods and versions are supported.

use super::reject::Reject;
use super::status::Status;
use crate::base::limits;

/// A range of bytes in the buffer that holds the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Index of the first byte.
    pub start: u16,
    /// Index after the last byte.
    pub end: u16,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        let index =
            |i| u16::try_from(i).expect("offsets fit u16: see the check of REQUEST_HEAD_MAX");
        Self { start: index(start), end: index(end) }
    }

    /// The bytes of this span in `buf`, the buffer that was parsed.
    #[must_use]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        &buf[usize::from(self.start)..usize::from(self.end)]
    }
}

/// Limits on a request head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Maximum length of a head (bytes), from its first byte to the blank line inclusive; otherwise 431.
    pub head_bytes_max: u16,
    /// Maximum number of header fields; otherwise 431.
    pub fields_max: u16,
    /// Maximum length of the request target (bytes); otherwise 414.
    pub target_bytes_max: u16,
}

impl HeadLimits {
    /// The limits of the data API.
    pub const DEFAULT: Self = Self {
        head_bytes_max: limits::REQUEST_HEAD_MAX as u16,
        fields_max: limits::REQUEST_HEADERS_MAX as u16,
        target_bytes_max: limits::REQUEST_TARGET_MAX as u16,
    };
}

const _: () = assert!(limits::REQUEST_HEAD_MAX <= u16::MAX as usize);
const _: () = assert!(limits::REQUEST_HEADERS_MAX <= u16::MAX as usize);
// Otherwise a long target would be answered with 431.
const _: () = assert!(limits::REQUEST_TARGET_MAX < limits::REQUEST_HEAD_MAX);

/// A header field; white space around the value is excluded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// The field name, in the case received.
    pub name: Span,
    /// The field value; may be empty.
    pub value: Span,
}

/// Result of a step of the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// All bytes were consumed; the head is not complete.
    More,
    /// A header field ended.
    Field(Field),
    /// The head ended; [`Scan::consumed`] is its length.
    End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first byte: one blank line is allowed (RFC 9112 section 2.2).
    #[default]
    Start,
    BlankLf,
    Method,
    /// The first byte of the target, which determines its form.
    Target,
    /// `http://` of a target in absolute form.
    Scheme,
    Authority,
    Path,
    Version,
    RequestLineLf,
    LineStart,
    Name,
    Value,
    ValueLf,
    EndLf,
    Done,
}

/// State of the scan of one head, with the parts of the request line. Starts with `Scan::default()`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    state: State,
    /// Number of bytes of the head that were consumed and discarded before `buf[0]`.
    discarded: usize,
    /// Index of the next byte.
    at: usize,
    /// Index of the first byte of the current element.
    mark: usize,
    /// Index of the first byte of the target's path, or of its authority while that is scanned.
    path: usize,
    /// Number of header fields so far.
    fields: u16,
    method: Span,
    authority: Span,
    target: Span,
    version: [u8; 2],
    name: Span,
}

impl Scan {
    /// A scan that starts after the one blank line that is allowed, whose two bytes were discarded.
    #[must_use]
    pub fn after_blank_line() -> Self {
        Self { state: State::Method, discarded: 2, ..Self::default() }
    }

    /// A scan of header fields without a request line, as at the head of a part of a multipart body.
    #[must_use]
    pub fn of_fields() -> Self {
        Self { state: State::LineStart, ..Self::default() }
    }

    /// Scans to the next event. `buf` holds all received bytes of the head, except discarded ones.
    ///
    /// # Errors
    /// 400 for a violation of the grammar; 414 for a target and 431 for a head or a number of fields over the
    /// limit.
    ///
    /// # Panics
    /// If `buf` became shorter, or after [`Event::End`].
    pub fn step(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<Event, Reject> {
        let bytes_max = usize::from(limits.head_bytes_max) - self.discarded;
        // Bytes beyond the limit must not affect the result, which would depend on the splitting otherwise.
        let buf = &buf[..buf.len().min(bytes_max)];
        assert!(self.at <= buf.len(), "the buffer of a head became shorter");
        while let Some(&byte) = buf.get(self.at) {
            match self.state {
                State::Start => self.start(byte),
                State::BlankLf => self.lf(byte, State::Method)?,
                State::Method => self.method(buf)?,
                State::Target => self.target(byte),
                State::Scheme => self.scheme(buf)?,
                State::Authority => self.authority(buf, limits)?,
                State::Path => self.path(buf, limits)?,
                State::Version => self.version(buf)?,
                State::RequestLineLf => self.lf(byte, State::LineStart)?,
                State::LineStart => self.line_start(byte, limits)?,
                State::Name => self.name(buf)?,
                State::Value => self.value(buf)?,
                State::ValueLf => {
                    let value = trim(buf, self.mark, self.at - 1);
                    self.lf(byte, State::LineStart)?;
                    return Ok(Event::Field(Field { name: self.name, value }));
                }
                State::EndLf => {
                    self.lf(byte, State::Done)?;
                    return Ok(Event::End);
                }
                State::Done => unreachable!("the head is complete; the next one needs a new scan"),
            }
        }
        if buf.len() == bytes_max {
            let status = Status::HEADER_FIELDS_TOO_LARGE;
            return Err(Reject::new(status, "the request head is too long"));
        }
        Ok(Event::More)
    }

    /// The method, once it and the space after it were consumed.
    #[must_use]
    pub fn method_span(&self) -> Option<Span> {
        (self.method.end > 0).then_some(self.method)
    }

    /// The authority of a target in absolute form, once it was consumed.
    #[must_use]
    pub fn authority_span(&self) -> Option<Span> {
        (self.authority.end > 0).then_some(self.authority)
    }

    /// The path of the request target (and its query), once it and the space after it were consumed.
    #[must_use]
    pub fn target_span(&self) -> Option<Span> {
        (self.target.end > 0).then_some(self.target)
    }

    /// The digits x and y of `HTTP/x.y`; valid after the request line.
    #[must_use]
    pub fn version_digits(&self) -> [u8; 2] {
        self.version
    }

    /// Number of bytes consumed: after [`Event::End`] the length of the head, including a blank line before
    /// it unless that was discarded.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.at
    }

    /// Returns whether no byte of the request line was consumed. A blank line is not part of it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match self.state {
            State::Start | State::BlankLf => true,
            State::Method => self.at == self.mark,
            _ => false,
        }
    }

    /// Consumes the current byte and starts the next element after it.
    fn begin(&mut self, state: State) {
        self.at += 1;
        self.mark = self.at;
        self.state = state;
    }

    /// RFC 9112 section 2.2: a server should ignore at least one CRLF before the request line. Exactly one is
    /// ignored here.
    fn start(&mut self, byte: u8) {
        match byte {
            b'\r' => self.begin(State::BlankLf),
            _ => self.state = State::Method,
        }
    }

    /// RFC 9112 section 2.2: a recipient may accept a bare LF as the end of a line; it is refused here. A
    /// bare CR must be refused or replaced; it is refused.
    fn lf(&mut self, byte: u8, next: State) -> Result<(), Reject> {
        if byte != b'\n' {
            return Err(Reject::bad("CR without LF in the request head"));
        }
        self.begin(next);
        Ok(())
    }

    /// RFC 9112 section 3: request-line = method SP request-target SP HTTP-version.
    fn method(&mut self, buf: &[u8]) -> Result<(), Reject> {
        match self.skip(buf, TCHAR) {
            None => Ok(()),
            Some(b' ') if self.at > self.mark => {
                self.method = Span::new(self.mark, self.at);
                self.begin(State::Target);
                Ok(())
            }
            Some(_) => Err(Reject::bad("the request does not begin with a method and one space")),
        }
    }

    /// RFC 9112 section 3.2: a path (origin form) or a URL (absolute form). The authority form is for CONNECT
    /// and the asterisk form for OPTIONS, which are not supported.
    fn target(&mut self, byte: u8) {
        self.path = self.at;
        self.state = if byte == b'/' { State::Path } else { State::Scheme };
    }

    /// RFC 9110 section 4.2: schemes are case-insensitive. Only http: by section 7.4 a server refuses an
    /// https target that was not received over TLS. Rescans the few bytes of a scheme received in pieces.
    fn scheme(&mut self, buf: &[u8]) -> Result<(), Reject> {
        let part = &buf[self.mark..buf.len().min(self.mark + SCHEME.len())];
        if !part.eq_ignore_ascii_case(&SCHEME[..part.len()]) {
            return Err(Reject::bad("the request target does not begin with a slash or http://"));
        }
        self.at = self.mark + part.len();
        if part.len() == SCHEME.len() {
            self.path = self.at;
            self.state = State::Authority;
        }
        Ok(())
    }

    /// RFC 3986 section 3.2. An empty host is refused (RFC 9110 section 4.2.1), and so is user
    /// information (section 4.2.4).
    fn authority(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<(), Reject> {
        let start = self.path;
        let Some(byte) = self.skip_target(buf, HOST, limits)? else { return Ok(()) };
        if !matches!(byte, b'/' | b' ') || self.at == start {
            return Err(Reject::bad("the request target is not http://HOST/PATH"));
        }
        self.authority = Span::new(start, self.at);
        if byte == b'/' {
            self.path = self.at;
            self.state = State::Path;
        } else {
            // RFC 9110 section 4.2.3: an empty path means "/". The span is that of the slash before the host.
            self.target = Span::new(start - 1, start);
            self.begin(State::Version);
        }
        Ok(())
    }

    fn path(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<(), Reject> {
        match self.skip_target(buf, TARGET, limits)? {
            None => Ok(()),
            Some(b' ') => {
                self.target = Span::new(self.path, self.at);
                self.begin(State::Version);
                Ok(())
            }
            Some(b'\r' | b'\n') => Err(Reject::bad("the request line has no HTTP version")),
            Some(_) => Err(Reject::bad("the request target has a byte that is not allowed there")),
        }
    }

    /// Skips bytes of `class` in a target, up to its limit. Returns the byte after them, `None` at the end of
    /// `buf`.
    fn skip_target(
        &mut self,
        buf: &[u8],
        class: u8,
        limits: &HeadLimits,
    ) -> Result<Option<u8>, Reject> {
        let end_max = self.mark + usize::from(limits.target_bytes_max);
        let stop = self.skip(&buf[..buf.len().min(end_max)], class).or(buf.get(self.at).copied());
        match stop {
            Some(byte) if is(byte, class) => {
                Err(Reject::new(Status::URI_TOO_LONG, "the request target is too long"))
            }
            stop => Ok(stop),
        }
    }

    /// RFC 9112 section 2.3: HTTP-version = "HTTP" "/" DIGIT "." DIGIT, case-sensitive. Rescans the few bytes
    /// of a version received in pieces.
    fn version(&mut self, buf: &[u8]) -> Result<(), Reject> {
        const SHAPE: &[u8; 9] = b"HTTP/0.0\r";
        let part = &buf[self.mark..buf.len().min(self.mark + SHAPE.len())];
        let fits = |(byte, expected): (&u8, &u8)| match expected {
            b'0' => byte.is_ascii_digit(),
            literal => byte == literal,
        };
        if !part.iter().zip(SHAPE).all(fits) {
            return Err(Reject::bad("the request line does not end in HTTP/x.y CRLF"));
        }
        self.at = self.mark + part.len();
        if part.len() == SHAPE.len() {
            self.version = [part[5] - b'0', part[7] - b'0'];
            self.state = State::RequestLineLf;
        }
        Ok(())
    }

    /// RFC 9112 section 5.2 allows a server to refuse folded lines; section 2.2 requires it to refuse or
    /// ignore white space before the first field.
    fn line_start(&mut self, byte: u8, limits: &HeadLimits) -> Result<(), Reject> {
        match byte {
            b'\r' => self.begin(State::EndLf),
            b' ' | b'\t' => return Err(Reject::bad("a header line begins with white space")),
            _ if !is(byte, TCHAR) => return Err(Reject::bad("a header line begins with no name")),
            _ if self.fields == limits.fields_max => {
                let status = Status::HEADER_FIELDS_TOO_LARGE;
                return Err(Reject::new(status, "the request has too many header fields"));
            }
            _ => {
                self.fields += 1;
                self.mark = self.at;
                self.state = State::Name;
            }
        }
        Ok(())
    }

    /// RFC 9112 section 5.1: a server must refuse white space between field name and colon.
    fn name(&mut self, buf: &[u8]) -> Result<(), Reject> {
        match self.skip(buf, TCHAR) {
            None => Ok(()),
            Some(b':') => {
                self.name = Span::new(self.mark, self.at);
                self.begin(State::Value);
                Ok(())
            }
            Some(b' ' | b'\t') => Err(Reject::bad("white space before the colon of a header")),
            Some(_) => Err(Reject::bad("a header name has a byte that is not allowed there")),
        }
    }

    /// RFC 9110 section 5.5: visible characters, space, HTAB and obs-text. CR, LF and NUL must be refused or
    /// replaced; all control characters but HTAB are refused.
    fn value(&mut self, buf: &[u8]) -> Result<(), Reject> {
        match self.skip(buf, VALUE) {
            None => Ok(()),
            // The mark is kept: it is the start of the value.
            Some(b'\r') => {
                self.at += 1;
                self.state = State::ValueLf;
                Ok(())
            }
            Some(b'\n') => Err(Reject::bad("LF without CR in the request head")),
            Some(_) => Err(Reject::bad("a header value has a control character")),
        }
    }

    /// Skips bytes of `class` and returns the first other byte, `None` at the end of `buf`.
    fn skip(&mut self, buf: &[u8], class: u8) -> Option<u8> {
        let rest = &buf[self.at.min(buf.len())..];
        let count = rest.iter().position(|&byte| !is(byte, class)).unwrap_or(rest.len());
        self.at += count;
        rest.get(count).copied()
    }
}

/// Excludes white space around a field value (RFC 9110 section 5.5).
fn trim(buf: &[u8], start: usize, end: usize) -> Span {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let leading = buf[start..end].iter().take_while(|b| blank(b)).count();
    let start = start + leading;
    let trailing = buf[start..end].iter().rev().take_while(|b| blank(b)).count();
    Span::new(start, end - trailing)
}

/// Bytes of methods and field names (RFC 9110 section 5.6.2).
const TCHAR: u8 = 1;
/// Bytes of field values, including white space (RFC 9110 section 5.5).
const VALUE: u8 = 2;
/// Bytes of path and query (RFC 3986 section 3). Not `#`: a fragment is never sent.
const TARGET: u8 = 4;
/// Bytes of host and port (RFC 3986 section 3.2). Not `@`: user information is refused (RFC 9110 section
/// 4.2.4).
const HOST: u8 = 8;

/// Prefix of a target in absolute form.
const SCHEME: &[u8; 7] = b"http://";

/// Returns whether `value` has only bytes of a host with an optional port; it may be empty.
pub(super) fn is_authority(value: &[u8]) -> bool {
    value.iter().all(|&byte| is(byte, HOST))
}

fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        if byte.is_ascii_alphanumeric() {
            table[i] |= TCHAR | TARGET | HOST;
        }
        if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
            table[i] |= VALUE;
        }
        i += 1;
    }
    table = mark(table, b"!#$%&'*+-.^_`|~", TCHAR);
    table = mark(table, b"-._~!$&'()*+,;=:@/?%", TARGET);
    mark(table, b"-._~!$&'()*+,;=:[]%", HOST)
}

const fn mark(mut table: [u8; 256], bytes: &[u8], class: u8) -> [u8; 256] {
    let mut i = 0;
    while i < bytes.len() {
        table[bytes[i] as usize] |= class;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests;
