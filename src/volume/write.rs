//! PUT and DELETE, up to the commit: who holds the id, what would be superseded, whether that may
//! be.

use super::Volume;
use super::append::Pending;
use super::error::Refusal;
use super::format::{
    Attribute, HEADER_LEN, Kind, Layout, NeedleHeader, attribute_bytes, decode_header,
    encode_chunk_table, footer_at,
};
use super::index::Location;
use super::io::count;
use crate::buffer::{Buf, Pool};
use crate::limits::{BLOCK, NEEDLE_DATA_MAX, UNIT};
use crate::types::{Cookie, NeedleId};
use xxhash_rust::xxh3::xxh3_64;

/// A needle being received: its data stands where it will be written from.
pub struct Draft {
    buf: Option<Buf>,
    layout: Layout,
}

impl Draft {
    /// A buffer of `pool` for data of this length (bytes), with room in front for what precedes
    /// it; nothing when the pool has none.
    ///
    /// # Panics
    /// When a length is beyond its limit.
    #[must_use]
    pub fn new(pool: &Pool, content_type: Option<&[u8]>, data_len: u64) -> Option<Self> {
        assert!(data_len <= NEEDLE_DATA_MAX);
        let attribute =
            content_type.map(|value| Attribute { code: Attribute::CONTENT_TYPE, value });
        let attributes_len = attribute.as_ref().map_or(0, Attribute::encoded_len);
        let layout = Layout::data(attributes_len, usize::try_from(data_len).expect("1 MiB"));
        let mut buf = pool.alloc(layout.len)?;
        attribute_bytes(attribute.as_slice(), &mut buf[HEADER_LEN..]);
        Some(Self { buf: Some(buf), layout })
    }

    /// Length of the data (bytes).
    #[must_use]
    pub fn data_len(&self) -> usize {
        self.layout.data_len
    }

    /// The buffer, and where in it the data begins; to be given back with [`Self::restore`].
    ///
    /// # Panics
    /// When the buffer is out already.
    pub fn take(&mut self) -> (Buf, usize) {
        (self.buf.take().expect("the buffer is at home"), self.layout.data_start)
    }

    /// Takes the buffer back.
    pub fn restore(&mut self, buf: Buf) {
        self.buf = Some(buf);
    }

    /// Where the data goes.
    ///
    /// # Panics
    /// When the buffer is out.
    pub fn data_mut(&mut self) -> &mut [u8] {
        let range = self.layout.data_range();
        &mut self.buf.as_mut().expect("the buffer is at home")[range]
    }
}

/// What a write would supersede.
#[derive(Clone, Copy, Debug)]
pub struct Existing {
    /// Entity tag: XXH3-64 of its data.
    pub etag: u64,
    /// When it was written (nanoseconds since 1970).
    pub modified_ns: u64,
}

/// A condition of a write: whether it holds for what would be superseded (nothing when the id is
/// new).
pub type Check<'a> = Option<&'a dyn Fn(Option<&Existing>) -> bool>;

/// An acknowledged PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Whether the id existed.
    pub replaced: bool,
    /// Entity tag.
    pub etag: u64,
    /// When it was written (nanoseconds since 1970).
    pub modified_ns: u64,
}

enum Present {
    No,
    Yes(NeedleHeader, Location),
    /// It is the id's, but its header cannot be read; the footer tells the cookie.
    Damaged(Cookie, Location),
    /// Something with the id's hash cannot be identified at all.
    Unknown,
}

