//! Receiving a multipart object: parts in ordinary commits, then a manifest that names them. Only the
//! manifest is indexed. Nothing of the object is visible until the manifest is stored, and the parts of
//! an abandoned upload are dead space in the log.

use std::rc::Rc;

use xxhash_rust::xxh3::Xxh3Default;

use super::slot::Slot;
use super::uploads::{OpenUpload, PartPlace, UploadedPart};
use crate::base::limits::{CHUNK, NEEDLE_DATA_MAX, UNIT};
use crate::base::types::{Cookie, NeedleId};
use crate::runtime::buffer::Pool;
use crate::volume::error::Refusal;
use crate::volume::format::{Kind, NeedleHeader, crc32c_append, data_checksum, manifest_len};
use crate::volume::log::pending::Pending;
use crate::volume::log::reservation::Reservation;
use crate::volume::object::cost::{body_cost, part_cost};
use crate::volume::object::draft::{Draft, MultipartBody};
use crate::volume::object::draft_attributes::DraftAttributes;
use crate::volume::object::upload_key::UploadKey;

const CHUNK_LEN: usize = CHUNK as usize;

/// A multipart object that is being received. It holds no generation of its volume, so that a slow client
/// does not keep the file of an earlier one.
pub struct Upload {
    slot: Rc<Slot>,
    key: UploadKey,
    /// Whether it comes from another volume.
    is_copy: bool,
    body_len: u64,
    added: u64,
    /// Hash of the body.
    hash: Box<Xxh3Default>,
    /// CRC32C of the body so far, if the volume belongs to a cluster.
    crc32c: Option<u32>,
    /// Hash of the current part.
    part_hash: Box<Xxh3Default>,
    /// Bytes of the current part that were absorbed.
    absorbed: usize,
    /// Checksums of the chunks of the current part.
    sums: Vec<u64>,
    parts_len: u64,
}

impl Slot {
    /// Waits until the blocks for a body of `body_len` bytes are reserved, if the blocks of the file are
    /// reserved in steps and the file system has them.
    pub async fn await_blocks_for(&self, body_len: u64) {
        self.volume().await_blocks(body_cost(body_len), true).await;
    }

    /// Begins to receive a body of `body_len` bytes (above 0, at most 1 GiB), and reserves space for it. The
    /// caller should have called [`Self::await_blocks_for`] right before.
    ///
    /// # Errors
    /// See [`Refusal`].
    ///
    /// # Panics
    /// If `body_len` is 0: a manifest names at least one part.
    pub fn upload(
        self: &Rc<Self>,
        id: NeedleId,
        cookie: Cookie,
        body_len: u64,
    ) -> Result<Upload, Refusal> {
        self.volume().admit()?;
        self.begin_upload(id, cookie, body_len, false)
    }

    /// Begins to receive a body of another volume, of which this one is a copy, as [`Self::upload`] does.
    ///
    /// # Errors
    /// As [`Self::upload`].
    pub(in crate::volume) fn upload_of_source(
        self: &Rc<Self>,
        id: NeedleId,
        cookie: Cookie,
        body_len: u64,
    ) -> Result<Upload, Refusal> {
        self.begin_upload(id, cookie, body_len, true)
    }

    fn begin_upload(
        self: &Rc<Self>,
        id: NeedleId,
        cookie: Cookie,
        body_len: u64,
        is_copy: bool,
    ) -> Result<Upload, Refusal> {
        assert!(body_len > 0, "an empty body has no parts");
        let volume = self.volume();
        let reservation = Reservation::new(&volume, body_cost(body_len)).ok_or(Refusal::Full)?;
        volume.contents.borrow_mut().properties_mut().hold_parts(id);
        let (parts, sums) = (Vec::new(), Vec::new());
        let key = self.uploads.add(OpenUpload { id, cookie, parts, sums, reservation });
        Ok(Upload {
            slot: Rc::clone(self),
            key,
            is_copy,
            body_len,
            added: 0,
            hash: Box::default(),
            crc32c: volume.cluster.borrow().as_ref().map(|_| 0),
            part_hash: Box::default(),
            absorbed: 0,
            sums: Vec::new(),
            parts_len: 0,
        })
    }
}

impl Upload {
    /// Length of the next part if it may have at most `most` bytes; 0 when all parts were added. Only the
    /// last part of a body is shorter than 64 KiB.
    #[must_use]
    pub fn next_len(&self, most: u64) -> u64 {
        let most = most.clamp(CHUNK, NEEDLE_DATA_MAX);
        (self.body_len - self.added).min(most)
    }

    /// Length of the body (bytes).
    #[must_use]
    pub fn body_len(&self) -> u64 {
        self.body_len
    }

    /// Makes the body `len` bytes longer, and reserves space for them. For a body of which only the end shows
    /// the length: parts are added after that.
    ///
    /// # Errors
    /// [`Refusal::Full`].
    pub fn grow(&mut self, len: u64) -> Result<(), Refusal> {
        let longer = self.body_len + len;
        let more = body_cost(longer) - body_cost(self.body_len);
        self.slot.uploads.with(self.key, |upload| upload.reservation.grow(more))?;
        self.body_len = longer;
        Ok(())
    }

    /// Returns a draft for the next part in a buffer of `pool`; `None` when the pool has no buffer.
    #[must_use]
    pub fn part(&self, pool: &Pool, len: u64) -> Option<Draft> {
        Draft::new(pool, None, len)
    }

