//! What is known of an uploaded file before its data arrives.

use crate::http::fid::{FileName, PartHead};
use crate::http::reject::Reject;
use crate::http::reply::{DEFAULT_CONTENT_TYPE, valid_content_type};

const CONTENT_TYPE: Reject = Reject::bad("the content type is not 1 to 255 visible characters");

/// What is known of an uploaded file before its data arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileHead {
    /// File name; empty if there is none.
    pub name: Box<str>,
    /// Content type; `None` if it says nothing.
    pub content_type: Option<Box<[u8]>>,
    /// Whether the data is packed with gzip.
    pub is_gzip: bool,
    /// `Content-MD5` of the data before it was packed.
    pub content_md5: Option<Box<[u8]>>,
}

impl FileHead {
    /// Checks a content type. That of unknown bytes is not kept, nor an empty one.
    ///
    /// # Errors
    /// 400 if it cannot be stored.
    pub fn checked_type(value: Option<Box<[u8]>>) -> Result<Option<Box<[u8]>>, Reject> {
        match value.filter(|value| !value.is_empty() && **value != *DEFAULT_CONTENT_TYPE) {
            Some(value) if !valid_content_type(&value) => Err(CONTENT_TYPE),
            value => Ok(value),
        }
    }
}

impl TryFrom<PartHead> for FileHead {
    type Error = Reject;

    fn try_from(part: PartHead) -> Result<Self, Reject> {
        let PartHead { file_name, content_type, is_gzip, content_md5 } = part;
        let name = match file_name {
            FileName::Named(name) => name,
            FileName::Absent | FileName::Malformed => Box::default(),
        };
        let content_type = Self::checked_type(content_type)?;
        Ok(Self { name, content_type, is_gzip, content_md5 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_of_unknown_bytes_is_not_kept() {
        let checked = |value: &[u8]| FileHead::checked_type(Some(value.into()));
        assert_eq!(checked(b"image/jpeg"), Ok(Some(b"image/jpeg"[..].into())));
        assert_eq!(checked(b"application/octet-stream"), Ok(None));
        assert_eq!(checked(b""), Ok(None));
        assert_eq!(checked(&[b'a'; 256]), Err(CONTENT_TYPE));
    }
}