impl Volume {
    /// Stores a needle under `id`, if `check` holds. When this returns, the needle is durable and in
    /// the index.
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
        let _held = self.locks.lock(id).await;
        let present = self.look_up(id).await?;
        let existing = match &present {
            Present::Yes(NeedleHeader { cookie: held, .. }, _) | Present::Damaged(held, _)
                if !held.matches(cookie) =>
            {
                return Err(Refusal::Conflict);
            }
            // What a condition would look at is lost: only a write without conditions can be decided.
            Present::Damaged(..) if check.is_some() => {
                return Err(Refusal::Unreadable(id));
            }
            Present::Yes(header, _) => {
                Some(Existing { etag: header.data_checksum, modified_ns: header.modified_ns })
            }
            _ => None,
        };
        if check.is_some_and(|holds| !holds(existing.as_ref())) {
            return Err(Refusal::Precondition);
        }
        let previous = match &present {
            Present::Yes(_, at) | Present::Damaged(_, at) => at.offset,
            // Newest first: this needle will be found before whatever the unknown one is.
            Present::No | Present::Unknown => 0,
        };
        let Draft { buf, layout } = draft;
        let mut buf = buf.expect("the buffer is at home");
        let etag = encode_chunk_table(&mut buf, &layout);
        let modified_ns = self.handle.wall();
        let data_len = u32::try_from(layout.data_len).expect("1 MiB");
        let header = NeedleHeader {
            attributes_len: u16::try_from(layout.attributes_len).expect("4 KiB"),
            data_len,
            body_len: u64::from(data_len),
            previous,
            data_checksum: etag,
            ..self.header(Kind::Data, id, cookie, modified_ns)
        };
        let hash = self.hasher.hash(id);
        self.log.append(Pending { buf, header, hash }).await?;
        Ok(Stored { replaced: previous != 0, etag, modified_ns })
    }

    /// Deletes the needle `id`, if `check` holds. When this returns, its tombstone is durable.
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
        let _held = self.locks.lock(id).await;
        let (existing, at) = match self.look_up(id).await? {
            Present::Yes(header, at) if header.cookie.matches(cookie) => {
                let (etag, modified_ns) = (header.data_checksum, header.modified_ns);
                (Some(Existing { etag, modified_ns }), at)
            }
            Present::Damaged(held, at) if held.matches(cookie) => {
                // A condition that looks at what is lost cannot be decided.
                if check.is_some() {
                    return Err(Refusal::Unreadable(id));
                }
                (None, at)
            }
            Present::Yes(..) | Present::Damaged(..) | Present::No => {
                return Err(Refusal::NotFound);
            }
            Present::Unknown => return Err(Refusal::Unreadable(id)),
        };
        if check.is_some_and(|holds| !holds(existing.as_ref())) {
            return Err(Refusal::Precondition);
        }
        let header = NeedleHeader {
            previous: at.offset,
            ..self.header(Kind::Tombstone, id, cookie, self.handle.wall())
        };
        let buf = self.handle.pool().alloc(BLOCK as usize).ok_or(Refusal::NoBuffer)?;
        self.log.append(Pending { buf, header, hash: self.hasher.hash(id) }).await
    }

    fn admit(&self) -> Result<(), Refusal> {
        if self.superblock.state != super::VolumeState::Live {
            return Err(Refusal::ReadOnly);
        }
        if self.log.poisoned() {
            return Err(Refusal::Poisoned);
        }
        Ok(())
    }

    fn header(&self, kind: Kind, id: NeedleId, cookie: Cookie, modified_ns: u64) -> NeedleHeader {
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
            data_checksum: xxh3_64(&[]),
        }
    }

    /// What the index holds under `id`, confirmed on disk: a matching hash is not identity.
    async fn look_up(&self, id: NeedleId) -> Result<Present, Refusal> {
        let hash = self.hasher.hash(id);
        let (mut below, mut result) = (u64::MAX, Present::No);
        loop {
            let candidate = self.index.borrow().newest_below(hash, below);
            let Some(at) = candidate else { return Ok(result) };
            below = at.offset;
            match self.identify(at).await? {
                Identity::Readable(header) if header.id == id => {
                    return Ok(Present::Yes(header, at));
                }
                Identity::Attributed(owner, cookie) if owner == id => {
                    return Ok(Present::Damaged(cookie, at));
                }
                Identity::Unknown => result = Present::Unknown,
                _ => count(&self.stats().false_candidates, 1),
            }
        }
    }

    async fn identify(&self, at: Location) -> Result<Identity, Refusal> {
        let unit = UNIT as usize;
        let incarnation = self.superblock.incarnation;
        let reads = &self.file.stats.other_reads;
        let buf = self.handle.pool().alloc(unit).ok_or(Refusal::NoBuffer)?;
        let (buf, result) = self.file.read(buf, 0, unit, at.offset, reads).await;
        if result.is_ok()
            && let Some((header, 0)) = decode_header(&buf, incarnation, at.offset)
        {
            return Ok(Identity::Readable(header));
        }
        count(&self.stats().damaged_reads, 1);
        let end = at.offset + at.len;
        let (buf, result) = self.file.read(buf, 0, unit, end - UNIT, reads).await;
        Ok(match result.ok().and_then(|()| footer_at(&buf[..unit], incarnation, end)) {
            Some(footer) => Identity::Attributed(footer.id, footer.cookie),
            None => Identity::Unknown,
        })
    }
}

enum Identity {
    Readable(NeedleHeader),
    Attributed(NeedleId, Cookie),
    Unknown,
}
