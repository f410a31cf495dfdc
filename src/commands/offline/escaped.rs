//! Text for a column of a table.

use std::fmt::Write as _;

/// Escapes text for a column: a backslash, a tab, and every byte that is not printable ASCII.
#[must_use]
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("writing to a string does not fail"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_in_content_types_are_escaped() {
        assert_eq!(escaped(b"image/jpeg; q=\"1\""), "image/jpeg; q=\"1\"");
        assert_eq!(escaped(b"a\tb\\c\nd\xe9"), "a\\tb\\\\c\\x0ad\\xe9");
    }
}
