//! What a stream consists of.

use crate::base::types::{Cookie, NeedleId};
use crate::volume::format::damaged_digest;

/// Kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// An object that lives.
    Object,
    /// An object that lives, and cannot be read: what is not known of it is `None`, or the version is 0.
    Damaged,
    /// The deletion of an object.
    Deletion,
}

/// A record of a stream: an object, or a deletion. Its cookie is for the node itself; lists do not show it,
/// but the digest depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRecord {
    /// Kind of the record.
    pub kind: RecordKind,
    /// Id of the object.
    pub id: NeedleId,
    /// Cookie of the object, or of what was deleted; `None` if it is not known.
    pub cookie: Option<Cookie>,
    /// Version; 0 if it is not known.
    pub version: u64,
    /// Time of modification, or of the deletion (nanoseconds since 1970).
    pub modified_ns: Option<u64>,
    /// Time at which it expires (nanoseconds since 1970); `None` for never.
    pub expires_ns: Option<u64>,
    /// Length of the body (bytes); `None` for a deletion.
    pub body_len: Option<u64>,
    /// Content type as it was stored.
    pub content_type: Option<Vec<u8>>,
    /// Whether the body is stored in parts.
    pub is_large: bool,
    /// Digest of everything but the version and the place; `None` for a deletion.
    pub digest: Option<u64>,
}

impl StreamRecord {
    /// A record of which no more is known than this.
    pub(super) fn bare(kind: RecordKind, id: NeedleId) -> Self {
        Self {
            kind,
            id,
            cookie: None,
            version: 0,
            modified_ns: None,
            expires_ns: None,
            body_len: None,
            content_type: None,
            is_large: false,
            digest: (kind == RecordKind::Damaged).then(|| damaged_digest(id)),
        }
    }
}
