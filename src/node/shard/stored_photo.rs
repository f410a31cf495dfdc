//! A stored photo.

use super::object_name::ObjectName;
use super::request::StoredNeedle;
use crate::base::types::VolumeId;

/// A photo that was stored in a volume.
pub struct StoredPhoto {
    /// Volume id.
    pub volume: VolumeId,
    /// Its needle.
    pub needle: StoredNeedle,
}

impl StoredPhoto {
    /// The object that was stored.
    pub fn object(&self) -> ObjectName {
        let StoredNeedle { id, cookie, .. } = self.needle;
        ObjectName { volume: self.volume, id, cookie }
    }
}
