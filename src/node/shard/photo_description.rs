//! JSON description of a stored photo.

use serde::Serialize;

use crate::base::types::{Cookie, NeedleId, VolumeId};
use crate::http::target::{OBJECT_PATH_MAX, write_object};
use crate::volume::Stored;

/// JSON description of a stored photo, sent for a name that the store picked and for each photo of a batch.
#[derive(Serialize)]
pub struct PhotoDescription {
    volume: VolumeId,
    key: u64,
    alt: u32,
    cookie: String,
    url: String,
    etag: String,
    size: u64,
}

impl PhotoDescription {
    /// Describes needle `id` of `size` bytes.
    pub fn new(volume: VolumeId, id: NeedleId, cookie: Cookie, size: u64, stored: &Stored) -> Self {
        let (key, alt) = (id.key.0, id.alt.0);
        let mut path = [0; OBJECT_PATH_MAX];
        let len = write_object(volume, key, alt, cookie.0, &mut path);
        Self {
            volume,
            key,
            alt,
            cookie: format!("{:016x}", cookie.0),
            url: String::from_utf8_lossy(&path[..len]).into_owned(),
            etag: format!("\"{:016x}\"", stored.etag),
            size,
        }
    }

    /// Path of the object.
    pub fn url(&self) -> &str {
        &self.url
    }
}
