//! What a record meets in this volume, and whether it changes anything.

use super::pulled_record::PulledRecord;
use crate::base::limits::UNIT;
use crate::base::types::{Cookie, NeedleId};
use crate::volume::Volume;
use crate::volume::error::Refusal;
use crate::volume::format::{Kind, NeedleHeader, decode_header, verify_meta};
use crate::volume::index::Location;
use crate::volume::object::look_up::Present;
use crate::volume::object::write::Superseded;

/// What has the id of a record here.
#[derive(Clone, Copy)]
pub(super) enum Met {
    /// Nothing.
    Nothing,
    /// An object.
    Object(NeedleHeader, Location),
    /// An object that cannot be read, with this cookie.
    Damaged(Cookie, Location),
}

impl Met {
    /// What the record supersedes.
    pub(super) fn superseded(&self) -> Superseded {
        match self {
            Self::Nothing => Superseded::default(),
            Self::Object(header, at) => Superseded::of(header, *at, true),
            Self::Damaged(_, at) => Superseded::unreadable(*at),
        }
    }

    /// The cookie of what has the id.
    pub(super) fn cookie(&self) -> Option<Cookie> {
        match self {
            Self::Nothing => None,
            Self::Object(header, _) => Some(header.cookie),
            Self::Damaged(cookie, _) => Some(*cookie),
        }
    }
}

impl Volume {
    /// Returns what has an id. The caller must hold the lock of the id.
    ///
    /// # Errors
    /// [`Refusal::Unreadable`] if the device cannot say so; [`Refusal::NoBuffer`].
    pub(super) async fn met(&self, id: NeedleId) -> Result<Met, Refusal> {
        Ok(match self.look_up(id).await? {
            // What has expired is replaced like anything else.
            Present::Yes(header, at) | Present::Expired(header, at) => Met::Object(header, at),
            Present::Damaged(cookie, at) => Met::Damaged(cookie, at),
            Present::Lost => return Err(Refusal::Unreadable(id)),
            Present::No | Present::Unknown => Met::Nothing,
        })
    }

    /// Returns whether the object of a record is here already, with everything that belongs to it.
    ///
    /// # Errors
    /// [`Refusal::NoBuffer`].
    pub(super) async fn is_here(&self, met: &Met, record: &PulledRecord) -> Result<bool, Refusal> {
        let (Met::Object(header, at), head) = (met, &record.head) else { return Ok(false) };
        let body = (header.body_len, header.data_checksum, header.modified_ns);
        let is_same = body == (head.body_len, head.body_checksum, head.modified_ns)
            && header.cookie.matches(head.cookie)
            && matches!(header.kind, Kind::Data | Kind::Manifest)
            && header.attributes_len == head.attributes_len;
        if !is_same || head.attributes_len == 0 {
            return Ok(is_same);
        }
        self.has_attributes(*at, header, record.attributes()).await
    }

    /// Returns whether the needle at `at` has these attributes. Those that cannot be read are others.
    async fn has_attributes(
        &self,
        at: Location,
        header: &NeedleHeader,
        attributes: &[u8],
    ) -> Result<bool, Refusal> {
        let unit = usize::try_from(UNIT).expect("512");
        let len = header.layout().data_start.next_multiple_of(unit);
        let buf = self.handle.pool().alloc(len).ok_or(Refusal::NoBuffer)?;
        let reads = &self.file.stats.other_reads;
        let (buf, result) = self.file.read(buf, 0, len, at.offset, reads).await;
        let incarnation = self.superblock.incarnation;
        let found = result.ok().and_then(|()| decode_header(&buf[..len], incarnation, at.offset));
        Ok(found.is_some_and(|(found, _)| {
            found.id == header.id
                && found.version == header.version
                && verify_meta(&buf[..len], &found, incarnation).is_ok()
                && buf[found.layout().attributes()] == *attributes
        }))
    }
}
