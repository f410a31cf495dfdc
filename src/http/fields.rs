//! Collects the header fields that Hayloft uses while a head is received; all others are ignored.
//!
//! This module does not know methods and versions: `head` evaluates the fields when the head is complete.

use super::digits::{self, DigitsError};
use super::reject::Reject;
use super::scan::{self, Field, Span};
use super::status::Status;

/// Value of `Expect` (RFC 9110 section 10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// `100-continue`.
    Continue,
    /// Anything else.
    Unknown,
}

/// `Transfer-Encoding` (RFC 9112 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferEncoding {
    /// One field with the value `chunked`.
    Chunked,
    /// Anything else.
    Other,
}

/// The fields of one head that Hayloft uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields {
    /// `Host`; syntax checked: only bytes of a host and a port.
    pub host: Option<Span>,
    /// `Transfer-Encoding`.
    pub transfer_encoding: Option<TransferEncoding>,
    /// Whether `close` was among the connection options.
    pub close: bool,
    /// Whether `keep-alive` was among the connection options.
    pub keep_alive: bool,
    /// `Expect`.
    pub expect: Option<Expectation>,
    /// `Content-Length` in bytes. An error is reported at the end of the head, since `Transfer-Encoding`
    /// takes precedence.
    pub content_length: Option<Result<u64, Reject>>,
    /// `Content-Type`.
    pub content_type: Option<Span>,
    /// `X-Hayloft-Modified`.
    pub x_hayloft_modified: Option<Span>,
    /// `X-Hayloft-Expires`.
    pub x_hayloft_expires: Option<Span>,
    /// `X-Hayloft-Attributes`.
    pub x_hayloft_attributes: Option<Span>,
    /// `Range`.
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

#[derive(Clone, Copy)]
enum Known {
    Host,
    TransferEncoding,
    Connection,
    Expect,
    ContentLength,
    ContentType,
    Modified,
    Expires,
    Attributes,
    Range,
    IfRange,
    IfMatch,
    IfNoneMatch,
    IfModifiedSince,
    IfUnmodifiedSince,
}

const NAMES: [(&[u8], Known); 15] = [
    (b"host", Known::Host),
    (b"connection", Known::Connection),
    (b"content-length", Known::ContentLength),
    (b"content-type", Known::ContentType),
    (b"x-hayloft-modified", Known::Modified),
    (b"x-hayloft-expires", Known::Expires),
    (b"x-hayloft-attributes", Known::Attributes),
    (b"range", Known::Range),
    (b"if-range", Known::IfRange),
    (b"if-match", Known::IfMatch),
    (b"if-none-match", Known::IfNoneMatch),
    (b"if-modified-since", Known::IfModifiedSince),
    (b"if-unmodified-since", Known::IfUnmodifiedSince),
    (b"expect", Known::Expect),
    (b"transfer-encoding", Known::TransferEncoding),
];

impl Fields {
    /// Processes one field of the head in `buf`.
    ///
    /// # Errors
    /// 400 for a repeated field that may occur once, and for a repeated or malformed `Host`. Errors of
    /// `Content-Length` are kept in the field `content_length`.
    pub fn take(&mut self, buf: &[u8], field: Field) -> Result<(), Reject> {
        let name = field.name.of(buf);
        // RFC 9110 section 5.1: names are case-insensitive.
        let Some((_, known)) = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
        else {
            return Ok(());
        };
        let value = field.value.of(buf);
        match known {
            Known::Host => self.host(value, field.value),
            Known::TransferEncoding => {
                self.transfer_encoding(value);
                Ok(())
            }
            Known::Connection => {
                self.connection(value);
                Ok(())
            }
            Known::Expect => self.expect(value),
            Known::ContentLength => {
                self.content_length(value);
                Ok(())
            }
            Known::ContentType => single(&mut self.content_type, field.value),
            Known::Modified => single(&mut self.x_hayloft_modified, field.value),
            Known::Expires => single(&mut self.x_hayloft_expires, field.value),
            Known::Attributes => single(&mut self.x_hayloft_attributes, field.value),
            Known::Range => single(&mut self.range, field.value),
            Known::IfRange => single(&mut self.if_range, field.value),
            Known::IfMatch => single(&mut self.if_match, field.value),
            Known::IfNoneMatch => single(&mut self.if_none_match, field.value),
            Known::IfModifiedSince => single(&mut self.if_modified_since, field.value),
            Known::IfUnmodifiedSince => single(&mut self.if_unmodified_since, field.value),
        }
    }

