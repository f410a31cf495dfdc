//! Performs requests on the volumes of a shard.

use super::preconditions::hold;
use super::request::{
    CheckPut, DeleteNeedle, FoundNeedle, PostNeedle, PutNeedle, ReadExtent, ReadNeedle,
    RequestError, SetExpiry, StoredNeedle,
};
use super::volumes::Volumes;
use crate::base::types::{Cookie, NeedleId, VolumeId};
use crate::http::conditional::WriteConditions;
use crate::runtime::buffer::Buf;
use crate::volume::{Check, NeedleDescription, Volume};

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
        let slot = self.local(volume)?;
        let ReadNeedle { id, cookie, extent } = request;
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
        let slot = self.own(volume)?;
        let PutNeedle { id, cookie, draft, conditions } = request;
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

    /// Deletes a needle, whatever its cookie is.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn delete_unchecked(
        &self,
        volume: VolumeId,
        id: NeedleId,
    ) -> Result<(), RequestError> {
        let slot = self.local(volume)?;
        let deleted = slot.delete_without_cookie(id).await;
        Ok(self.publish_after_write(&slot, deleted)?)
    }

    /// Returns everything but the body of a needle, which need not have a cookie.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn describe(
        &self,
        volume: VolumeId,
        id: NeedleId,
        cookie: Option<Cookie>,
    ) -> Result<NeedleDescription, RequestError> {
        Ok(self.local(volume)?.describe(id, cookie).await?)
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
