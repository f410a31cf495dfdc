//! The head of the response of another node to a change.

/// Longest head of a response that is received (bytes).
pub const ANSWER_HEAD_MAX: usize = 8 << 10;
/// Number of header fields in it.
const FIELDS_MAX: usize = 64;

/// The head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerHead {
    /// Status code.
    pub status: u16,
    /// Length of the head (bytes).
    pub len: usize,
    /// Length of the body (bytes); `None` if only the end of the connection or a coding shows it.
    pub body_len: Option<usize>,
    /// Whether the connection can be used again.
    pub keeps_open: bool,
}

/// A response that is malformed, or longer than expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl AnswerHead {
    /// Parses the head of a response to a request other than HEAD; `None` if it is not complete.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let len = match response.parse(bytes) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if bytes.len() < ANSWER_HEAD_MAX => return Ok(None),
            _ => return Err(Malformed),
        };
        let (Some(status), Some(version)) = (response.code, response.version) else {
            return Err(Malformed);
        };
        let value = |name: &str| {
            let mut fields = response.headers.iter();
            let field = fields.find(|field| field.name.eq_ignore_ascii_case(name));
            field.map(|field| field.value.trim_ascii())
        };
        let stated = match value("content-length") {
            Some(text) => {
                let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
                Some(text.parse().map_err(|_| Malformed)?)
            }
            None => None,
        };
        let has_no_body = matches!(status, 100..=199 | 204 | 304);
        let body_len = match (has_no_body, value("transfer-encoding")) {
            (true, _) => Some(0),
            (false, None) => stated,
            (false, Some(_)) => None,
        };
        let closes = value("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
        let keeps_open = version == 1 && !closes && body_len.is_some();
        Ok(Some(Self { status, len, body_len, keeps_open }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<(u16, Option<usize>, bool)>, Malformed> {
        let head = AnswerHead::parse(text.as_bytes())?;
        Ok(head.map(|head| {
            assert_eq!(head.len, text.len());
            (head.status, head.body_len, head.keeps_open)
        }))
    }

    #[test]
    fn head_tells_status_length_and_whether_the_connection_stays() {
        for (text, expected) in [
            ("HTTP/1.1 201 Created\r\ncontent-length: 7\r\n\r\n", (201, Some(7), true)),
            ("HTTP/1.1 204 No Content\r\n\r\n", (204, Some(0), true)),
            (
                "HTTP/1.1 500 E\r\nContent-Length: 2\r\nConnection: Close\r\n\r\n",
                (500, Some(2), false),
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", (200, None, false)),
            ("HTTP/1.1 200 OK\r\n\r\n", (200, None, false)),
            ("HTTP/1.0 201 Created\r\nContent-Length: 0\r\n\r\n", (201, Some(0), false)),
        ] {
            assert_eq!(parsed(text), Ok(Some(expected)), "{text}");
            assert_eq!(AnswerHead::parse(&text.as_bytes()[..text.len() - 1]), Ok(None));
        }
    }

    #[test]
    fn what_is_no_response_is_malformed() {
        for text in ["GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"] {
            assert_eq!(parsed(text), Err(Malformed), "{text}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(ANSWER_HEAD_MAX));
        assert_eq!(parsed(&endless), Err(Malformed));
    }
}
