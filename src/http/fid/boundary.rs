//! Boundaries of the parts of a multipart body (RFC 2046 section 5.1).
//!
//! It accepts less than the RFC allows: nothing before the first boundary, no white space after one, and
//! nothing but one CRLF after the last.

use memchr::memmem;

use super::parameters::{Parameters, is_whole_token};
use crate::http::reject::Reject;

/// Largest length of the boundary in a `Content-Type` (RFC 2046 section 5.1.1).
const BOUNDARY_MAX: usize = 70;

const NO_BOUNDARY: Reject =
    Reject::bad("the Content-Type of the form has no boundary of 1 to 70 characters");
const NO_FIRST: Reject = Reject::bad("the form does not begin with its boundary and CRLF");
const AFTER: Reject =
    Reject::bad("the boundary of the form is not followed by CRLF or two hyphens");
const EPILOGUE: Reject = Reject::bad("bytes follow the last boundary of the form");

/// What follows a delimiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterDelimiter {
    /// Not known yet: more bytes are needed.
    More,
    /// The head of another part, after two bytes.
    Part,
    /// The end of the body, after two bytes; at most one CRLF follows.
    Last,
}

/// The boundary of a multipart body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// CRLF, two hyphens and the boundary: what ends a part.
    delimiter: Box<[u8]>,
}

impl Boundary {
    /// Takes the boundary out of the value of `Content-Type`; `None` if that is not `multipart/form-data`.
    ///
    /// # Errors
    /// 400 if it is, and has no boundary or a malformed one.
    pub fn of_form(content_type: &[u8]) -> Option<Result<Self, Reject>> {
        const FORM: &[u8] = b"multipart/form-data";
        let media_type = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
        if !media_type.trim_ascii().eq_ignore_ascii_case(FORM) {
            return None;
        }
        let parameters = Parameters::parse(content_type);
        Some(parameters.and_then(|it| Self::of_parameters(&it)).ok_or(NO_BOUNDARY))
    }

    fn of_parameters(parameters: &Parameters<'_>) -> Option<Self> {
        let boundary = parameters.single(b"boundary").ok()??;
        let value = &*boundary.value;
        let is_valid = (boundary.is_quoted || is_whole_token(value))
            && (1..=BOUNDARY_MAX).contains(&value.len())
            && value.iter().all(|&byte| is_boundary_byte(byte))
            && value.last() != Some(&b' ');
        is_valid.then(|| Self { delimiter: [b"\r\n--", value].concat().into() })
    }

    /// Returns whether `bytes` begin with the boundary, as only the first one of a body may without a CRLF in
    /// front. `None` if more bytes are needed.
    ///
    /// A line of the head of a part, or the data of a part, that begins so is a boundary to some parsers.
    #[must_use]
    pub fn begins(&self, bytes: &[u8]) -> Option<bool> {
        let line = &self.delimiter[2..];
        let len = line.len().min(bytes.len());
        if bytes[..len] != line[..len] {
            return Some(false);
        }
        (len == line.len()).then_some(true)
    }

    /// Length of a delimiter (bytes), without the two bytes that follow it.
    #[must_use]
    pub fn delimiter_len(&self) -> usize {
        self.delimiter.len()
    }

    /// Length of the usual end of a body (bytes): the last delimiter, two hyphens, CRLF.
    #[must_use]
    pub fn closing_len(&self) -> usize {
        self.delimiter.len() + 4
    }

    /// Number of bytes before the head of the first part: the first boundary and CRLF. `None` if more bytes
    /// are needed.
    ///
    /// # Errors
    /// 400 if the body begins with anything else.
    pub fn opening(&self, bytes: &[u8]) -> Result<Option<usize>, Reject> {
        let opening = [&self.delimiter[2..], b"\r\n"].concat();
        let len = opening.len().min(bytes.len());
        if bytes[..len] != opening[..len] {
            return Err(NO_FIRST);
        }
        Ok((len == opening.len()).then_some(len))
    }

    /// Finds the first delimiter.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Option<usize> {
        memmem::find(bytes, &self.delimiter)
    }

    /// Length of the longest end of `bytes` with which a delimiter may begin (bytes).
    #[must_use]
    pub fn begun_at_end(&self, bytes: &[u8]) -> usize {
        let most = (self.delimiter.len() - 1).min(bytes.len());
        let ends = (1..=most).rev();
        ends.into_iter()
            .find(|&len| self.delimiter.starts_with(&bytes[bytes.len() - len..]))
            .unwrap_or(0)
    }

    /// What the bytes after a delimiter begin with.
    ///
    /// # Errors
    /// 400 if it is neither of the two that there are.
    pub fn after_delimiter(bytes: &[u8]) -> Result<AfterDelimiter, Reject> {
        match bytes {
            [] | [b'\r'] | [b'-'] => Ok(AfterDelimiter::More),
            [b'\r', b'\n', ..] => Ok(AfterDelimiter::Part),
            [b'-', b'-', ..] => Ok(AfterDelimiter::Last),
            _ => Err(AFTER),
        }
    }

    /// Checks what follows the two hyphens after the last delimiter, up to the end of the body.
    ///
    /// # Errors
    /// 400 if there is anything but one CRLF.
    pub fn check_epilogue(bytes: &[u8]) -> Result<(), Reject> {
        if matches!(bytes, b"" | b"\r\n") { Ok(()) } else { Err(EPILOGUE) }
    }
}

