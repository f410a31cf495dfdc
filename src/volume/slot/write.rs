//! PUT, DELETE and batch puts: lock the id, enter the gate, find what would be superseded, decide whether the
//! write is permitted, join a commit, and wait for it outside the gate.

use super::slot::Slot;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::{Cookie, NeedleId};
use crate::runtime::Locked;
use crate::volume::Volume;
use crate::volume::error::Refusal;
use crate::volume::log::joined::Joined;
use crate::volume::log::pending::Pending;
use crate::volume::object::draft::Draft;
use crate::volume::object::look_up::Present;
use crate::volume::object::precondition::Check;
use crate::volume::object::write::{Batch, NewNeedle, Stored, Superseded};

#[cfg(test)]
mod tests;

/// Number of random ids tried before the lack of a free one is treated as an error.
const NAMES_TRIED: u32 = 16;

impl Slot {
    /// Stores a needle under `id` if `check` holds. When this returns, the needle is durable and in the
    /// index.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn put(
        &self,
        id: NeedleId,
        cookie: Cookie,
        draft: Draft,
        check: Check<'_>,
    ) -> Result<Stored, Refusal> {
        self.volume().admit()?;
        let _held = self.lock_id(id).await;
        let needle = NewNeedle { id, cookie, draft };
        let (joined, stored) = self.join_put(needle, check).await?;
        if let Some(joined) = joined {
            joined.settled().await?;
        }
        Ok(stored)
    }

    /// Returns `None` if there is nothing to write.
    async fn join_put(
        &self,
        needle: NewNeedle,
        check: Check<'_>,
    ) -> Result<(Option<Joined>, Stored), Refusal> {
        let early = self.look_up_early(&needle, check).await;
        let needle = self.encode_early(needle)?;
        let entered = self.enter().await;
        let volume = &entered.volume;
        let decided = match early {
            Some(decided) => decided,
            None => {
                let origin = needle.draft.origin_version;
                volume.decide(needle.id, needle.cookie, check, origin).await
            }
        };
        let superseded = match decided {
            Err(Refusal::Precondition) if chosen(Sabotage::LeakLock) => {
                std::mem::forget(self.lock_id(volume.fresh_name().0).await);
                return Err(Refusal::Precondition);
            }
            decided => decided?,
        };
        if superseded.is_newer {
            return Ok((None, outdated(needle)));
        }
        // A multipart object was admitted when its upload began.
        if superseded.offset == 0 && needle.draft.multipart.is_none() {
            volume.admit_new()?;
        }
        let (pending, stored) = self.pending(volume, needle, superseded, Batch::default())?;
        Ok((Some(volume.append_with_blocks(vec![pending]).await?), stored))
    }

    /// Stores a needle under an id that the volume chooses.
    ///
    /// # Errors
    /// See [`Refusal`]. [`Refusal::Unreadable`] if each of the tried ids is taken, or the device cannot
    /// read what would show whether an id is free.
    pub async fn put_new(&self, draft: Draft) -> Result<(NeedleId, Cookie, Stored), Refusal> {
        let mut tries = 0;
        loop {
            let (id, cookie) = self.volume().fresh_name();
            self.volume().admit()?;
            let _held = self.lock_id(id).await;
            let entered = self.enter().await;
            let volume = &entered.volume;
            if !matches!(volume.look_up(id).await?, Present::No) {
                tries += 1;
                if tries == NAMES_TRIED {
                    return Err(Refusal::Unreadable(id));
                }
                continue;
            }
            if draft.multipart.is_none() {
                volume.admit_new()?;
            }
            let needle = NewNeedle { id, cookie, draft };
            let nothing = Superseded::default();
            let (pending, stored) = self.pending(volume, needle, nothing, Batch::default())?;
            let joined = volume.append_with_blocks(vec![pending]).await?;
            drop(entered);
            joined.settled().await?;
            return Ok((id, cookie, stored));
        }
    }

    /// Stores all of `needles`, whose ids must differ, in one commit, or none of them. `check` must hold
    /// for each.
    ///
    /// # Errors
    /// See [`Refusal`]. The refused needle is known only if the refusal contains an id.
    ///
    /// # Panics
    /// If two needles have the same id, or if they are too many or too long for one commit.
    pub async fn put_batch(
        &self,
        needles: Vec<NewNeedle>,
        check: Check<'_>,
    ) -> Result<Vec<Stored>, Refusal> {
        self.volume().admit()?;
        let _held = self.lock_ids(needles.iter().map(|needle| needle.id).collect()).await;
        let (joined, stored) = self.join_batch(needles, check).await?;
        if let Some(joined) = joined {
            joined.settled().await?;
        }
        Ok(stored)
    }

    async fn join_batch(
        &self,
        needles: Vec<NewNeedle>,
        check: Check<'_>,
    ) -> Result<(Option<Joined>, Vec<Stored>), Refusal> {
        let entered = self.enter().await;
        let volume = &entered.volume;
        let mut previous = Vec::with_capacity(needles.len());
        let mut precondition = Ok(());
        for needle in &needles {
            let origin = needle.draft.origin_version;
            match volume.decide(needle.id, needle.cookie, check, origin).await {
                Ok(old) => previous.push(old),
                // A conflict of a later needle takes precedence.
                Err(Refusal::Precondition) => precondition = Err(Refusal::Precondition),
                Err(refusal) => return Err(refusal),
            }
        }
        precondition?;
        if previous.iter().any(|old| old.offset == 0) {
            volume.admit_new()?;
        }
        let written = previous.iter().filter(|old| !old.is_newer).count();
        let count = u16::try_from(written).expect("a commit has at most 1000 needles");
        let id = volume.handle.random().max(1);
        let (mut pending, mut stored) = (Vec::new(), Vec::new());
        let mut ordinals = 0..count;
        for (needle, old) in needles.into_iter().zip(previous) {
            if old.is_newer {
                stored.push(outdated(needle));
                continue;
            }
            let ordinal = ordinals.next().expect("those that are written were counted");
            let (needle, told) = self.pending(volume, needle, old, Batch { id, ordinal, count })?;
            pending.push(needle);
            stored.push(told);
        }
        if chosen(Sabotage::AckHalfABatch) {
            pending.truncate(stored.len().div_ceil(2));
        }
        let joined =
            if pending.is_empty() { None } else { Some(volume.append_with_blocks(pending).await?) };
        Ok((joined, stored))
    }

    /// Checks whether a needle could be stored under `id` now.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn may_put(
        &self,
        id: NeedleId,
        cookie: Cookie,
        check: Check<'_>,
    ) -> Result<(), Refusal> {
        self.volume().admit()?;
        let _held = self.lock_id(id).await;
        let entered = self.enter().await;
        let volume = &entered.volume;
        match volume.decide(id, cookie, check, None).await?.offset {
            0 => volume.admit_new(),
            _ => Ok(()),
        }
    }

    /// Deletes the needle `id` if `check` holds. When this returns, its tombstone is durable.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn delete(
        &self,
        id: NeedleId,
        cookie: Cookie,
        check: Check<'_>,
    ) -> Result<(), Refusal> {
        self.delete_known(id, Some(cookie), check, None).await.map(drop)
    }

    /// Deletes the needle `id`, whatever its cookie is, as [`Self::delete`] does.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn delete_without_cookie(&self, id: NeedleId) -> Result<(), Refusal> {
        self.delete_known(id, None, None, None).await.map(drop)
    }

    /// Deletes the needle `id`, with its cookie or without any, as a delete that has this origin version: a
    /// time (nanoseconds since 1970). Returns false if nothing was deleted, because the needle has a higher
    /// one.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn delete_with_origin(
        &self,
        id: NeedleId,
        cookie: Option<Cookie>,
        origin: u64,
        check: Check<'_>,
    ) -> Result<bool, Refusal> {
        self.delete_known(id, cookie, check, Some(origin)).await
    }

    /// Returns the origin version of the needle `id`; 0 if there is none. A write with a higher one takes its
    /// place.
    ///
    /// # Errors
    /// See [`Refusal`]; those of a write of `len` bytes, too, if there is to be one.
    pub async fn newest_origin(&self, id: NeedleId, len: Option<u64>) -> Result<u64, Refusal> {
        match len {
            Some(len) => {
                self.volume().admit()?;
                if !self.volume().has_space_for(len) {
                    return Err(Refusal::Full);
                }
            }
            None => self.volume().admit_delete()?,
        }
        let _held = self.lock_id(id).await;
        self.enter().await.volume.newest_origin(id).await
    }

    async fn delete_known(
        &self,
        id: NeedleId,
        cookie: Option<Cookie>,
        check: Check<'_>,
        origin: Option<u64>,
    ) -> Result<bool, Refusal> {
        self.volume().admit_delete()?;
        let _held = self.lock_id(id).await;
        match self.join_delete(id, cookie, check, origin).await? {
            Some(joined) => joined.settled().await.map(|_| true),
            None => Ok(false),
        }
    }

    /// Returns `None` if there is nothing to write.
    async fn join_delete(
        &self,
        id: NeedleId,
        cookie: Option<Cookie>,
        check: Check<'_>,
        origin: Option<u64>,
    ) -> Result<Option<Joined>, Refusal> {
        let entered = self.enter().await;
        let volume = &entered.volume;
        let (deleted, cookie) = volume.decide_delete(id, cookie, check, origin).await?;
        if deleted.is_newer {
            return Ok(None);
        }
        if chosen(Sabotage::ForgetTombstone) {
            volume.contents.borrow_mut().remove(volume.hasher.hash(id), deleted.offset);
            return Ok(None);
        }
        let deleted_ns = origin.unwrap_or_else(|| self.handle.wall());
        let tombstone = volume.tombstone(id, cookie, (deleted, deleted_ns), Batch::default())?;
        Ok(Some(volume.append_with_blocks(vec![tombstone]).await?))
    }

    /// Decides before the gate, which is a mistake: the generation may be exchanged meanwhile.
    async fn look_up_early(
        &self,
        needle: &NewNeedle,
        check: Check<'_>,
    ) -> Option<Result<Superseded, Refusal>> {
        if !chosen(Sabotage::GateAfterLookUp) {
            return None;
        }
        let (id, cookie, origin) = (needle.id, needle.cookie, needle.draft.origin_version);
        Some(self.volume().decide(id, cookie, check, origin).await)
    }

    /// Encodes a manifest before the gate, which is a mistake: its parts may be moved meanwhile.
    fn encode_early(&self, mut needle: NewNeedle) -> Result<NewNeedle, Refusal> {
        if let Some(body) = needle.draft.multipart
            && chosen(Sabotage::ManifestBeforeGate)
        {
            let log_end = self.volume().superblock.log_end();
            let out = needle.draft.data_mut();
            self.uploads
                .with(body.upload, |upload| upload.encode_manifest(body.len, log_end, out))?;
        }
        Ok(needle)
    }

    /// Locks all of `ids`, in their order, so that two writes of many needles never wait for each other.
    ///
    /// # Panics
    /// If an id is there twice: the write would wait for itself.
    pub(in crate::volume) async fn lock_ids(
        &self,
        mut ids: Vec<NeedleId>,
    ) -> Vec<Locked<NeedleId>> {
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "an id twice in one write");
        let mut held = Vec::with_capacity(ids.len());
        for id in ids {
            held.push(self.lock_id(id).await);
        }
        held
    }

    /// Waits until no other write holds the lock of `id`.
    pub(in crate::volume) async fn lock_id(&self, id: NeedleId) -> Locked<NeedleId> {
        let id = if chosen(Sabotage::NoLocks) { self.volume().fresh_name().0 } else { id };
        self.locks.lock(id).await
    }

    /// Returns a needle as it joins a commit of `volume`, and what its writer is told. A manifest is encoded
    /// here and not earlier: it names offsets in the file of this generation.
    pub(in crate::volume) fn pending(
        &self,
        volume: &Volume,
        mut needle: NewNeedle,
        superseded: Superseded,
        batch: Batch,
    ) -> Result<(Pending, Stored), Refusal> {
        let mut reserved = 0;
        if let Some(body) = needle.draft.multipart {
            let out = needle.draft.data_mut();
            let is_encoded = chosen(Sabotage::ManifestBeforeGate);
            reserved = self.uploads.with(body.upload, |upload| {
                if !is_encoded {
                    upload.encode_manifest(body.len, volume.superblock.log_end(), out)?;
                }
                Ok(volume.log.take_reserved(upload.reservation.key(), u64::MAX))
            })?;
        }
        volume.pending(needle, superseded, batch, reserved)
    }
}

/// What the writer of a needle is told that is older than what has its name.
fn outdated(needle: NewNeedle) -> Stored {
    let modified_ns = needle.draft.modified_ns.unwrap_or_default();
    Stored { replaced: true, etag: needle.draft.etag(), modified_ns, is_outdated: true }
}
