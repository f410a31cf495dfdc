//! The setting `prealloc`: how the space of a new volume is allocated.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Allocation of the space of a new volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Prealloc {
    /// Reserve blocks only (fallocate(2)): fast. The first write of a block then also writes metadata.
    #[default]
    Fallocate,
    /// Write zeros: takes as long as writing the whole file, but later writes need no metadata.
    Zeroed,
}

/// The text is no value of `prealloc`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no way to reserve space; write fallocate (at once) or zeroed (slow, whole file)")]
pub struct ParsePreallocError(String);

impl TryFrom<String> for Prealloc {
    type Error = ParsePreallocError;

    fn try_from(text: String) -> Result<Self, ParsePreallocError> {
        match text.as_str() {
            "fallocate" => Ok(Self::Fallocate),
            "zeroed" => Ok(Self::Zeroed),
            _ => Err(ParsePreallocError(text)),
        }
    }
}
