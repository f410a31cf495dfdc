//! Which of two writes to one name counts that were made on different nodes.

use crate::base::limits::UNIT;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::NeedleId;
use crate::volume::Volume;
use crate::volume::error::Refusal;
use crate::volume::format::{AttributeSet, NeedleHeader, decode_header, verify_meta};
use crate::volume::index::Location;
use crate::volume::object::look_up::Present;

impl Volume {
    /// Returns whether what has a name was written later than a needle with this origin version. A needle
    /// that was written here first has its own version as origin version. What was deleted is not known any
    /// more, and neither is what was damaged: both are superseded.
    ///
    /// # Errors
    /// [`Refusal::Unreadable`] if the device cannot read the attributes; [`Refusal::NoBuffer`].
    pub(super) async fn is_newer(
        &self,
        present: &Present,
        origin: Option<u64>,
    ) -> Result<bool, Refusal> {
        let (Some(origin), Present::Yes(header, at) | Present::Expired(header, at)) =
            (origin, present)
        else {
            return Ok(false);
        };
        let newest = self.origin_version(header, *at).await?;
        Ok(newest.is_some_and(|newest| newest > origin && !chosen(Sabotage::OlderOriginWins)))
    }

    /// Returns the origin version of what has a name; 0 if there is nothing, or nothing of it can be read.
    /// The caller must hold the lock of the id.
    ///
    /// # Errors
    /// As [`Self::is_newer`].
    pub(in crate::volume) async fn newest_origin(&self, id: NeedleId) -> Result<u64, Refusal> {
        match self.look_up(id).await? {
            Present::Yes(header, at) | Present::Expired(header, at) => {
                Ok(self.origin_version(&header, at).await?.unwrap_or_default())
            }
            Present::No | Present::Unknown | Present::Lost | Present::Damaged(..) => Ok(0),
        }
    }

    /// Returns the origin version of the needle at `at`; `None` if its attributes are damaged.
    async fn origin_version(
        &self,
        header: &NeedleHeader,
        at: Location,
    ) -> Result<Option<u64>, Refusal> {
        if header.attributes_len == 0 {
            return Ok(Some(header.version));
        }
        // Not only the first unit, which has the attribute: without the others nothing of it can be verified.
        let unit = usize::try_from(UNIT).expect("512");
        let len = header.layout().data_start.next_multiple_of(unit);
        let buf = self.handle.pool().alloc(len).ok_or(Refusal::NoBuffer)?;
        let reads = &self.file.stats.other_reads;
        let (buf, result) = self.file.read(buf, 0, len, at.offset, reads).await;
        result.map_err(|_| Refusal::Unreadable(header.id))?;
        let incarnation = self.superblock.incarnation;
        let found = decode_header(&buf[..len], incarnation, at.offset).filter(|(found, _)| {
            found.id == header.id && verify_meta(&buf[..len], found, incarnation).is_ok()
        });
        Ok(found.map(|(found, _)| {
            let stored = AttributeSet::decode(&buf[found.layout().attributes()]);
            stored.cluster.origin_version.unwrap_or(found.version)
        }))
    }
}
