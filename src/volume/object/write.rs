//! The decisions of a write: what it supersedes, whether it is permitted, and the needle that joins the
//! commit. The steps of a write are in [`Slot`](crate::volume::Slot).

use crate::base::limits::BLOCK;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::{Cookie, NeedleId};
use crate::volume::Volume;
use crate::volume::error::Refusal;
use crate::volume::format::{Kind, NeedleHeader, data_checksum};
use crate::volume::index::Location;
use crate::volume::log::expiry_sums::Expiring;
use crate::volume::log::pending::Pending;
use crate::volume::object::draft::{Draft, MultipartBody};
use crate::volume::object::look_up::Present;
use crate::volume::object::precondition::{Check, Existing};

/// A needle of a batch put.
pub struct NewNeedle {
    /// Id of the needle.
    pub id: NeedleId,
    /// Cookie that readers must present.
    pub cookie: Cookie,
    /// Content of the needle.
    pub draft: Draft,
}

/// What a write supersedes.
#[derive(Clone, Copy, Default)]
pub(in crate::volume) struct Superseded {
    /// Offset of the needle (bytes); 0 for none.
    pub offset: u64,
    /// Whether an object existed: an expired needle is superseded, but does not exist.
    pub existed: bool,
    /// What is superseded, if it expires.
    pub expiring: Option<Expiring>,
    /// Whether the object was written later than what is to supersede it, so that nothing is written.
    pub is_newer: bool,
}

impl Superseded {
    pub(in crate::volume) fn of(header: &NeedleHeader, at: Location, existed: bool) -> Self {
        Self { offset: at.offset, existed, expiring: Expiring::of(header), is_newer: false }
    }

    /// An object that cannot be read.
    pub(in crate::volume) fn unreadable(at: Location) -> Self {
        Self { offset: at.offset, existed: true, expiring: None, is_newer: false }
    }
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
    /// Whether nothing was written, because what has the name was written later: see
    /// [`ClusterAttributes::origin_version`](crate::volume::format::ClusterAttributes::origin_version).
    pub is_outdated: bool,
}

/// The batch put or multi-delete to which a needle belongs; all zero for none.
#[derive(Clone, Copy, Default)]
pub(in crate::volume) struct Batch {
    pub id: u64,
    pub ordinal: u16,
    pub count: u16,
}

impl Volume {
    /// Returns a random id, almost certainly unused, and a random cookie. Keys have 53 bits, so that JSON
    /// readers that store numbers as doubles preserve them (RFC 8259 section 6).
    #[must_use]
    pub fn fresh_name(&self) -> (NeedleId, Cookie) {
        (NeedleId::new(self.handle.random() >> 11, 0), Cookie(self.handle.random()))
    }

