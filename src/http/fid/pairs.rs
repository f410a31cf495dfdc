//! Header fields that a client wants to have stored with a photo and returned: `Seaweed-Owner: bob` comes
//! back as `Owner: bob`. They are stored as a JSON object.

use std::collections::BTreeMap;

use super::json::to_json;
use crate::base::limits::PAIRS_MAX;
use crate::http::reject::Reject;

/// Prefix of the names of such fields in an upload.
const PREFIX: &str = "Seaweed-";

const NO_TEXT: Reject = Reject::bad("the value of a Seaweed- header is not UTF-8");
const TOO_LONG: Reject = Reject::bad("the Seaweed- headers are longer than 3400 bytes of JSON");
const OWN: Reject =
    Reject::bad("a Seaweed- header names a header that the store itself sets in its answers");

/// Fields that a response has of its own, or that frame it.
const OWN_NAMES: [&str; 16] = [
    "accept-ranges",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "keep-alive",
    "last-modified",
    "retry-after",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-content-type-options",
];

/// Collects the fields of an upload that are to be stored, as JSON; `None` if there are none.
///
/// # Errors
/// 400 if they are too long, no text, or would break an answer.
pub fn collect_pairs<'b>(
    lines: impl Iterator<Item = (&'b [u8], &'b [u8])>,
) -> Result<Option<Box<[u8]>>, Reject> {
    let mut pairs = BTreeMap::new();
    for (name, value) in lines {
        let Some((prefix, name)) = name.split_at_checked(PREFIX.len()) else { continue };
        if !prefix.eq_ignore_ascii_case(PREFIX.as_bytes()) || name.is_empty() {
            continue;
        }
        let name = canonical(name);
        if is_own(&name) {
            return Err(OWN);
        }
        let value = std::str::from_utf8(value).map_err(|_| NO_TEXT)?;
        // The first of fields with the same name counts.
        pairs.entry(name).or_insert_with(|| value.to_owned());
    }
    if pairs.is_empty() {
        return Ok(None);
    }
    let json = to_json(&pairs);
    if json.len() > PAIRS_MAX { Err(TOO_LONG) } else { Ok(Some(json.into())) }
}

/// Appends the stored pairs to header lines, each name behind `prefix`. What cannot be a header field is left
/// out: it may come from another store.
pub fn write_pairs(json: &[u8], prefix: &str, out: &mut Vec<u8>) {
    let Ok(pairs) = serde_json::from_slice::<BTreeMap<String, String>>(json) else { return };
    for (name, value) in pairs {
        let fits = name.bytes().all(is_name_byte)
            && !name.is_empty()
            && value.bytes().all(|byte| byte >= b' ' && byte != 0x7f)
            && !is_own(&name);
        if fits {
            for part in [prefix, &*name, ": ", &*value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
    }
}

fn is_own(name: &str) -> bool {
    OWN_NAMES.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// RFC 9110 section 5.6.2.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The name as Go writes it: an upper-case letter first and after each hyphen.
fn canonical(name: &[u8]) -> String {
    let mut is_first = true;
    let letters = name.iter().map(|&byte| {
        let letter = if is_first { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
        is_first = byte == b'-';
        char::from(letter)
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(lines: &[(&str, &str)]) -> Result<Option<String>, Reject> {
        let lines = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let json = collect_pairs(lines)?;
        Ok(json.map(|json| String::from_utf8(json.into()).unwrap()))
    }

    #[test]
    fn fields_are_stored_as_json_and_come_back_as_fields() {
        let json = collected(&[
            ("Host", "a"),
            ("seaweed-OWNER-id", "bob & co"),
            ("Seaweed-A", "1"),
            ("Seaweed-a", "2"),
        ]);
        let json = json.unwrap().unwrap();
        assert_eq!(json, r#"{"A":"1","Owner-Id":"bob \u0026 co"}"#);
        let mut lines = Vec::new();
        write_pairs(json.as_bytes(), "", &mut lines);
        assert_eq!(lines, b"A: 1\r\nOwner-Id: bob & co\r\n");
        assert_eq!(collected(&[("Seaweed", "x"), ("Seaweed-", "y"), ("X", "z")]), Ok(None));
    }

    #[test]
    fn fields_that_would_break_an_answer_are_refused() {
        for name in ["Seaweed-Content-Length", "seaweed-transfer-encoding", "Seaweed-ETag"] {
            assert_eq!(collected(&[(name, "1")]), Err(OWN), "{name}");
        }
        assert_eq!(collected(&[("Seaweed-A", &"x".repeat(3400))]), Err(TOO_LONG));
        let bytes: &[u8] = b"\xff";
        assert_eq!(collect_pairs([(&b"Seaweed-A"[..], bytes)].into_iter()), Err(NO_TEXT));
    }

    #[test]
    fn stored_pairs_that_are_no_fields_are_left_out() {
        for json in [
            r#"{"Content-Length":"1"}"#,
            r#"{"A b":"1"}"#,
            r#"{"":"1"}"#,
            r#"{"A":"1\r\nSet-Cookie: x"}"#,
            r#"["A"]"#,
            "no json",
        ] {
            let mut lines = Vec::new();
            write_pairs(json.as_bytes(), "", &mut lines);
            assert_eq!(lines, b"", "{json}");
        }
    }
}