    /// Hashes the next chunk of the current part: 64 KiB, or the last bytes of the part. Chunks that are
    /// not absorbed as they arrive are hashed when the part is added.
    pub fn absorb(&mut self, chunk: &[u8]) {
        self.hash.update(chunk);
        self.crc32c = self.crc32c.map(|crc| crc32c_append(crc, chunk));
        self.part_hash.update(chunk);
        self.sums.push(data_checksum(chunk));
        self.absorbed += chunk.len();
    }

    /// Adds a part to the forming commit.
    ///
    /// # Errors
    /// See [`Refusal`].
    ///
    /// # Panics
    /// If the absorbed chunks are not the first ones of this part, or the parts are longer than the body.
    pub async fn add(&mut self, part: Draft) -> Result<(), Refusal> {
        let absorbed = self.absorbed;
        for chunk in part.data()[absorbed..].chunks(CHUNK_LEN) {
            self.absorb(chunk);
        }
        assert_eq!(self.absorbed, part.data_len(), "the absorbed chunks belong to another part");
        let (buf, layout) = part.finished_with(&self.sums);
        let checksum = self.part_hash.digest();
        self.part_hash.reset();
        self.absorbed = 0;
        let data_len = u32::try_from(layout.data_len).expect("1 MiB");
        self.added += u64::from(data_len);
        assert!(self.added <= self.body_len, "parts of {} bytes, longer than the body", self.added);
        self.parts_len += layout.len as u64;
        let entered = self.slot.enter().await;
        let volume = &entered.volume;
        let sums = std::mem::take(&mut self.sums);
        self.slot.uploads.with(self.key, |upload| {
            let header = NeedleHeader {
                data_len,
                body_len: u64::from(data_len),
                data_checksum: checksum,
                ..volume.header(Kind::Part, upload.id, upload.cookie, volume.handle.wall())
            };
            let key = upload.reservation.key();
            let reserved = volume.log.take_reserved(key, part_cost(layout.data_len));
            let hash = volume.hasher.hash(upload.id);
            let superseded = None;
            let part = Pending { buf, header, hash, superseded, reserved, is_copy: self.is_copy };
            let joined = volume.append(vec![part])?;
            upload.parts.push(UploadedPart { place: PartPlace::Joined(joined), len: data_len });
            upload.sums.extend(sums);
            Ok(())
        })
    }

    /// Waits until all parts added so far are durable.
    ///
    /// # Errors
    /// [`Refusal::Failed`].
    pub async fn settle(&self) -> Result<(), Refusal> {
        let last = self.slot.uploads.with(self.key, |upload| upload.parts.last().cloned());
        match last.map(|part| part.place) {
            // Commits are written one after the other.
            Some(PartPlace::Joined(joined)) => joined.settled().await.map(drop),
            Some(PartPlace::At(_)) | None => Ok(()),
        }
    }

    /// Waits until all parts are durable, and returns the manifest, which is stored like any other needle.
    /// Its entries are filled in then, and the reservation covers it, as long as this upload is not dropped.
    /// May be called again.
    ///
    /// # Errors
    /// [`Refusal::NoBuffer`], [`Refusal::Failed`].
    ///
    /// # Panics
    /// If parts are missing.
    pub async fn finish(&self, pool: &Pool, content_type: Option<&[u8]>) -> Result<Draft, Refusal> {
        let attributes = DraftAttributes { content_type, ..DraftAttributes::default() };
        self.finish_with(pool, attributes).await
    }

    /// Returns the manifest with these attributes, as [`Self::finish`] does.
    ///
    /// # Errors
    /// As [`Self::finish`].
    ///
    /// # Panics
    /// If parts are missing.
    pub async fn finish_with(
        &self,
        pool: &Pool,
        attributes: DraftAttributes<'_>,
    ) -> Result<Draft, Refusal> {
        let (len, body) = self.finished().await?;
        Draft::manifest(pool, attributes, len, body).ok_or(Refusal::NoBuffer)
    }

    /// Returns the manifest of a copy with these attributes, as they are stored, as [`Self::finish`] does.
    ///
    /// # Errors
    /// As [`Self::finish`].
    ///
    /// # Panics
    /// If parts are missing.
    pub(in crate::volume) async fn finish_copy(
        &self,
        pool: &Pool,
        attributes: &[u8],
    ) -> Result<Draft, Refusal> {
        let (len, body) = self.finished().await?;
        Draft::copied_manifest(pool, attributes, len, body).ok_or(Refusal::NoBuffer)
    }

    /// Waits until all parts are durable. Returns the length of the data of the manifest (bytes), and the
    /// body.
    async fn finished(&self) -> Result<(usize, MultipartBody), Refusal> {
        assert_eq!(self.added, self.body_len, "all parts have been added");
        self.settle().await?;
        let body = MultipartBody {
            len: self.body_len,
            etag: self.hash.digest(),
            crc32c: self.crc32c,
            parts_units: u32::try_from(self.parts_len / UNIT).expect("a little above 1 GiB"),
            upload: self.key,
        };
        let counts = |upload: &mut OpenUpload| (upload.parts.len(), upload.sums.len());
        let (parts, chunks) = self.slot.uploads.with(self.key, counts);
        Ok((manifest_len(parts, chunks), body))
    }
}

impl Drop for Upload {
    /// Its parts are dead from now on, unless a manifest names them, or will when its commit is durable.
    fn drop(&mut self) {
        let id = self.slot.uploads.with(self.key, |upload| upload.id);
        self.slot.uploads.remove(self.key);
        self.slot.volume().contents.borrow_mut().properties_mut().release_parts(id);
    }
}
