//! An entry of a tar, in the form of a batch put (`docs/HTTP.md`, "Batches").

use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

use crate::base::types::{Cookie, NeedleId, VolumeId};
use crate::http::photo_tar::{ATTRIBUTES, EXPIRES, MEDIA_TYPE, MODIFIED, VOLUME};
use crate::http::{attributes, modified};
use crate::volume::format::{AttributeSet, expiry_of};

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
    /// Attributes of its needle, as they are stored.
    pub stored: &'a [u8],
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
        let expires = expiry_of(self.stored).map(modified::format);
        let expires = expires.as_ref().map(|value| (EXPIRES, value.as_bytes()));
        let stored = AttributeSet::decode(self.stored);
        let media_type = stored.content_type.map(|value| (MEDIA_TYPE, value));
        let of_cluster = stored.cluster.encode();
        let of_cluster = (!of_cluster.is_empty()).then(|| attributes::encode(&of_cluster));
        let of_cluster = of_cluster.as_ref().map(|text| (ATTRIBUTES, text.as_bytes()));
        let records = [(VOLUME, number.as_bytes()), (MODIFIED, modified.as_bytes())];
        let optional = expires.into_iter().chain(of_cluster).chain(media_type);
        tar.append_pax_extensions(records.into_iter().chain(optional))?;
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