    /// Returns what a write to `id` supersedes, if the write is permitted. `origin` is the version that the
    /// needle has where it was written first, if not here. The caller must hold the lock of the id.
    pub(in crate::volume) async fn decide(
        &self,
        id: NeedleId,
        cookie: Cookie,
        check: Check<'_>,
        origin: Option<u64>,
    ) -> Result<Superseded, Refusal> {
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
            return Err(Refusal::Precondition);
        }
        let superseded = match &present {
            Present::Yes(header, at) => Superseded::of(header, *at, true),
            Present::Expired(header, at) => Superseded::of(header, *at, false),
            Present::Damaged(_, at) => Superseded::unreadable(*at),
            // Lookups begin with the newest candidate: this needle will be found before the unidentified
            // one.
            Present::No | Present::Unknown | Present::Lost => Superseded::default(),
        };
        let is_newer = self.is_newer(&present, origin).await?;
        Ok(Superseded { is_newer, ..superseded })
    }

    /// Returns a needle as it joins a commit, and what its writer is told. `reserved` are the bytes taken out
    /// of a reservation for it.
    ///
    /// # Errors
    /// [`Refusal::NoBuffer`].
    pub(in crate::volume) fn pending(
        &self,
        needle: NewNeedle,
        superseded: Superseded,
        batch: Batch,
        reserved: u64,
    ) -> Result<(Pending, Stored), Refusal> {
        let NewNeedle { id, cookie, draft } = needle;
        let (multipart, is_copy) = (draft.multipart, draft.is_copy);
        // RFC 9110 section 8.8.2.1: a time in the future is replaced by the current time.
        let now = self.handle.wall();
        let latest = if is_copy || draft.is_modified_elsewhere { u64::MAX } else { now };
        let modified_ns = draft.modified_ns.map_or(now, |modified_ns| modified_ns.min(latest));
        // The copies of a needle on other nodes expire when it does.
        let begins = draft.origin_version.unwrap_or(now);
        let fitted = draft.fitted(self.handle.pool(), self.cluster.borrow().as_ref(), begins);
        let (draft, expires_ns) = fitted.ok_or(Refusal::NoBuffer)?;
        let (buf, layout, checksum) = draft.finished();
        let data_len = u32::try_from(layout.data_len).expect("1 MiB");
        let (kind, body_len, etag, parts_units) = match multipart {
            Some(MultipartBody { len, etag, parts_units, .. }) => {
                (Kind::Manifest, len, etag, parts_units)
            }
            None => (Kind::Data, u64::from(data_len), checksum, 0),
        };
        let header = NeedleHeader {
            attributes_len: u16::try_from(layout.attributes_len).expect("4 KiB"),
            data_len,
            body_len,
            previous: superseded.offset,
            batch: batch.id,
            batch_ordinal: batch.ordinal,
            batch_count: batch.count,
            parts_units,
            data_checksum: etag,
            expires_ns,
            ..self.header(kind, id, cookie, modified_ns)
        };
        let replaced = superseded.existed;
        let stored = Stored { replaced, etag, modified_ns, is_outdated: false };
        let (hash, superseded) = (self.hasher.hash(id), superseded.expiring);
        Ok((Pending { buf, header, hash, superseded, reserved, is_copy }, stored))
    }

    /// Returns what a delete of `id` removes, and its cookie, if the delete is permitted: with the cookie of
    /// the object, or without any. `origin` is the version that the delete has where it was made first, if
    /// not here. The caller must hold the lock of the id.
    pub(in crate::volume) async fn decide_delete(
        &self,
        id: NeedleId,
        cookie: Option<Cookie>,
        check: Check<'_>,
        origin: Option<u64>,
    ) -> Result<(Superseded, Cookie), Refusal> {
        let is_permitted = |held: Cookie| cookie.is_none_or(|cookie| held.matches(cookie));
        let present = self.look_up(id).await?;
        let is_newer = self.is_newer(&present, origin).await?;
        let (existing, deleted) = match present {
            Present::Yes(header, at) if is_permitted(header.cookie) => {
                let (etag, modified_ns) = (header.data_checksum, header.modified_ns);
                let deleted = (Superseded::of(&header, at, true), header.cookie);
                (Some(Existing { etag, modified_ns }), deleted)
            }
            Present::Damaged(held, at) if is_permitted(held) => {
                // A precondition that refers to lost state cannot be decided.
                if check.is_some() {
                    return Err(Refusal::Unreadable(id));
                }
                (None, (Superseded::unreadable(at), held))
            }
            Present::Yes(..) | Present::Damaged(..) | Present::Expired(..) | Present::No => {
                return Err(Refusal::NotFound);
            }
            Present::Unknown | Present::Lost => return Err(Refusal::Unreadable(id)),
        };
        if check.is_some_and(|holds| !holds(existing.as_ref())) {
            return Err(Refusal::Precondition);
        }
        let (superseded, cookie) = deleted;
        Ok((Superseded { is_newer, ..superseded }, cookie))
    }

    /// Returns the tombstone of a needle that was deleted at `deleted_ns` (nanoseconds since 1970).
    ///
    /// # Errors
    /// [`Refusal::NoBuffer`].
    pub(in crate::volume) fn tombstone(
        &self,
        id: NeedleId,
        cookie: Cookie,
        (deleted, deleted_ns): (Superseded, u64),
        batch: Batch,
    ) -> Result<Pending, Refusal> {
        let header = NeedleHeader {
            previous: deleted.offset,
            batch: batch.id,
            batch_ordinal: batch.ordinal,
            batch_count: batch.count,
            ..self.header(Kind::Tombstone, id, cookie, deleted_ns)
        };
        let buf = self.handle.pool().alloc(BLOCK as usize).ok_or(Refusal::NoBuffer)?;
        let (hash, superseded) = (self.hasher.hash(id), deleted.expiring);
        Ok(Pending { buf, header, hash, superseded, reserved: 0, is_copy: false })
    }

    /// Checks whether a write that arrives may go on.
    pub(in crate::volume) fn admit(&self) -> Result<(), Refusal> {
        let is_closed = self.replica.get().is_some() || self.is_closed_by_cluster();
        match self.write_state.get().admit(self.superblock_state.get()) {
            Ok(()) if is_closed => Err(Refusal::ReadOnly),
            admitted => admitted,
        }
    }

    /// Checks that the index has memory for another id.
    pub(in crate::volume) fn admit_new(&self) -> Result<(), Refusal> {
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
            expires_ns: None,
            keeps_parts: false,
        }
    }
}