/// RFC 2046 section 5.1.1: bchars.
fn is_boundary_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundary(content_type: &str) -> Option<Result<String, Reject>> {
        let text = |it: Boundary| String::from_utf8_lossy(&it.delimiter[4..]).into_owned();
        Boundary::of_form(content_type.as_bytes()).map(|it| it.map(text))
    }

    #[test]
    fn boundary_is_taken_out_of_the_content_type() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=abc", "abc"),
            ("Multipart/Form-Data;BOUNDARY=abc", "abc"),
            ("multipart/form-data; charset=utf-8; boundary=\"a b:c\"", "a b:c"),
            ("multipart/form-data; x=\"; boundary=a\"; boundary=b", "b"),
            (
                "multipart/form-data; boundary=----WebKitFormBoundary7MA4",
                "----WebKitFormBoundary7MA4",
            ),
        ] {
            assert_eq!(boundary(content_type), Some(Ok(expected.to_owned())), "{content_type}");
        }
        for content_type in
            ["", "image/jpeg", "multipart/mixed; boundary=a", "multipart/form-data2"]
        {
            assert_eq!(boundary(content_type), None, "{content_type}");
        }
        let long = format!("multipart/form-data; boundary={}", "a".repeat(71));
        for content_type in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"\"",
            "multipart/form-data; boundary=\"a \"",
            "multipart/form-data; boundary=a\"b",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; xboundary=a",
            "multipart/form-data; boundary=a b",
            "multipart/form-data; boundary=a/b",
            "multipart/form-data; x=\"; boundary=a",
            "multipart/form-data; x=\"; boundary=a;\"",
            "multipart/form-data; boundary=a; x",
            &long,
        ] {
            assert_eq!(boundary(content_type), Some(Err(NO_BOUNDARY)), "{content_type}");
        }
    }

    fn abc() -> Boundary {
        Boundary::of_form(b"multipart/form-data; boundary=abc").unwrap().unwrap()
    }

    #[test]
    fn a_body_begins_with_the_boundary() {
        let opening = b"--abc\r\nContent-";
        for len in 0..7 {
            assert_eq!(abc().opening(&opening[..len]), Ok(None), "{len}");
        }
        assert_eq!(abc().opening(opening), Ok(Some(7)));
        for bad in ["x", "\r\n--abc\r\n", "--abd", "--abc \r\n", "--abc--\r\n", "--abc\n"] {
            assert_eq!(abc().opening(bad.as_bytes()), Err(NO_FIRST), "{bad:?}");
        }
    }

    #[test]
    fn a_boundary_at_the_begin_of_a_line_is_known() {
        for (bytes, expected) in [
            ("", None),
            ("--ab", None),
            ("--abc", Some(true)),
            ("--abcd", Some(true)),
            ("--abd", Some(false)),
            ("\r\n--abc", Some(false)),
        ] {
            assert_eq!(abc().begins(bytes.as_bytes()), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_delimiter_is_found_also_if_it_is_cut_off() {
        assert_eq!(abc().find(b"12\r\n--ab\r\n--abc"), Some(8));
        assert_eq!(abc().find(b"12\r\n--ab"), None);
        for (bytes, expected) in [
            ("", 0),
            ("x", 0),
            ("x\r", 1),
            ("\r\n", 2),
            ("x\r\n--ab", 6),
            ("\r\r", 1),
            ("\r\n-\r", 1),
        ] {
            assert_eq!(abc().begun_at_end(bytes.as_bytes()), expected, "{bytes:?}");
        }
        assert_eq!(abc().delimiter_len(), 7);
        assert_eq!(abc().closing_len(), "\r\n--abc--\r\n".len());
    }

    #[test]
    fn after_a_delimiter_comes_a_part_or_the_end() {
        for (bytes, expected) in [
            ("", Ok(AfterDelimiter::More)),
            ("\r", Ok(AfterDelimiter::More)),
            ("-", Ok(AfterDelimiter::More)),
            ("\r\n", Ok(AfterDelimiter::Part)),
            ("--", Ok(AfterDelimiter::Last)),
            ("x", Err(AFTER)),
            (" \r\n", Err(AFTER)),
            ("\rx", Err(AFTER)),
            ("-x", Err(AFTER)),
        ] {
            assert_eq!(Boundary::after_delimiter(bytes.as_bytes()), expected, "{bytes:?}");
        }
        assert!(Boundary::check_epilogue(b"").is_ok() && Boundary::check_epilogue(b"\r\n").is_ok());
        for bytes in ["x", "\r\nx", "\n", "\r", "\r\n\r\n"] {
            assert_eq!(Boundary::check_epilogue(bytes.as_bytes()), Err(EPILOGUE), "{bytes:?}");
        }
    }
}
