//! What is shown of an object that differs.

use serde::{Deserialize, Serialize};

use crate::commands::transfer::listing::ListedObject;

/// What is shown of an object that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectDetails {
    /// Whether it cannot be read.
    pub damaged: bool,
    /// Length of the body (bytes).
    pub size: Option<u64>,
    /// Content type.
    pub content_type: Option<String>,
    /// Time of modification (seconds since 1970).
    pub modified: Option<u64>,
    /// Time at which it expires (seconds since 1970); `None` for never.
    pub expires: Option<u64>,
}

impl From<ListedObject> for ObjectDetails {
    fn from(object: ListedObject) -> Self {
        let ListedObject { state, size, content_type, modified, expires, .. } = object;
        Self { damaged: state == "damaged", size, content_type, modified, expires }
    }
}
