//! Parser for response heads.

use std::mem::MaybeUninit;

use httparse::{ParserConfig, Response, Status};

/// Maximum number of fields in a response head.
const FIELDS_MAX: usize = 64;

/// Parsed response head, as far as the generator needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Length of the head (bytes).
    pub len: usize,
    /// HTTP status.
    pub status: u16,
    /// Length of the body that follows (bytes).
    pub body: u64,
    /// Whether the server closes the connection after this response.
    pub closes: bool,
}

/// Why a response head cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// It is not HTTP/1.
    Malformed,
    /// It has no `Content-Length`.
    NoLength,
}

/// Parses a head at the beginning of `bytes`; `None` when it is incomplete.
///
/// # Errors
/// [`ParseError`] when the head is invalid or has no body length.
pub fn parse(bytes: &[u8]) -> Result<Option<Head>, ParseError> {
    let mut fields = [MaybeUninit::uninit(); FIELDS_MAX];
    let mut response = Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut fields,
    );
    let len = match parsed {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(ParseError::Malformed),
    };
    let status = response.code.ok_or(ParseError::Malformed)?;
    let (mut length, mut closes) = (None, response.version == Some(0));
    for field in response.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(field.value).map_err(|_| ParseError::Malformed)?;
            length = Some(text.trim().parse().map_err(|_| ParseError::Malformed)?);
        } else if field.name.eq_ignore_ascii_case("connection") {
            closes = field.value.eq_ignore_ascii_case(b"close");
        }
    }
    // RFC 9112 section 6.3: responses with these statuses have no body.
    let body = match (status, length) {
        (100..=199 | 204 | 304, _) => 0,
        (_, Some(length)) => length,
        (_, None) => return Err(ParseError::NoLength),
    };
    Ok(Some(Head { len, status, body, closes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_parsed_once_they_are_complete() {
        let bytes = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 8192\r\n\r\nBODY";
        let head = Head { len: bytes.len() - 4, status: 200, body: 8192, closes: false };
        for len in 0..head.len {
            assert_eq!(parse(&bytes[..len]), Ok(None), "{len}");
        }
        assert_eq!(parse(bytes), Ok(Some(head)));
        let closing = b"HTTP/1.1 503 S\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(
            parse(closing).unwrap().map(|head| (head.status, head.closes)),
            Some((503, true))
        );
        let none = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(parse(none).unwrap().map(|head| head.body), Some(0));
    }

    #[test]
    fn responses_without_framing_are_rejected() {
        assert_eq!(parse(b"SSH-2.0-x\r\n"), Err(ParseError::Malformed));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(parse(chunked), Err(ParseError::NoLength));
        assert_eq!(
            parse(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
            Err(ParseError::Malformed)
        );
    }
}
