//! Percent-encoded text (RFC 3986 section 2.1) and form encoding, in which a plus sign is a space.

use std::borrow::Cow;

/// Decodes percent-encoded text; `None` if a percent sign is not followed by two hexadecimal digits.
#[must_use]
pub fn percent_decoded(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    decoded(text, false)
}

/// Decodes a value of a query: like [`percent_decoded`], and plus signs are spaces.
pub fn form_decoded(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    decoded(text, true)
}

fn decoded(text: &[u8], is_form: bool) -> Option<Cow<'_, [u8]>> {
    if !text.iter().any(|&byte| byte == b'%' || (is_form && byte == b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'%' => {
                let [high, low, after @ ..] = rest else { return None };
                out.push(nibble(*high)? << 4 | nibble(*low)?);
                rest = after;
            }
            b'+' if is_form => out.push(b' '),
            byte => out.push(*byte),
        }
    }
    Some(Cow::Owned(out))
}

fn nibble(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    Some(u8::try_from(value).expect("a digit is below 16"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_bytes_are_decoded() {
        for (text, expected) in [
            ("", Some("")),
            ("plain", Some("plain")),
            ("a%20b", Some("a b")),
            ("%41%4a%4A", Some("AJJ")),
            ("a+b", Some("a+b")),
            ("%", None),
            ("%4", None),
            ("%4g", None),
            ("%+1", None),
        ] {
            let decoded = percent_decoded(text.as_bytes());
            assert_eq!(decoded.as_deref(), expected.map(str::as_bytes), "{text}");
        }
        assert_eq!(form_decoded(b"a+b%2b").as_deref(), Some(&b"a b+"[..]));
    }
}