    /// RFC 9112 section 3.2: more than one Host, or one with an invalid value, must be answered with 400. All
    /// hosts are served alike: the value is only compared with the authority of the target and with `Origin`.
    fn host(&mut self, value: &[u8], span: Span) -> Result<(), Reject> {
        if self.host.is_some() {
            return Err(Reject::bad("more than one Host header"));
        }
        if !scan::is_authority(value) {
            return Err(Reject::bad("the Host header is malformed"));
        }
        self.host = Some(span);
        Ok(())
    }

    /// RFC 9110 section 7.6.1: a list of case-insensitive tokens, combined over all lines of this name.
    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',') {
            let option = option.trim_ascii();
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// RFC 9112 section 7: names of codings are case-insensitive. A list is not `chunked`, whatever is in it,
    /// nor is a second field.
    fn transfer_encoding(&mut self, value: &[u8]) {
        let is_chunked = self.transfer_encoding.is_none() && value.eq_ignore_ascii_case(b"chunked");
        let coding = if is_chunked { TransferEncoding::Chunked } else { TransferEncoding::Other };
        self.transfer_encoding = Some(coding);
    }

    /// RFC 9110 section 10.1.1: the value is case-insensitive.
    fn expect(&mut self, value: &[u8]) -> Result<(), Reject> {
        if self.expect.is_some() {
            return Err(REPEATED);
        }
        self.expect = Some(match value.eq_ignore_ascii_case(b"100-continue") {
            true => Expectation::Continue,
            false => Expectation::Unknown,
        });
        Ok(())
    }

    /// RFC 9112 section 6.3 allows a recipient to accept a list of equal values. It is refused here, as is a
    /// second field, even with the same number.
    fn content_length(&mut self, value: &[u8]) {
        let length = match self.content_length {
            Some(_) => Err(Reject::bad("more than one Content-Length header")),
            None => digits::parse_decimal(value).map_err(|error| match error {
                DigitsError::Malformed => Reject::bad("the Content-Length is not a number"),
                DigitsError::Overflow => {
                    Reject::new(Status::CONTENT_TOO_LARGE, "the Content-Length is too large")
                }
            }),
        };
        self.content_length = Some(length);
    }
}

const REPEATED: Reject = Reject::bad("a header that may occur only once is repeated");

