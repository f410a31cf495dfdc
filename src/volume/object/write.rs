//! PUT, DELETE and batch puts up to the commit: lock the id, find what would be superseded, decide
//! whether the write is permitted.

use crate::base::limits::BLOCK;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::{Cookie, NeedleId};
use crate::runtime::Locked;
use crate::volume::Volume;
use crate::volume::error::Refusal;
use crate::volume::format::{Kind, NeedleHeader, data_checksum};
use crate::volume::log::pending::Pending;
use crate::volume::object::draft::{Draft, MultipartBody};
use crate::volume::object::look_up::Present;
use crate::volume::object::precondition::{Check, Existing};

#[cfg(test)]
mod tests;

/// Number of random ids tried before the lack of a free one is treated as an error.
const NAMES_TRIED: u32 = 16;

/// A needle of a batch put.
pub struct NewNeedle {
    /// Id of the needle.
    pub id: NeedleId,
    /// Cookie that readers must present.
    pub cookie: Cookie,
    /// Content of the needle.
    pub draft: Draft,
}

/// Result of an acknowledged PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Whether the id existed.
    pub replaced: bool,
    /// Entity tag.
    pub etag: u64,
    /// Time of modification (nanoseconds since 1970): the time of the write, unless the draft has
    /// another.
    pub modified_ns: u64,
}

/// The batch put to which a needle belongs; all zero for none.
#[derive(Clone, Copy, Default)]
struct Batch {
    id: u64,
    ordinal: u16,
    count: u16,
}

