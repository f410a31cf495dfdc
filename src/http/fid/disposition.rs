//! `Content-Disposition`: the file name of an uploaded part (RFC 7578 section 4.2), and of a response (RFC
//! 6266).
//!
//! Go's clients write `form-data; filename=p.jpg; name=file`, browsers and curl `form-data; name="file";
//! filename="p.jpg"`, and names beyond ASCII come raw in quotes or as RFC 8187 has them.

use super::parameters::{Parameters, is_token};
use super::percent::percent_decoded;

/// Largest length of a file name (bytes).
const NAME_MAX: usize = 255;

/// The file name in a `Content-Disposition`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileName {
    /// There is no parameter `filename`: a field of the form.
    Absent,
    /// The name, possibly empty: the last segment of what was sent, at most 255 bytes of UTF-8.
    Named(Box<str>),
    /// The field is malformed, or the name is too long or no UTF-8.
    Malformed,
}

impl FileName {
    /// Parses the value of a `Content-Disposition`.
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        let Some(parameters) = Parameters::parse(value) else { return Self::Malformed };
        let found = (parameters.single(b"filename*"), parameters.single(b"filename"));
        let (Ok(extended), Ok(plain)) = found else { return Self::Malformed };
        // RFC 6266 section 4.3: filename* takes precedence.
        let name = match (extended, plain) {
            (Some(extended), _) => extended_value(&extended.value),
            (None, Some(plain)) => String::from_utf8(plain.value.clone()).ok(),
            (None, None) => return Self::Absent,
        };
        let Some(name) = name else { return Self::Malformed };
        // As Go's path.Base: a client may send a whole path, of which only the last segment counts.
        let name = name.rsplit('/').next().unwrap_or_default();
        if name.len() > NAME_MAX || name.chars().any(char::is_control) {
            return Self::Malformed;
        }
        Self::Named(name.into())
    }
}

/// Decodes an extended value (RFC 8187 section 3.2), whose character set must be UTF-8.
fn extended_value(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |&byte| byte == b'\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case(b"utf-8") {
        return None;
    }
    String::from_utf8(percent_decoded(text)?.into_owned()).ok()
}

/// Writes the value of the `Content-Disposition` of a response with this file name to the end of `out`, as
/// Go's `mime.FormatMediaType` does: a name of only token characters as it is, other ASCII quoted, anything
/// else in the form of RFC 8187.
pub fn write_disposition(name: &str, is_download: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if is_download { b"attachment" } else { b"inline" });
    if !name.is_empty() {
        write_file_name(name, out);
    }
}

/// Appends the value of `Content-Disposition` of the file of a form. An empty name is written, too: without
/// one, the part would be no file.
pub fn write_disposition_of_form(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"form-data; name=file");
    write_file_name(name, out);
}

/// Appends the parameter with a file name (RFC 6266 section 4.3).
fn write_file_name(name: &str, out: &mut Vec<u8>) {
    if !name.is_ascii() {
        out.extend_from_slice(b"; filename*=utf-8''");
        for byte in name.bytes() {
            match byte {
                _ if is_token(byte) && !b"*'%".contains(&byte) => out.push(byte),
                _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            }
        }
        return;
    }
    out.extend_from_slice(b"; filename=");
    if !name.is_empty() && name.bytes().all(is_token) {
        return out.extend_from_slice(name.as_bytes());
    }
    out.push(b'"');
    for byte in name.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(name: &str) -> FileName {
        FileName::Named(name.into())
    }

    #[test]
    fn file_names_of_all_clients_are_parsed() {
        for (value, expected) in [
            ("form-data; filename=p.jpg; name=file", named("p.jpg")),
            ("form-data; name=\"file\"; filename=\"p.jpg\"", named("p.jpg")),
            ("form-data; filename=\"\"; name=\"file\"", named("")),
            ("form-data; name=\"file\"; filename=\"a;b \\\"c\\\".jpg\"", named("a;b \"c\".jpg")),
            ("form-data; name=file; FileName=\"x\"", named("x")),
            ("form-data; filename=\"gr\u{fc}n.jpg\"", named("gr\u{fc}n.jpg")),
            ("form-data; filename*=UTF-8''gr%C3%BCn%20a.jpg; name=file", named("gr\u{fc}n a.jpg")),
            ("form-data; filename=a; filename*=utf-8'en'b", named("b")),
            ("form-data; filename=/tmp/x/p.jpg", named("p.jpg")),
            ("form-data; filename=\"C:\\x\\p.jpg\"", named("C:\\x\\p.jpg")),
            ("form-data; filename=.", named(".")),
            ("form-data; name=field", FileName::Absent),
            ("form-data", FileName::Absent),
            ("form-data;", FileName::Absent),
        ] {
            assert_eq!(FileName::parse(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn malformed_names_are_found() {
        let long = format!("form-data; filename={}", "a".repeat(256));
        for value in [
            "form-data; filename",
            "form-data; filename=a; filename=b",
            "form-data; filename*=UTF-8''a; FileName*=UTF-8''b",
            "form-data; filename=a\"b",
            "form-data; a b=c; filename=d",
            "form-data; =c; filename=d",
            "form-data;; filename=d",
            "\"form-data; filename=d\"",
            "; filename=d",
            "filename=d",
            "form-data; filename=\"p.jpg",
            "form-data; filename=\"a\"b; name=file",
            "form-data; filename=\"a\tb\"",
            "form-data; filename*=latin1''a",
            "form-data; filename*=UTF-8''%C3",
            "form-data; filename*=UTF-8''%0d%0a",
            "form-data; filename*=abc",
            &long,
        ] {
            assert_eq!(FileName::parse(value.as_bytes()), FileName::Malformed, "{value}");
        }
        let bytes = b"form-data; filename=\"\xff\"";
        assert_eq!(FileName::parse(bytes), FileName::Malformed);
        let longest = "a".repeat(255);
        assert_eq!(FileName::parse(format!("x; filename={longest}").as_bytes()), named(&longest));
    }

    #[test]
    fn dispositions_are_written_as_go_writes_them() {
        for (name, is_download, expected) in [
            ("p.jpg", false, "inline; filename=p.jpg"),
            ("p.jpg", true, "attachment; filename=p.jpg"),
            ("a b.jpg", false, "inline; filename=\"a b.jpg\""),
            ("a\"b\\.jpg", false, "inline; filename=\"a\\\"b\\\\.jpg\""),
            ("gr\u{fc}n a'.jpg", false, "inline; filename*=utf-8''gr%C3%BCn%20a%27.jpg"),
            ("", false, "inline"),
        ] {
            let mut out = Vec::new();
            write_disposition(name, is_download, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn written_names_are_parsed_as_the_same(name in "[^\\x00-\\x1f\\x7f-\\x9f/]{0,60}") {
            let mut out = Vec::new();
            write_disposition(&name, false, &mut out);
            let expected = if name.is_empty() { FileName::Absent } else { named(&name) };
            prop_assert_eq!(FileName::parse(&out), expected);
            prop_assert!(out.iter().all(|byte| matches!(byte, b' '..=b'~')));
        }
    }
}
