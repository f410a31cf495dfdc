//! Performs requests on the volumes of a shard.

use std::cell::Cell;
use std::rc::Rc;

use super::preconditions::hold;
use super::record_size::record_size;
use super::request::{
    CheckPut, DeleteFid, DeleteNeedle, DeletedFid, Dialect, FindOrigin, FoundNeedle, PostNeedle,
    PutNeedle, ReadExtent, ReadNeedle, RequestError, SetExpiry, StoredNeedle,
};
use super::volumes::Volumes;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::{Cookie, NeedleId, VolumeId};
use crate::http::conditional::WriteConditions;
use crate::runtime::buffer::Buf;
use crate::volume::{Check, Draft, Existing, GetError, Refusal, Slot, Stored, Volume};

/// Whether `X-Hayloft-Volume` announces a volume as writable: it takes writes and is not full. A cache in
/// front keeps the photos of such volumes only, because most requests are for photos that are still new.
pub fn takes_photos(volume: &Volume) -> bool {
    volume.writable() && !volume.is_full()
}

impl Volumes {
    /// Reads a needle into a buffer from `alloc`.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn read(
        &self,
        volume: VolumeId,
        request: ReadNeedle,
        mut alloc: impl FnMut(usize) -> Option<Buf>,
    ) -> Result<FoundNeedle, RequestError> {
        let ReadNeedle { id, cookie, extent, dialect } = request;
        let slot = match dialect {
            Dialect::Own => self.local(volume)?,
            Dialect::Fid => self.of_cluster(volume)?,
        };
        let needle = match extent {
            ReadExtent::Whole => slot.get(id, cookie, &mut alloc).await?,
            ReadExtent::Head => slot.head(id, cookie, &mut alloc).await?,
        };
        Ok(FoundNeedle { needle, is_writable: takes_photos(&slot.volume()) })
    }

    /// Stores a needle.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn put(
        &self,
        volume: VolumeId,
        request: PutNeedle,
    ) -> Result<StoredNeedle, RequestError> {
        let PutNeedle { id, cookie, draft, conditions, dialect } = request;
        let slot = match dialect {
            Dialect::Own => self.own(volume)?,
            Dialect::Fid => self.of_cluster(volume)?,
        };
        let stored = match dialect {
            // Boxed: its state would be that of every worker.
            Dialect::Fid => {
                Box::pin(self.put_of_cluster(&slot, (id, cookie), draft, conditions)).await
            }
            Dialect::Own => {
                let holds = |existing: Option<&_>| hold(conditions.as_ref(), existing);
                let check: Check<'_> = conditions.as_ref().map(|_| &holds as _);
                slot.put(id, cookie, draft, check).await
            }
        };
        let stored = self.publish_after_write(&slot, stored)?;
        Ok(StoredNeedle { id, cookie, stored, is_writable: takes_photos(&slot.volume()) })
    }

    /// Stores a needle of a cluster. What was deleted later than it was written stays deleted.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn put_of_cluster(
        &self,
        slot: &Rc<Slot>,
        (id, cookie): (NeedleId, Cookie),
        draft: Draft,
        conditions: Option<WriteConditions>,
    ) -> Result<Stored, Refusal> {
        let origin = draft.origin_version();
        let deletions = match origin {
            Some(origin) => Some(self.deletions.back_to(slot, origin).await?),
            None => None,
        };
        let (etag, modified_ns) = (draft.etag(), draft.modified_ns().unwrap_or_default());
        let is_deleted = Cell::new(false);
        let holds = |existing: Option<&Existing>| {
            let deleted = deletions.as_ref().map_or(0, |deletions| deletions.origin_of(id));
            let is_later = origin.is_some_and(|origin| deleted > origin);
            is_deleted.set(is_later && existing.is_none() && !chosen(Sabotage::ForgetDeletions));
            !is_deleted.get() && hold(conditions.as_ref(), existing)
        };
        let has_check = conditions.is_some() || deletions.is_some();
        let check: Check<'_> = if has_check { Some(&holds) } else { None };
        match slot.put(id, cookie, draft, check).await {
            Err(Refusal::Precondition) if is_deleted.get() => {
                Ok(Stored { replaced: false, etag, modified_ns, is_outdated: true })
            }
            stored => stored,
        }
    }

    /// Stores a needle under a name that the volume picks.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn post(
        &self,
        volume: VolumeId,
        request: PostNeedle,
    ) -> Result<StoredNeedle, RequestError> {
        let slot = self.own(volume)?;
        let stored = slot.put_new(request.draft).await;
        let (id, cookie, stored) = self.publish_after_write(&slot, stored)?;
        Ok(StoredNeedle { id, cookie, stored, is_writable: takes_photos(&slot.volume()) })
    }

    /// Checks whether a needle could be stored. Returns the preconditions of the request.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn check_put(
        &self,
        volume: VolumeId,
        request: CheckPut,
    ) -> Result<Option<WriteConditions>, RequestError> {
        let slot = self.own(volume)?;
        let CheckPut { id, cookie, conditions } = request;
        let holds = |existing: Option<&_>| hold(conditions.as_ref(), existing);
        let check: Check<'_> = conditions.as_ref().map(|_| &holds as _);
        slot.may_put(id, cookie, check).await?;
        Ok(conditions)
    }

    /// Deletes a needle.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn delete_needle(
        &self,
        volume: VolumeId,
        request: DeleteNeedle,
    ) -> Result<(), RequestError> {
        let slot = self.local(volume)?;
        let DeleteNeedle { id, cookie, origin, conditions } = request;
        let holds = |existing: Option<&_>| hold(conditions.as_ref(), existing);
        let check: Check<'_> = conditions.as_ref().map(|_| &holds as _);
        if !slot.volume().is_of_cluster() {
            let deleted = slot.delete(id, cookie, check).await;
            return Ok(self.publish_after_write(&slot, deleted)?);
        }
        let origin = origin.unwrap_or_else(|| slot.wall());
        self.deletions.add(&slot, id, origin);
        let deleted = Box::pin(slot.delete_with_origin(id, Some(cookie), origin, check)).await;
        self.publish_after_write(&slot, deleted)?;
        Ok(())
    }

    /// Deletes a needle of a volume of a cluster.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn delete_fid(
        &self,
        volume: VolumeId,
        request: DeleteFid,
    ) -> Result<DeletedFid, RequestError> {
        let slot = self.of_cluster(volume)?;
        let DeleteFid { id, cookie, origin } = request;
        let origin = origin.unwrap_or_else(|| slot.wall());
        let found = match slot.describe(id, None).await {
            Ok(found) => found,
            Err(GetError::NotFound) => {
                // It may be on its way from another node.
                self.deletions.add(&slot, id, origin);
                return Ok(DeletedFid::Absent);
            }
            Err(error) => return Err(error.into()),
        };
        if cookie.is_some_and(|cookie| !found.cookie.matches(cookie)) {
            return Ok(DeletedFid::OtherCookie);
        }
        // Before it is deleted: from then on, a write that is older comes too late.
        self.deletions.add(&slot, id, origin);
        let deleted = slot.delete_with_origin(id, cookie, origin, None).await;
        match self.publish_after_write(&slot, deleted) {
            Ok(true) => Ok(DeletedFid::Deleted(record_size(&found))),
            Ok(false) => Ok(DeletedFid::Outdated),
            // Deleted by another request meanwhile.
            Err(Refusal::NotFound) => Ok(DeletedFid::Absent),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Returns the highest origin version of what a needle of a cluster is or was.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn find_origin(
        &self,
        volume: VolumeId,
        request: FindOrigin,
    ) -> Result<u64, RequestError> {
        let FindOrigin { id, len } = request;
        let slot = self.of_cluster(volume)?;
        let newest = slot.newest_origin(id, len).await?;
        let deletions = self.deletions.back_to(&slot, u64::MAX).await?;
        Ok(newest.max(deletions.origin_of(id)))
    }

    /// Changes when a needle expires.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn set_expiry(
        &self,
        volume: VolumeId,
        request: SetExpiry,
    ) -> Result<(), RequestError> {
        let slot = self.own(volume)?;
        let SetExpiry { id, cookie, expires_ns, conditions } = request;
        let holds = |existing: Option<&_>| hold(conditions.as_ref(), existing);
        let check: Check<'_> = conditions.as_ref().map(|_| &holds as _);
        let changed = slot.set_expiry(id, cookie, expires_ns, check).await;
        Ok(self.publish_after_write(&slot, changed)?)
    }
}
