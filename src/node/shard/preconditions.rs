//! Preconditions of writes, applied to needles.

use crate::http::conditional::{Validators, WriteConditions};
use crate::http::entity_tag::EntityTag;
use crate::volume::Existing;

/// Whether all preconditions hold for the existing needle, or for none.
pub fn hold(conditions: Option<&WriteConditions>, existing: Option<&Existing>) -> bool {
    let validators = existing.map(|existing| Validators {
        etag: EntityTag::Xxh3(existing.etag),
        modified_seconds: existing.modified_ns / 1_000_000_000,
    });
    conditions.is_none_or(|conditions| conditions.hold(validators))
}
