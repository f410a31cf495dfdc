//! Escaping of paths as fields of a line: any bytes fit on one line, and text stays readable.
//!
//! A tab is `\t`, a line's end `\n`, a carriage return `\r`, a backslash `\\`; other control characters,
//! bytes that are not UTF-8, and a `#` at the beginning are `\x` with two hexadecimal digits.

/// Escapes the bytes of a path.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\t' => out += "\\t",
                '\n' => out += "\\n",
                '\r' => out += "\\r",
                '\\' => out += "\\\\",
                '#' if out.is_empty() => out += "\\x23",
                control if control.is_ascii_control() => hex(&mut out, control as u8),
                other => out.push(other),
            }
        }
        for byte in chunk.invalid() {
            hex(&mut out, *byte);
        }
    }
    out
}

fn hex(out: &mut String, byte: u8) {
    out.push_str(&format!("\\x{byte:02x}"));
}

/// Returns the bytes of a path from its field; `None` if an escape sequence is malformed.
#[must_use]
pub fn unescape(field: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'\\' {
            out.push(first);
            continue;
        }
        let (&kind, tail) = rest.split_first()?;
        rest = tail;
        out.push(match kind {
            b't' => b'\t',
            b'n' => b'\n',
            b'r' => b'\r',
            b'\\' => b'\\',
            b'x' => {
                let (digits, tail) = rest.split_at_checked(2)?;
                rest = tail;
                u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?
            }
            _ => return None,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn special_bytes_are_escaped() {
        assert_eq!(escape(b"a b/c#.jpg"), "a b/c#.jpg");
        assert_eq!(escape("\u{e4}\u{4e2d}".as_bytes()), "\u{e4}\u{4e2d}");
        assert_eq!(escape(b"#a\t\n\r\\\x01\x7f\xff"), "\\x23a\\t\\n\\r\\\\\\x01\\x7f\\xff");
        for bad in ["\\", "\\q", "\\x", "\\x1", "\\xzz", "a\\x\u{e4}"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn escaping_round_trips_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let field = escape(&bytes);
            prop_assert!(!field.contains(['\t', '\n', '\r', '\0']) && !field.starts_with('#'));
            prop_assert_eq!(unescape(&field), Some(bytes));
        }

        #[test]
        fn no_input_panics(field in ".{0,40}") {
            let _ = unescape(&field);
        }
    }
}