impl Volume {
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
        self.admit()?;
        let _held = self.lock_id(id).await;
        let previous = self.decide(id, cookie, check).await?;
        // A multipart object was admitted when its upload began.
        if previous == 0 && draft.multipart.is_none() {
            self.admit_new()?;
        }
        let needle = NewNeedle { id, cookie, draft };
        let (pending, stored) = self.pending(needle, previous, Batch::default());
        self.append(vec![pending])?.settled().await?;
        Ok(stored)
    }

    /// Stores a needle under an id that the volume chooses.
    ///
    /// # Errors
    /// See [`Refusal`]. [`Refusal::Unreadable`] if each of the tried ids is taken, or the device cannot
    /// read what would show whether an id is free.
    pub async fn put_new(&self, draft: Draft) -> Result<(NeedleId, Cookie, Stored), Refusal> {
        let mut tries = 0;
        loop {
            let (id, cookie) = self.fresh_name();
            self.admit()?;
            let _held = self.lock_id(id).await;
            if !matches!(self.look_up(id).await?, Present::No) {
                tries += 1;
                if tries == NAMES_TRIED {
                    return Err(Refusal::Unreadable(id));
                }
                continue;
            }
            if draft.multipart.is_none() {
                self.admit_new()?;
            }
            let needle = NewNeedle { id, cookie, draft };
            let (pending, stored) = self.pending(needle, 0, Batch::default());
            self.append(vec![pending])?.settled().await?;
            return Ok((id, cookie, stored));
        }
    }

    /// Returns a random id, almost certainly unused, and a random cookie. Keys have 53 bits, so that JSON
    /// readers that store numbers as doubles preserve them (RFC 8259 section 6).
    #[must_use]
    pub fn fresh_name(&self) -> (NeedleId, Cookie) {
        (NeedleId::new(self.handle.random() >> 11, 0), Cookie(self.handle.random()))
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
        self.admit()?;
        let mut names: Vec<NeedleId> = needles.iter().map(|needle| needle.id).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "an id twice in a batch put");
        // Locked in the order of ids, so that two batch puts never wait for each other.
        let mut held = Vec::with_capacity(names.len());
        for name in names {
            held.push(self.lock_id(name).await);
        }
        let mut previous = Vec::with_capacity(needles.len());
        let mut precondition = Ok(());
        for needle in &needles {
            match self.decide(needle.id, needle.cookie, check).await {
                Ok(old) => previous.push(old),
                // A conflict of a later needle takes precedence.
                Err(Refusal::Precondition) => precondition = Err(Refusal::Precondition),
                Err(refusal) => return Err(refusal),
            }
        }
        precondition?;
        if previous.contains(&0) {
            self.admit_new()?;
        }
        let count = u16::try_from(needles.len()).expect("a commit has at most 1000 needles");
        let id = self.handle.random().max(1);
        let batches = (0..count).map(|ordinal| Batch { id, ordinal, count });
        let needles = needles.into_iter().zip(previous).zip(batches);
        let (mut pending, stored): (Vec<_>, Vec<_>) =
            needles.map(|((needle, old), batch)| self.pending(needle, old, batch)).unzip();
        if chosen(Sabotage::AckHalfABatch) {
            pending.truncate(stored.len().div_ceil(2));
        }
        if !pending.is_empty() {
            self.append(pending)?.settled().await?;
        }
        Ok(stored)
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
        self.admit()?;
        let _held = self.lock_id(id).await;
        match self.decide(id, cookie, check).await? {
            0 => self.admit_new(),
            _ => Ok(()),
        }
    }

    /// Returns the offset of what a write to `id` supersedes (0 for nothing), if the write is permitted.
    /// The caller must hold the lock of the id.
    async fn decide(&self, id: NeedleId, cookie: Cookie, check: Check<'_>) -> Result<u64, Refusal> {
        let present = self.look_up(id).await?;
        let existing = match &present {
            Present::Yes(NeedleHeader { cookie: held, .. }, _) | Present::Damaged(held, _)
                if !held.matches(cookie) && !chosen(Sabotage::OverwriteWithoutCookie) =>
            {
                return Err(Refusal::Conflict);
            }
            // The state that a precondition refers to is lost: only an unconditional write can be
            // decided.
            Present::Damaged(..) if check.is_some() => {
                return Err(Refusal::Unreadable(id));
            }
            Present::Yes(header, _) => {
                Some(Existing { etag: header.data_checksum, modified_ns: header.modified_ns })
            }
            // The needle may have the id and become readable again later. It would then be found beside the
            // needle written now, and would reappear once that one is deleted.
            Present::Lost => return Err(Refusal::Unreadable(id)),
            _ => None,
        };
        if check.is_some_and(|holds| !holds(existing.as_ref())) {
            if chosen(Sabotage::LeakLock) {
                std::mem::forget(self.lock_id(self.fresh_name().0).await);
            }
            return Err(Refusal::Precondition);
        }
        Ok(match &present {
            Present::Yes(_, at) | Present::Damaged(_, at) => at.offset,
            // Lookups begin with the newest candidate: this needle will be found before the unidentified
            // one.
            Present::No | Present::Unknown | Present::Lost => 0,
        })
    }

    fn pending(&self, needle: NewNeedle, previous: u64, batch: Batch) -> (Pending, Stored) {
        let NewNeedle { id, cookie, draft } = needle;
        let multipart = draft.multipart;
        // RFC 9110 section 8.8.2.1: a time in the future is replaced by the current time.
        let now = self.handle.wall();
        let modified_ns = draft.modified_ns.map_or(now, |modified_ns| modified_ns.min(now));
        let (buf, layout, checksum) = draft.finished();
        let data_len = u32::try_from(layout.data_len).expect("1 MiB");
        let (kind, body_len, etag, parts_units, reserved) = match multipart {
            Some(MultipartBody { len, etag, parts_units, reservation }) => (
                Kind::Manifest,
                len,
                etag,
                parts_units,
                self.log.take_reserved(reservation, u64::MAX),
            ),
            None => (Kind::Data, u64::from(data_len), checksum, 0, 0),
        };
        let header = NeedleHeader {
            attributes_len: u16::try_from(layout.attributes_len).expect("4 KiB"),
            data_len,
            body_len,
            previous,
            batch: batch.id,
            batch_ordinal: batch.ordinal,
            batch_count: batch.count,
            parts_units,
            data_checksum: etag,
            ..self.header(kind, id, cookie, modified_ns)
        };
        let stored = Stored { replaced: previous != 0, etag, modified_ns };
        (Pending { buf, header, hash: self.hasher.hash(id), reserved }, stored)
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
        self.admit()?;
        let _held = self.lock_id(id).await;
        let (existing, at) = match self.look_up(id).await? {
            Present::Yes(header, at) if header.cookie.matches(cookie) => {
                let (etag, modified_ns) = (header.data_checksum, header.modified_ns);
                (Some(Existing { etag, modified_ns }), at)
            }
            Present::Damaged(held, at) if held.matches(cookie) => {
                // A precondition that refers to lost state cannot be decided.
                if check.is_some() {
                    return Err(Refusal::Unreadable(id));
                }
                (None, at)
            }
            Present::Yes(..) | Present::Damaged(..) | Present::No => {
                return Err(Refusal::NotFound);
            }
            Present::Unknown | Present::Lost => return Err(Refusal::Unreadable(id)),
        };
        if check.is_some_and(|holds| !holds(existing.as_ref())) {
            return Err(Refusal::Precondition);
        }
        let header = NeedleHeader {
            previous: at.offset,
            ..self.header(Kind::Tombstone, id, cookie, self.handle.wall())
        };
        if chosen(Sabotage::ForgetTombstone) {
            self.contents.borrow_mut().remove(self.hasher.hash(id), at.offset);
            return Ok(());
        }
        let hash = self.hasher.hash(id);
        let buf = self.handle.pool().alloc(BLOCK as usize).ok_or(Refusal::NoBuffer)?;
        let pending = Pending { buf, header, hash, reserved: 0 };
        self.append(vec![pending])?.settled().await.map(drop)
    }

    /// Waits until no other write holds the lock of `id`.
    async fn lock_id(&self, id: NeedleId) -> Locked<NeedleId> {
        let id = if chosen(Sabotage::NoLocks) { self.fresh_name().0 } else { id };
        self.locks.lock(id).await
    }

    /// Checks whether a write that arrives may go on.
    pub(in crate::volume) fn admit(&self) -> Result<(), Refusal> {
        self.write_state.get().admit(self.superblock_state.get())
    }

    /// Checks that the index has memory for another id.
    fn admit_new(&self) -> Result<(), Refusal> {
        match self.contents.borrow_mut().is_starved() {
            true => Err(Refusal::Full),
            false => Ok(()),
        }
    }

    pub(in crate::volume) fn header(
        &self,
        kind: Kind,
        id: NeedleId,
        cookie: Cookie,
        modified_ns: u64,
    ) -> NeedleHeader {
        NeedleHeader {
            kind,
            id,
            cookie,
            version: 0,
            modified_ns,
            attributes_len: 0,
            data_len: 0,
            body_len: 0,
            previous: 0,
            epoch: 0,
            sequence: 0,
            ordinal: 0,
            batch: 0,
            batch_ordinal: 0,
            batch_count: 0,
            parts_units: 0,
            data_checksum: data_checksum(&[]),
        }
    }
}
