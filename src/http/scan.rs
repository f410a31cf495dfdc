//! The grammar of a request head (RFC 9112 sections 2 to 5): an automaton over its bytes that
//! yields the header fields one by one.
//!
//! It accepts less than the RFC allows a recipient to accept, since what two parsers read
//! differently is what request smuggling lives on: lines end in CRLF, never a bare LF; fields are
//! not folded; a fault is never repaired.
//!
//! Every decision depends only on the bytes up to the one it is made at. A stream therefore gives
//! the same result however it is cut into pieces, and the work grows with its length, not with the
//! number of pieces.
//!
//! This module does not know what any field means, nor which methods and versions are served.

use super::reject::Reject;
use super::status::Status;
use crate::limits;

/// A range of bytes in the buffer that holds the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Index of the first byte.
    pub start: u16,
    /// Index behind the last byte.
    pub end: u16,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        let index = |i| u16::try_from(i).expect("a head is never longer than a u16 can say");
        Self { start: index(start), end: index(end) }
    }

    /// The bytes of this span in `buf`, the buffer that was parsed.
    #[must_use]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        &buf[usize::from(self.start)..usize::from(self.end)]
    }
}

/// Bounds on a request head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Largest head in bytes, from the first byte to the blank line inclusive; beyond it 431.
    pub head_bytes_max: u16,
    /// Largest number of header fields; beyond it 431.
    pub fields_max: u16,
    /// Largest request target in bytes; beyond it 414.
    pub target_bytes_max: u16,
}

impl HeadLimits {
    /// The bounds of the contract.
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

/// One header field; white space around the value is not part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// The field name, in whatever case it came.
    pub name: Span,
    /// The field value; may be empty.
    pub value: Span,
}

/// What the scan came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// All bytes are consumed and the head goes on.
    More,
    /// A header field ended.
    Field(Field),
    /// The head ended; [`Scan::consumed`] is its length.
    End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before anything: one blank line may come (RFC 9112 section 2.2).
    #[default]
    Start,
    BlankLf,
    Method,
    /// The first byte of the target, which says what form it has.
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

/// How far the scan got, and the parts of the request line. Starts with `Scan::default()`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    state: State,
    /// Bytes of the head that were read before and forgotten.
    forgotten: usize,
    /// The next byte to look at.
    at: usize,
    /// Where the current element began.
    mark: usize,
    /// Where the path of the target begins.
    path: usize,
    fields: u16,
    method: Span,
    authority: Span,
    target: Span,
    version: [u8; 2],
    name: Span,
}

impl Scan {
    /// A scan that begins behind the one blank line that may come, whose bytes are gone.
    #[must_use]
    pub fn behind_blank_line() -> Self {
        Self { state: State::Method, forgotten: 2, ..Self::default() }
    }

