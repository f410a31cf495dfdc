//! The head of an answer.

use std::mem::MaybeUninit;

use httparse::{ParserConfig, Response, Status};

/// Fields that a target may send.
const FIELDS_MAX: usize = 64;

/// What matters of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its length (bytes).
    pub len: usize,
    /// The status.
    pub status: u16,
    /// Length of the body that follows (bytes).
    pub body: u64,
    /// Whether the connection ends with this answer.
    pub closes: bool,
}

/// Why an answer cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbled {
    /// It is no HTTP/1.
    Malformed,
    /// Nothing says how long its body is.
    NoLength,
}

/// Parses a head at the beginning of `bytes`; nothing when more must come.
///
/// # Errors
/// [`Garbled`].
pub fn parse(bytes: &[u8]) -> Result<Option<Head>, Garbled> {
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
        Err(_) => return Err(Garbled::Malformed),
    };
    let status = response.code.ok_or(Garbled::Malformed)?;
    let (mut length, mut closes) = (None, response.version == Some(0));
    for field in response.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(field.value).map_err(|_| Garbled::Malformed)?;
            length = Some(text.trim().parse().map_err(|_| Garbled::Malformed)?);
        } else if field.name.eq_ignore_ascii_case("connection") {
            closes = field.value.eq_ignore_ascii_case(b"close");
        }
    }
    // RFC 9112 section 6.3: these have no body.
    let body = match (status, length) {
        (100..=199 | 204 | 304, _) => 0,
        (_, Some(length)) => length,
        (_, None) => return Err(Garbled::NoLength),
    };
    Ok(Some(Head { len, status, body, closes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_wherever_they_are_cut() {
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
    fn what_cannot_be_framed_is_refused() {
        assert_eq!(parse(b"SSH-2.0-x\r\n"), Err(Garbled::Malformed));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(parse(chunked), Err(Garbled::NoLength));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), Err(Garbled::Malformed));
    }
}
