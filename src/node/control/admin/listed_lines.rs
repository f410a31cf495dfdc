//! The lines of a list: JSON objects, one a line.

use serde::Serialize;

use crate::node::control::{ListedObject, ListedPiece, ListedState};

/// Media type of an answer of such lines.
pub(super) const STREAMED: &str = "application/x-ndjson";

/// The line of an object. It has no cookie.
#[derive(Debug, Serialize)]
struct ObjectLine {
    /// Photo id.
    key: u64,
    /// Size variant.
    alt: u32,
    /// `live`, `damaged` or `deleted`.
    state: &'static str,
    /// Length of the body (bytes); null for a deletion.
    size: Option<u64>,
    /// Content type; null if there is none.
    content_type: Option<String>,
    /// Time of modification, or of the deletion (seconds since 1970).
    modified: Option<u64>,
    /// Time at which it expires (seconds since 1970); null for never.
    expires: Option<u64>,
    /// Version.
    version: Option<u64>,
    /// Whether the body is stored in parts.
    large: bool,
    /// Digest, as 16 hexadecimal digits; missing if it was not asked for, and for a deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

impl ObjectLine {
    fn of(object: &ListedObject) -> Self {
        let content_type = object.content_type.as_deref();
        Self {
            key: object.id.key.0,
            alt: object.id.alt.0,
            state: match object.state {
                ListedState::Live => "live",
                ListedState::Damaged => "damaged",
                ListedState::Deleted => "deleted",
            },
            size: object.size,
            content_type: content_type.map(|value| String::from_utf8_lossy(value).into_owned()),
            modified: object.modified_ns.map(|time| time / 1_000_000_000),
            expires: object.expires_ns.map(|time| time / 1_000_000_000),
            version: Some(object.version).filter(|version| *version > 0),
            large: object.is_large,
            digest: object.digest.map(|digest| format!("{digest:016x}")),
        }
    }
}

/// The line after a piece: where the list goes on.
#[derive(Debug, Serialize)]
struct PositionLine {
    /// Everything up to this version was listed. It is text because it has more digits than some readers of
    /// JSON keep of a number.
    position: String,
    /// In the last line only: whether nothing more is in the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<bool>,
}

/// The lines of a piece.
pub(super) struct Lines;

impl Lines {
    /// Returns the lines of the objects of a piece, and one that says where the list goes on.
    pub(super) fn of(piece: &ListedPiece, is_last: bool) -> Vec<u8> {
        let mut lines = Vec::with_capacity(160 * (piece.objects.len() + 1));
        for object in &piece.objects {
            push(&mut lines, &ObjectLine::of(object));
        }
        let position = piece.next.version.to_string();
        push(&mut lines, &PositionLine { position, end: is_last.then_some(piece.is_end) });
        lines
    }
}

fn push(lines: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *lines, line).expect("numbers and strings always serialize to JSON");
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::stream_position::StreamPosition;
    use crate::base::types::NeedleId;

    #[test]
    fn lines_have_key_and_alt_no_cookie_and_the_position_at_the_end() {
        let live = ListedObject {
            state: ListedState::Live,
            id: NeedleId::new(7, 2),
            version: 41,
            modified_ns: Some(5_900_000_000),
            expires_ns: Some(9_900_000_000),
            size: Some(1000),
            content_type: Some(b"image/\"x\xff".to_vec()),
            is_large: false,
            digest: None,
        };
        let digested = ListedObject { digest: Some(0x0abc), ..live.clone() };
        let damaged = ListedObject {
            state: ListedState::Damaged,
            version: 0,
            modified_ns: None,
            expires_ns: None,
            size: None,
            content_type: None,
            ..live.clone()
        };
        let deleted = ListedObject {
            state: ListedState::Deleted,
            expires_ns: None,
            size: None,
            content_type: None,
            ..live.clone()
        };
        let next = StreamPosition { version: 1 << 60, place: None };
        let piece =
            ListedPiece { objects: vec![live, damaged, deleted, digested], next, is_end: true };
        let text = |is_last| String::from_utf8(Lines::of(&piece, is_last)).unwrap();
        let lines = concat!(
            r#"{"key":7,"alt":2,"state":"live","size":1000,"content_type":"image/\"x"#,
            "\u{fffd}",
            r#"","modified":5,"expires":9,"version":41,"large":false}"#,
            "\n",
            r#"{"key":7,"alt":2,"state":"damaged","size":null,"content_type":null,"modified":null,"#,
            r#""expires":null,"version":null,"large":false}"#,
            "\n",
            r#"{"key":7,"alt":2,"state":"deleted","size":null,"content_type":null,"modified":5,"#,
            r#""expires":null,"version":41,"large":false}"#,
            "\n",
            r#"{"key":7,"alt":2,"state":"live","size":1000,"content_type":"image/\"x"#,
            "\u{fffd}",
            r#"","modified":5,"expires":9,"version":41,"large":false,"digest":"0000000000000abc"}"#,
            "\n",
        );
        let position = r#"{"position":"1152921504606846976""#;
        assert_eq!(text(false), format!("{lines}{position}}}\n"));
        assert_eq!(text(true), format!("{lines}{position},\"end\":true}}\n"));
    }
}
