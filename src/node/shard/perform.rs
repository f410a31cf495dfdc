//! Performs requests on the volumes of a shard.

use super::preconditions::hold;
use super::record_size::record_size;
use super::request::{
    CheckPut, DeleteFid, DeleteNeedle, DeletedFid, Dialect, FoundNeedle, PostNeedle, PutNeedle,
    ReadExtent, ReadNeedle, RequestError, SetExpiry, StoredNeedle,
};
use super::volumes::Volumes;
use crate::base::types::VolumeId;
use crate::http::conditional::WriteConditions;
use crate::runtime::buffer::Buf;
use crate::volume::{Check, GetError, Refusal, Volume};

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
        let holds = |existing: Option<&_>| hold(conditions.as_ref(), existing);
        let check: Check<'_> = conditions.as_ref().map(|_| &holds as _);
        let stored = slot.put(id, cookie, draft, check).await;
        let stored = self.publish_after_write(&slot, stored)?;
        Ok(StoredNeedle { id, cookie, stored, is_writable: takes_photos(&slot.volume()) })
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
        let DeleteNeedle { id, cookie, conditions } = request;
        let holds = |existing: Option<&_>| hold(conditions.as_ref(), existing);
        let check: Check<'_> = conditions.as_ref().map(|_| &holds as _);
        let deleted = slot.delete(id, cookie, check).await;
        Ok(self.publish_after_write(&slot, deleted)?)
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
        let DeleteFid { id, cookie } = request;
        let found = match slot.describe(id, None).await {
            Ok(found) => found,
            Err(GetError::NotFound) => return Ok(DeletedFid::Absent),
            Err(error) => return Err(error.into()),
        };
        if cookie.is_some_and(|cookie| !found.cookie.matches(cookie)) {
            return Ok(DeletedFid::OtherCookie);
        }
        let deleted = match cookie {
            Some(cookie) => slot.delete(id, cookie, None).await,
            None => slot.delete_without_cookie(id).await,
        };
        match self.publish_after_write(&slot, deleted) {
            Ok(()) => Ok(DeletedFid::Deleted(record_size(&found))),
            // Deleted by another request meanwhile.
            Err(Refusal::NotFound) => Ok(DeletedFid::Absent),
            Err(refusal) => Err(refusal.into()),
        }
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