/// RFC 9110 section 5.3: a field that is not a list must not be repeated. If-Match and If-None-Match are
/// lists; a repeated one is refused all the same: no client sends it, and combining lines would be a source
/// of errors.
fn single(slot: &mut Option<Span>, value: Span) -> Result<(), Reject> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(REPEATED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(lines: &[(&str, &str)]) -> Result<Fields, Reject> {
        let mut fields = Fields::default();
        for (name, value) in lines {
            let buf = format!("{name}{value}");
            let (middle, end) = (name.len() as u16, buf.len() as u16);
            let name = Span { start: 0, end: middle };
            fields.take(buf.as_bytes(), Field { name, value: Span { start: middle, end } })?;
        }
        Ok(fields)
    }

    fn length(values: &[&str]) -> Result<u64, u16> {
        let lines: Vec<_> = values.iter().map(|value| ("Content-Length", *value)).collect();
        collect(&lines).unwrap().content_length.unwrap().map_err(|reject| reject.status.code())
    }

    #[test]
    fn content_length_must_be_exactly_one_number() {
        assert_eq!(length(&["0"]), Ok(0));
        assert_eq!(length(&["18446744073709551615"]), Ok(u64::MAX));
        assert_eq!(length(&["18446744073709551616"]), Err(413));
        for bad in ["", "+1", "-1", "1,1", "1, 1", "0x10", "1 1", "1.0", "one"] {
            assert_eq!(length(&[bad]), Err(400), "{bad:?}");
        }
        assert_eq!(length(&["3", "3"]), Err(400));
        assert_eq!(length(&["99999999999999999999", "3"]), Err(400));
    }

    #[test]
    fn connection_options_are_combined_over_all_lines() {
        let lines = [("connection", "x, Keep-Alive ,,"), ("CONNECTION", "y,\tCLOSE")];
        let fields = collect(&lines).unwrap();
        assert!(fields.close && fields.keep_alive);
        let fields = collect(&[("Connection", "closed, not-keep-alive, close;q")]).unwrap();
        assert!(!fields.close && !fields.keep_alive);
    }

    #[test]
    fn a_repeated_singleton_field_is_refused() {
        for (name, value) in [
            ("Host", "a"),
            ("Content-Type", "a/b"),
            ("X-Hayloft-Modified", "1"),
            ("X-Hayloft-Expires", "1"),
            ("X-Hayloft-Attributes", "AA=="),
            ("Range", "bytes=0-0"),
            ("If-Range", "\"a\""),
            ("If-Match", "\"a\""),
            ("If-None-Match", "\"a\""),
            ("If-Modified-Since", "x"),
            ("If-Unmodified-Since", "x"),
            ("Expect", "100-continue"),
        ] {
            assert!(collect(&[(name, value)]).is_ok(), "{name}");
            let upper = name.to_uppercase();
            let reject = collect(&[(name, value), (&upper, value)]).unwrap_err();
            assert_eq!(reject.status.code(), 400, "{name}");
        }
    }

    #[test]
    fn host_accepts_only_bytes_of_host_and_port() {
        for good in ["", "a", "photos.example:8080", "[::1]:80", "10.0.0.1", "a_b", "%41"] {
            assert!(collect(&[("Host", good)]).is_ok(), "{good:?}");
        }
        for bad in ["a b", "a/b", "user@a", "a\\b", "a?b", "a\tb", "\u{e4}"] {
            assert!(collect(&[("Host", bad)]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn expectations_other_than_100_continue_are_unknown() {
        let expect = |value| collect(&[("Expect", value)]).unwrap().expect;
        assert_eq!(expect("100-Continue"), Some(Expectation::Continue));
        for value in ["", "100-continue, x", "200-ok"] {
            assert_eq!(expect(value), Some(Expectation::Unknown), "{value:?}");
        }
    }

    #[test]
    fn similar_names_are_other_fields() {
        for name in ["Content_Length", "ContentLength", "X-Host", "Host-", "Transfer_Encoding"] {
            let fields = collect(&[(name, "bad value")]).unwrap();
            assert!(
                fields.host.is_none()
                    && fields.transfer_encoding.is_none()
                    && fields.content_length.is_none()
            );
        }
    }

    #[test]
    fn only_one_field_with_one_value_is_chunked() {
        let coding = |values: &[&str]| {
            let lines: Vec<_> = values.iter().map(|value| ("TRANSFER-encoding", *value)).collect();
            collect(&lines).unwrap().transfer_encoding.unwrap()
        };
        assert_eq!(coding(&["chunked"]), TransferEncoding::Chunked);
        assert_eq!(coding(&["Chunked"]), TransferEncoding::Chunked);
        for values in [
            &[""][..],
            &["gzip, chunked"],
            &["chunked, chunked"],
            &["chunked,"],
            &["\"chunked\""],
            &["chunked;q=1"],
            &["identity"],
            &["chunked", "chunked"],
            &["chunked", "identity"],
            &["identity", "chunked"],
        ] {
            assert_eq!(coding(values), TransferEncoding::Other, "{values:?}");
        }
    }
}
