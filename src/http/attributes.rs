//! What a cluster stores with a photo, as text: the attributes of its needle (`docs/FORMAT.md`, "Attributes
//! of a cluster") in base64. This module does not know what they mean.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Name of the request header field.
pub const HEADER: &str = "X-Hayloft-Attributes";

/// Largest length of attributes (bytes).
const LEN_MAX: usize = 4096;

/// Returns attributes as text.
///
/// # Panics
/// If they are longer than 4096 bytes.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = [0; LEN_MAX.div_ceil(3) * 4];
    let len = STANDARD.encode_slice(bytes, &mut text).expect("attributes have at most 4096 bytes");
    text[..len].iter().copied().map(char::from).collect()
}

/// Returns the attributes of a text; `None` if it is malformed, or too long.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() > LEN_MAX.div_ceil(3) * 4 {
        return None;
    }
    let mut bytes = vec![0; text.len().div_ceil(4) * 3];
    let len = STANDARD.decode_slice(text, &mut bytes).ok()?;
    bytes.truncate(len);
    Some(bytes).filter(|bytes| bytes.len() <= LEN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_back_and_nothing_else_is_read() {
        for len in [0, 1, 2, 3, 300, LEN_MAX] {
            let bytes: Vec<u8> = (0..len).map(|n| n.to_le_bytes()[0]).collect();
            assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes), "{len} bytes");
        }
        let too_long = "A".repeat(LEN_MAX.div_ceil(3) * 4 + 4);
        let longer = "A".repeat(LEN_MAX.div_ceil(3) * 4);
        for bad in ["A", "AA", "AA=", "AB==", "A A=", "!AAA", &longer, &too_long] {
            assert_eq!(decode(bad.as_bytes()), None, "{} characters", bad.len());
        }
    }
}
