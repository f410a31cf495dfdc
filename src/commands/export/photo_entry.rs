//! An entry of a tar, in the form of a batch put (`docs/HTTP.md`, "Batches").

use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

use crate::base::types::{Cookie, NeedleId, VolumeId};
use crate::http::modified;
use crate::http::photo_tar::{EXPIRES, MEDIA_TYPE, MODIFIED, VOLUME};

/// A photo that is written to a tar.
#[derive(Clone, Copy, Debug)]
pub struct PhotoEntry<'a> {
    /// Volume that it comes from.
    pub volume: VolumeId,
    /// Its id.
    pub id: NeedleId,
    /// Its cookie.
    pub cookie: Cookie,
    /// Time of modification (nanoseconds since 1970).
    pub modified_ns: u64,
    /// Time at which it expires (nanoseconds since 1970); `None` for never.
    pub expires_ns: Option<u64>,
    /// Content type as it is stored.
    pub content_type: Option<&'a [u8]>,
    /// Length of the body (bytes).
    pub size: u64,
}

impl PhotoEntry<'_> {
    /// Appends the photo to a tar, with the body that `body` reads.
    ///
    /// # Errors
    /// That of the tar or of the body.
    pub fn append(&self, tar: &mut Builder<&mut dyn Write>, body: impl Read) -> io::Result<()> {
        let second = 1_000_000_000;
        let (seconds, nanos) = (self.modified_ns / second, self.modified_ns % second);
        let (number, modified) = (self.volume.to_string(), format!("{seconds}.{nanos:09}"));
        let expires = self.expires_ns.map(modified::format);
        let expires = expires.as_ref().map(|value| (EXPIRES, value.as_bytes()));
        let media_type = self.content_type.map(|value| (MEDIA_TYPE, value));
        let records = [(VOLUME, number.as_bytes()), (MODIFIED, modified.as_bytes())];
        tar.append_pax_extensions(records.into_iter().chain(expires).chain(media_type))?;
        let mut header = Header::new_ustar();
        header.set_path(format!("{}/{:016x}", self.id, self.cookie.0))?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(seconds);
        header.set_size(self.size);
        header.set_cksum();
        tar.append(&header, body)
    }
}
