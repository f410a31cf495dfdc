//! JSON as the clients of a cluster know it.

/// Serializes a value as Go does: it escapes the characters that HTML has a meaning for.
pub fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    let text = serde_json::to_vec(value).expect("numbers and strings serialize");
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'&' => out.extend_from_slice(b"\\u0026"),
            b'<' => out.extend_from_slice(b"\\u003c"),
            b'>' => out.extend_from_slice(b"\\u003e"),
            byte => out.push(byte),
        }
    }
    out
}
