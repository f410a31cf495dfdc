//! A deleted needle that is appended anew.

use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::NeedleId;
use crate::volume::Volume;
use crate::volume::error::Refusal;
use crate::volume::format::{Kind, NeedleHeader};
use crate::volume::index::Location;
use crate::volume::log::pending::Pending;
use crate::volume::object::look_up::Present;
use crate::volume::object::write::Superseded;
use crate::volume::undelete::NotUndeleted;

impl Volume {
    /// Returns what a deleted needle of `id` would supersede if it came back: nothing, or an object that has
    /// expired.
    ///
    /// # Errors
    /// [`NotUndeleted::InUse`], or [`NotUndeleted::Refused`] if the device cannot read what would show
    /// whether the name is free.
    pub(in crate::volume) async fn decide_undelete(
        &self,
        id: NeedleId,
    ) -> Result<Superseded, NotUndeleted> {
        match self.look_up(id).await? {
            Present::No => Ok(Superseded::default()),
            Present::Expired(header, at) => Ok(Superseded::of(&header, at, false)),
            Present::Yes(..) | Present::Damaged(..) if chosen(Sabotage::UndeleteOverObject) => {
                Ok(Superseded::default())
            }
            Present::Yes(..) | Present::Damaged(..) => Err(NotUndeleted::InUse),
            Present::Unknown | Present::Lost => Err(Refusal::Unreadable(id).into()),
        }
    }

    /// Reads the deleted needle of `id` at `at`, and returns it as it joins a commit: with the same data,
    /// times and attributes. The parts of a multipart object stay where they are.
    ///
    /// # Errors
    /// [`NotUndeleted::Damaged`] if it does not verify, [`NotUndeleted::Expired`], or
    /// [`Refusal::NoBuffer`].
    pub(in crate::volume) async fn restored(
        &self,
        id: NeedleId,
        at: Location,
        superseded: Superseded,
    ) -> Result<Pending, NotUndeleted> {
        let len = usize::try_from(at.len).expect("a needle is below 2 MiB");
        let buf = self.handle.pool().alloc(len).ok_or(Refusal::NoBuffer)?;
        let (buf, read) = self.read_needle(buf, id, at).await;
        let old = read.filter(|old| accepts(self.is_whole(&buf[..len], old)));
        let old = old.ok_or(NotUndeleted::Damaged)?;
        if self.is_expired(&old) {
            return Err(NotUndeleted::Expired);
        }
        let header = NeedleHeader {
            previous: superseded.offset,
            batch: 0,
            batch_ordinal: 0,
            batch_count: 0,
            parts_units: restored_parts(&old),
            keeps_parts: old.kind == Kind::Manifest,
            ..old
        };
        let (hash, superseded) = (self.hasher.hash(id), superseded.expiring);
        Ok(Pending { buf, header, hash, superseded, reserved: 0, is_copy: false })
    }
}

/// Length of the parts that live again with the manifest (units).
fn restored_parts(old: &NeedleHeader) -> u32 {
    if chosen(Sabotage::UndeleteLosesParts) { 0 } else { old.parts_units }
}

/// Whether bytes of a deleted photo may be taken back: only if they are verified.
pub(in crate::volume) fn accepts(is_verified: bool) -> bool {
    is_verified || chosen(Sabotage::UndeleteUnverified)
}