    /// Goes on to the next event. `buf` holds the head from its first byte that was not forgotten, as far
    /// as it arrived.
    pub fn step(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<Event, Reject> {
        let bytes_max = usize::from(limits.head_bytes_max) - self.forgotten;
        // Bytes beyond the limit must not matter: whether they are here already is chance.
        let buf = &buf[..buf.len().min(bytes_max)];
        assert!(self.at <= buf.len(), "the buffer of a head must not shrink");
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
                State::Done => unreachable!("the head has ended; the next one has its own scan"),
            }
        }
        if buf.len() == bytes_max {
            let status = Status::HEADER_FIELDS_TOO_LARGE;
            return Err(Reject::new(status, "the request head is too long"));
        }
        Ok(Event::More)
    }

    /// The method, once it and the space behind it were seen.
    #[must_use]
    pub fn method_span(&self) -> Option<Span> {
        (self.method.end > 0).then_some(self.method)
    }

    /// The authority of a target in absolute form, once it was seen whole.
    #[must_use]
    pub fn authority_span(&self) -> Option<Span> {
        (self.authority.end > 0).then_some(self.authority)
    }

    /// The path of the request target (and its query), once it and the space behind it were seen.
    #[must_use]
    pub fn target_span(&self) -> Option<Span> {
        (self.target.end > 0).then_some(self.target)
    }

    /// The digits x and y of `HTTP/x.y`; meaningful after the request line.
    #[must_use]
    pub fn version_digits(&self) -> [u8; 2] {
        self.version
    }

    /// Bytes consumed: after [`Event::End`] the length of the head, a blank line before it included.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.at
    }

    /// Whether the request line has not begun. A blank line does not begin it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match self.state {
            State::Start | State::BlankLf => true,
            State::Method => self.at == self.mark,
            _ => false,
        }
    }

    /// Begins the next element behind the byte at hand.
    fn begin(&mut self, state: State) {
        self.at += 1;
        self.mark = self.at;
        self.state = state;
    }

    /// RFC 9112 section 2.2: a server should ignore at least one CRLF before the request line; we
    /// ignore exactly one.
    fn start(&mut self, byte: u8) {
        match byte {
            b'\r' => self.begin(State::BlankLf),
            _ => self.state = State::Method,
        }
    }

    /// RFC 9112 section 2.2: a recipient may take a bare LF for the end of a line; we do not. A
    /// bare CR must be refused or replaced; we refuse it.
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

    /// RFC 9112 section 3.2: a path (origin form), or a URL (absolute form). The authority form is
    /// for CONNECT and the asterisk for OPTIONS, neither of which is served.
    fn target(&mut self, byte: u8) {
        self.path = self.at;
        self.state = if byte == b'/' { State::Path } else { State::Scheme };
    }

    /// RFC 9110 section 4.2: schemes are case-insensitive. Only http: section 7.4 has a server refuse an
    /// https target that did not come over TLS. Looks again at the few bytes of a scheme that arrives
    /// in pieces.
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
            // RFC 9110 section 4.2.3: no path is the path "/", which is what precedes the host.
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

    /// Passes over bytes of `class` in a target, as many as it may have.
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

    /// RFC 9112 section 2.3: HTTP-version = "HTTP" "/" DIGIT "." DIGIT, case-sensitive. Looks again
    /// at the few bytes of a version that arrives in pieces.
    fn version(&mut self, buf: &[u8]) -> Result<(), Reject> {
        const SHAPE: &[u8; 9] = b"HTTP/0.0\r";
        let part = &buf[self.mark..buf.len().min(self.mark + SHAPE.len())];
        let fits = |(byte, place): (&u8, &u8)| match place {
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

    /// RFC 9112 section 5.2 lets a server refuse folded lines; section 2.2 makes it refuse or
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

    /// RFC 9112 section 5.1: a server must refuse white space between name and colon.
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

    /// RFC 9110 section 5.5: visible characters, space, HTAB and obs-text; CR, LF and NUL must be
    /// refused or replaced, and we refuse the other control characters too.
    fn value(&mut self, buf: &[u8]) -> Result<(), Reject> {
        match self.skip(buf, VALUE) {
            None => Ok(()),
            // The mark stays: the value reaches back to it.
            Some(b'\r') => {
                self.at += 1;
                self.state = State::ValueLf;
                Ok(())
            }
            Some(b'\n') => Err(Reject::bad("LF without CR in the request head")),
            Some(_) => Err(Reject::bad("a header value has a control character")),
        }
    }

    /// Passes over bytes of `class` and returns the first other one, `None` at the end of `buf`.
    fn skip(&mut self, buf: &[u8], class: u8) -> Option<u8> {
        let rest = &buf[self.at.min(buf.len())..];
        let count = rest.iter().position(|&byte| !is(byte, class)).unwrap_or(rest.len());
        self.at += count;
        rest.get(count).copied()
    }
}

/// RFC 9110 section 5.5: white space around a value is not part of it.
fn trim(buf: &[u8], start: usize, end: usize) -> Span {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let leading = buf[start..end].iter().take_while(|b| blank(b)).count();
    let start = start + leading;
    let trailing = buf[start..end].iter().rev().take_while(|b| blank(b)).count();
    Span::new(start, end - trailing)
}

/// RFC 9110 section 5.6.2: what methods and field names are made of.
const TCHAR: u8 = 1;
/// RFC 9110 section 5.5: what field values are made of, white space within included.
const VALUE: u8 = 2;
/// RFC 3986 section 3: path and query. No `#`: a fragment is never sent.
const TARGET: u8 = 4;
/// RFC 3986 section 3.2: what a host and a port are made of. No `@`: user information is refused
/// (RFC 9110 section 4.2.4).
const HOST: u8 = 8;

/// What a target in absolute form begins with.
const SCHEME: &[u8; 7] = b"http://";

/// Whether `value` may be a host with or without a port.
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
mod tests {
    use super::*;

    /// All events of `bytes`, which arrive at once.
    fn events(bytes: &[u8]) -> Result<Vec<(String, String)>, Reject> {
        let mut scan = Scan::default();
        let text = |span: Span| String::from_utf8_lossy(span.of(bytes)).into_owned();
        let mut fields = Vec::new();
        loop {
            match scan.step(bytes, &HeadLimits::DEFAULT)? {
                Event::More => return Ok(fields),
                Event::Field(field) => fields.push((text(field.name), text(field.value))),
                Event::End => {
                    fields.push(("end".to_owned(), scan.consumed().to_string()));
                    return Ok(fields);
                }
            }
        }
    }

    #[test]
    fn fields_come_one_by_one_with_trimmed_values() {
        let got = events(b"GET / HTTP/1.1\r\nA:\t b c \t\r\nb-1:\r\nC:  \r\n\r\nrest").unwrap();
        let want = [("A", "b c"), ("b-1", ""), ("C", ""), ("end", "41")];
        assert_eq!(got, want.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_classes_are_those_of_the_rfc() {
        for byte in 0..=255u8 {
            let tchar = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is(byte, TCHAR), tchar, "{byte:#x}");
            let value = byte == b'\t' || byte == b' ' || byte.is_ascii_graphic() || byte >= 0x80;
            assert_eq!(is(byte, VALUE), value, "{byte:#x}");
            let target = byte.is_ascii_graphic() && !b"\"#<>[\\]^`{|}".contains(&byte);
            assert_eq!(is(byte, TARGET), target, "{byte:#x}");
            let host = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(&byte);
            assert_eq!(is(byte, HOST), host, "{byte:#x}");
        }
    }

    #[test]
    fn a_target_is_a_path_with_or_without_a_host() {
        for (target, authority, path) in [
            ("/1", None, "/1"),
            ("/http://a/", None, "/http://a/"),
            ("http://a/1/2?x", Some("a"), "/1/2?x"),
            ("HTTP://A:80/", Some("A:80"), "/"),
            ("http://[::1]:80/1", Some("[::1]:80"), "/1"),
            ("http://a//b", Some("a"), "//b"),
            ("http://a", Some("a"), "/"),
        ] {
            let bytes = format!("GET {target} HTTP/1.1\r\n");
            let bytes = bytes.as_bytes();
            let mut scan = Scan::default();
            for end in 0..=bytes.len() {
                assert_eq!(scan.step(&bytes[..end], &HeadLimits::DEFAULT), Ok(Event::More));
            }
            let text =
                |span: Option<Span>| span.map(|span| str::from_utf8(span.of(bytes)).unwrap());
            assert_eq!(text(scan.authority_span()), authority, "{target}");
            assert_eq!(text(scan.target_span()), Some(path), "{target}");
        }
    }

    #[test]
    fn a_blank_line_counts_also_when_it_is_forgotten() {
        let mut head = b"\r\nGET / HTTP/1.1\r\nA: ".to_vec();
        head.resize(usize::from(HeadLimits::DEFAULT.head_bytes_max) - 4, b'a');
        for too_long in [false, true] {
            let bytes = [&head[..], if too_long { &b"a"[..] } else { b"" }, b"\r\n\r\n"].concat();
            for (mut scan, bytes) in
                [(Scan::default(), &bytes[..]), (Scan::behind_blank_line(), &bytes[2..])]
            {
                let first = scan.step(bytes, &HeadLimits::DEFAULT);
                let end = first.and_then(|_| scan.step(bytes, &HeadLimits::DEFAULT));
                assert_eq!(
                    end.map_err(|reject| reject.status.code()),
                    if too_long { Err(431) } else { Ok(Event::End) }
                );
            }
        }
        let second = Scan::behind_blank_line().step(b"\r\n", &HeadLimits::DEFAULT);
        assert_eq!(second.unwrap_err().status.code(), 400);
    }

    #[test]
    fn a_fault_is_reported_at_its_byte() {
        for (bytes, faulty) in [
            ("\x16\x03\x01", 1),
            ("\r\n\r", 3),
            ("GET\t", 4),
            ("GET  ", 5),
            ("GET ftp://", 5),
            ("GET https://", 9),
            ("GET http:///", 12),
            ("GET http://a@", 13),
            ("GET http://a?", 13),
            ("GET /a\r", 7),
            ("GET / http", 7),
            ("GET / HTTP/1.10", 15),
            ("GET / HTTP/1.1\n", 15),
            ("GET / HTTP/1.1\r\n A", 17),
            ("GET / HTTP/1.1\r\nA :", 18),
            ("GET / HTTP/1.1\r\nA: \0", 20),
            ("GET / HTTP/1.1\r\nA: \r\r", 21),
            ("GET / HTTP/1.1\r\n\r\r", 18),
        ] {
            assert!(events(&bytes.as_bytes()[..faulty - 1]).is_ok(), "{bytes:?}");
            let reject = events(&bytes.as_bytes()[..faulty]).unwrap_err();
            assert_eq!(reject.status, Status::BAD_REQUEST, "{bytes:?}");
        }
    }

    #[test]
    fn every_byte_is_consumed_as_it_comes() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n";
        let mut scan = Scan::default();
        for end in 1..=head.len() {
            while scan.step(&head[..end], &HeadLimits::DEFAULT).unwrap() != Event::More {}
            assert_eq!(scan.consumed(), end);
        }
    }
}
