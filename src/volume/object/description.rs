//! What is known of a needle without its body.

use crate::base::types::Cookie;
use crate::volume::format::AttributeSet;
use crate::volume::object::read::Needle;

/// What is known of a needle without its body.
#[derive(Clone, Debug)]
pub struct NeedleDescription {
    /// Cookie of the needle.
    pub cookie: Cookie,
    /// Version: it rises with every write to the volume.
    pub version: u64,
    /// Length of the body (bytes).
    pub body_len: u64,
    /// Entity tag: XXH3-64 of the body.
    pub etag: u64,
    /// Time of modification (nanoseconds since 1970).
    pub modified_ns: u64,
    /// Whether the body is stored in parts.
    pub is_large: bool,
    /// Its attributes, as they are stored.
    stored: Vec<u8>,
}

impl NeedleDescription {
    pub(in crate::volume) fn of(needle: &Needle) -> Self {
        Self {
            cookie: needle.cookie,
            version: needle.version,
            body_len: needle.body_len,
            etag: needle.etag,
            modified_ns: needle.modified_ns,
            is_large: needle.is_large,
            stored: needle.stored_attributes().to_vec(),
        }
    }

    /// Returns the attributes that this build knows.
    #[must_use]
    pub fn attributes(&self) -> AttributeSet<'_> {
        AttributeSet::decode(&self.stored)
    }
}
