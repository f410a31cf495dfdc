//! Carrying needles over from the old generation to the new one.

use std::collections::HashMap;
use std::rc::Rc;

use super::commit_writer::CommitWriter;
use super::not_compacted::NotCompacted;
use super::order::CompactionOrder;
use crate::base::limits::UNIT;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::NeedleId;
use crate::volume::Volume;
use crate::volume::error::IoError;
use crate::volume::format::{
    EarlierRange, HashPrefix, Kind, Loss, Manifest, NeedleHeader, NeedleLayout, PartEntry,
    data_checksum, decode_header, encode_chunk_table, encode_data_needle, encode_loss,
    encode_manifest, encode_tombstone, put_chunk_table, reseal, verify_data, verify_meta,
};
use crate::volume::index::{IdHash, Location};
use crate::volume::log::expiry_sums::Expiring;
use crate::volume::log::log_reader::LogReader;
use crate::volume::object::expiry::is_expired_at;
use crate::volume::object::look_up::Present;

/// What is carried over of one pass over the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The first pass: the new generation is empty, and no id occurs twice.
    Copy,
    /// What was written since: each needle supersedes what the new generation has of its id.
    CatchUp,
}

/// What the new generation has of an id that is carried over again.
#[derive(Clone, Copy, Default)]
pub(super) struct Earlier {
    /// Its offset (bytes); 0 for nothing.
    pub(super) offset: u64,
    /// The object, if it expires.
    pub(super) expiring: Option<Expiring>,
}

/// Counts of what was carried over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Needles with an id of their own.
    pub needles: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Needles whose checksums do not match, carried over as they are.
    pub damaged: u64,
    /// Needles that were replaced by a record of their loss.
    pub lost: u64,
    /// Objects that had expired, and were left out.
    pub expired: u64,
}

/// Carries needles over.
pub struct Copier {
    pub(super) old: Rc<Volume>,
    pub(super) new: Rc<Volume>,
    accept_losses: bool,
    tombstone_keep_ns: u64,
    drop_expired_before_ns: u64,
    /// The old log.
    pub reader: LogReader,
    /// The new log.
    pub writer: CommitWriter,
    pub mode: Mode,
    /// New offsets of the parts of uploads in progress, by their old offsets.
    moved_parts: HashMap<u64, u64>,
    /// What was carried over so far.
    pub carried: Carried,
    /// Highest version of a tombstone that was left out; 0 for none.
    pub(super) left_out: u64,
    /// Whether the new log holds records of losses.
    has_losses: bool,
}

impl Copier {
    /// Creates a copier from `old` to `new`.
    pub fn new(
        old: &Rc<Volume>,
        new: &Rc<Volume>,
        order: &CompactionOrder,
        reader: LogReader,
        writer: CommitWriter,
    ) -> Self {
        Self {
            old: Rc::clone(old),
            new: Rc::clone(new),
            accept_losses: order.accept_losses,
            tombstone_keep_ns: order.tombstone_keep_ns,
            drop_expired_before_ns: order.drop_expired_before_ns,
            reader,
            writer,
            mode: Mode::Copy,
            moved_parts: HashMap::new(),
            carried: Carried::default(),
            left_out: 0,
            has_losses: false,
        }
    }

    /// Whether the new log holds records of losses.
    pub fn has_losses(&self) -> bool {
        self.has_losses
    }

    /// Version from which the new log has every tombstone.
    pub fn history_from(&self) -> u64 {
        if self.left_out == 0 || chosen(Sabotage::CompleteHistory) { 0 } else { self.left_out + 1 }
    }

    fn is_live(&self, hash: IdHash, at: Location) -> bool {
        self.old.contents.borrow().index().contains(hash, at.offset)
            || chosen(Sabotage::CopyTheDead)
    }

    /// Whether a live needle is left out because it has expired. Never what was written since the compaction
    /// began: the new generation may have an earlier needle of its id, which would take its place.
    fn is_dropped(&self, header: &NeedleHeader) -> bool {
        let before = match chosen(Sabotage::DropWithoutGrace) {
            true => self.old.handle.wall(),
            false => self.drop_expired_before_ns,
        };
        self.mode == Mode::Copy && before > 0 && is_expired_at(header, before)
    }

    /// Carries a needle over whose header was read, if it lives. `limit` is the end of the log.
    ///
    /// # Errors
    /// See [`NotCompacted`].
    pub async fn carry(
        &mut self,
        header: &NeedleHeader,
        at: Location,
        limit: u64,
    ) -> Result<(), NotCompacted> {
        self.writer.raise_version(header.version);
        match header.kind {
            // Parts are carried over with their manifest, or with their upload.
            Kind::Part => Ok(()),
            Kind::Tombstone => self.carry_tombstone(header, at).await,
            Kind::Data | Kind::Manifest => {
                let hash = self.old.hasher.hash(header.id);
                if !self.is_live(hash, at) {
                    return Ok(());
                }
                if self.is_dropped(header) {
                    self.carried.expired += 1;
                    return Ok(());
                }
                self.reader.fill(at.offset, at.len, limit).await?;
                let previous = match chosen(Sabotage::KeepPrevious) {
                    true => Earlier { offset: header.previous, expiring: None },
                    false => self.previous(hash, header.id).await?,
                };
                match header.kind {
                    Kind::Manifest => self.carry_manifest(header, at, (hash, previous)).await,
                    _ => self.carry_bytes(header, at, (hash, previous)).await,
                }
            }
            Kind::Loss => {
                let hash = self.old.hasher.hash(header.id);
                if !self.is_live(hash, at) {
                    return Ok(());
                }
                let Earlier { offset: previous, expiring } = self.previous(hash, header.id).await?;
                self.add_record(NeedleHeader { previous, ..*header }, hash, expiring).await
            }
            Kind::UnidentifiedLoss => {
                let prefix = HashPrefix::of(header.id);
                let hash = {
                    let known = self.old.contents.borrow();
                    known.index().hashes_beginning(prefix.leading, prefix.bits).next()
                };
                let hash = hash.expect("a prefix has at least one hash");
                if !self.is_live(hash, at) {
                    return Ok(());
                }
                self.add_record(*header, hash, None).await
            }
            // The volume has a list of these, which is carried over as a whole.
            Kind::DamagedRange => Ok(()),
        }
    }

    /// Returns what the new generation has of an id.
    pub(super) async fn previous(
        &mut self,
        hash: IdHash,
        id: NeedleId,
    ) -> Result<Earlier, NotCompacted> {
        if self.mode == Mode::Copy || chosen(Sabotage::CatchUpWithoutRemoval) {
            return Ok(Earlier::default());
        }
        if self.writer.is_pending(hash) {
            self.writer.flush().await?;
        }
        let candidates: Vec<Location> =
            self.new.contents.borrow().index().candidates(hash).collect();
        for at in candidates {
            let header = self.carried_header(at).await?;
            if header.owner() == Some(id) {
                return Ok(Earlier { offset: at.offset, expiring: Expiring::of(&header) });
            }
        }
        Ok(Earlier::default())
    }

    /// Reads the header of a needle of the new generation.
    pub(super) async fn carried_header(&self, at: Location) -> Result<NeedleHeader, NotCompacted> {
        let failed = |error| NotCompacted::Io("read the new file", error);
        let reads = &self.new.file.stats.other_reads;
        let buf = self.new.handle.pool().alloc(to_usize(UNIT));
        let buf = buf.ok_or(failed(IoError::Errno(nix::libc::ENOBUFS)))?;
        let (buf, result) = self.new.file.read(buf, 0, to_usize(UNIT), at.offset, reads).await;
        result.map_err(failed)?;
        let found = decode_header(&buf, self.new.superblock.incarnation, at.offset);
        found.map(|(header, _)| header).ok_or(NotCompacted::ReadBack(at.offset))
    }

    /// Copies a needle that is in the window as it is: what failed its checksums before fails them
    /// afterwards.
    async fn carry_bytes(
        &mut self,
        header: &NeedleHeader,
        at: Location,
        (hash, previous): (IdHash, Earlier),
    ) -> Result<(), NotCompacted> {
        let (old, new) = (self.old.superblock.incarnation, self.new.superblock.incarnation);
        let bytes = self.reader.bytes(at.offset, at.len);
        let is_whole =
            verify_meta(bytes, header, old).is_ok() && verify_data(bytes, header).is_ok();
        if !is_whole && chosen(Sabotage::DropDamaged) {
            return Ok(());
        }
        let (offset, room) = self.writer.room(at.len).await?;
        room.copy_from_slice(bytes);
        let Earlier { offset: previous, expiring } = previous;
        let complete = self.writer.complete(NeedleHeader { previous, ..*header });
        reseal(self.writer.made(at.len), header, old, &complete, new, offset);
        self.writer.add_superseding(complete, hash, expiring);
        self.carried.needles += 1;
        self.carried.damaged += u64::from(!is_whole);
        Ok(())
    }

    /// Carries over a manifest that is in the window, with its parts in front of it.
    async fn carry_manifest(
        &mut self,
        header: &NeedleHeader,
        at: Location,
        place: (IdHash, Earlier),
    ) -> Result<(), NotCompacted> {
        let incarnation = self.old.superblock.incarnation;
        let bytes = self.reader.bytes(at.offset, at.len);
        let is_whole =
            verify_meta(bytes, header, incarnation).is_ok() && verify_data(bytes, header).is_ok();
        let data = &bytes[header.layout().data_range()];
        let parts = Manifest::decode(data).filter(|_| is_whole);
        let parts =
            parts.filter(|parts| parts.is_sound(header.body_len, self.old.superblock.log_end()));
        let Some(parts) = parts else {
            // Nothing can be read through it: its parts are not known.
            return self.carry_bytes(header, at, place).await;
        };
        let entries: Vec<PartEntry> = (0..parts.len()).map(|n| parts.part(n)).collect();
        let chunks: usize = entries.iter().map(PartEntry::chunks).sum();
        let sums: Vec<u64> = (0..chunks).map(|n| parts.sum(n)).collect();
        let mut manifest = bytes.to_vec();
        let (mut moved, mut first) = (Vec::with_capacity(entries.len()), 0);
        for entry in &entries {
            let sums = &sums[first..first + entry.chunks()];
            first += entry.chunks();
            let offset = match self.moved_parts.remove(&entry.offset) {
                Some(offset) => offset,
                None => self.carry_part(header, *entry, sums).await?,
            };
            let offset = if chosen(Sabotage::KeepPartOffsets) { entry.offset } else { offset };
            moved.push(PartEntry { offset, len: entry.len });
        }
        let layout = header.layout();
        let log_end = self.new.superblock.log_end();
        encode_manifest(
            &moved,
            &sums,
            header.body_len,
            log_end,
            &mut manifest[layout.data_range()],
        );
        encode_chunk_table(&mut manifest, &layout);
        let (hash, Earlier { offset: previous, expiring }) = place;
        let (offset, room) = self.writer.room(at.len).await?;
        room.copy_from_slice(&manifest);
        // They are in front of it.
        let header = NeedleHeader { previous, keeps_parts: false, ..*header };
        let complete = self.writer.complete(header);
        let incarnation = self.new.superblock.incarnation;
        encode_data_needle(&complete, incarnation, offset, self.writer.made(at.len));
        self.writer.add_superseding(complete, hash, expiring);
        self.carried.needles += 1;
        Ok(())
    }

    /// Copies a part of a body. Its data need not match its checksums: those in the manifest decide when it
    /// is read. Returns its new offset.
    async fn carry_part(
        &mut self,
        manifest: &NeedleHeader,
        part: PartEntry,
        sums: &[u64],
    ) -> Result<u64, NotCompacted> {
        let layout = NeedleLayout::data(0, part.len as usize);
        let len = layout.len as u64;
        let (offset, _) = self.writer.room(len).await?;
        let read = self.writer.read_into_room(&self.old, part.offset, len).await;
        if let Err(error) = read {
            let place = NotCompacted::Unreadable { offset: part.offset, len, error };
            if !self.accept_losses {
                return Err(place);
            }
            self.writer.read_damaged_into_room(&self.old, part.offset, len).await;
        }
        self.reader.bytes_read += len;
        let incarnation = self.old.superblock.incarnation;
        let needle = self.writer.made(len);
        let stored = decode_header(needle, incarnation, part.offset);
        let stored = stored.map(|(header, _)| header).filter(|header| {
            header.kind == Kind::Part && header.id == manifest.id && header.data_len == part.len
        });
        let header = stored.unwrap_or_else(|| {
            let data = &needle[layout.data_range()];
            NeedleHeader {
                kind: Kind::Part,
                data_len: part.len,
                body_len: u64::from(part.len),
                data_checksum: data_checksum(data),
                attributes_len: 0,
                parts_units: 0,
                expires_ns: None,
                keeps_parts: false,
                ..*manifest
            }
        });
        put_chunk_table(needle, &layout, sums);
        let complete = self.writer.complete(NeedleHeader { previous: 0, ..header });
        let incarnation = self.new.superblock.incarnation;
        let needle = self.writer.made(len);
        encode_data_needle(&complete, incarnation, offset, needle);
        let is_whole = verify_data(needle, &complete).is_ok();
        self.carried.damaged += u64::from(!is_whole);
        self.writer.add(complete, self.old.hasher.hash(header.id));
        Ok(offset)
    }

    /// Carries over a part of an upload in progress, if that was not done before. Returns its new offset.
    ///
    /// # Errors
    /// See [`NotCompacted`].
    pub async fn carry_upload_part(&mut self, at: u64, data_len: u32) -> Result<u64, NotCompacted> {
        if let Some(offset) = self.moved_parts.get(&at) {
            return Ok(*offset);
        }
        let layout = NeedleLayout::data(0, data_len as usize);
        let len = layout.len as u64;
        let (offset, _) = self.writer.room(len).await?;
        let read = self.writer.read_into_room(&self.old, at, len).await;
        read.map_err(|error| NotCompacted::Unreadable { offset: at, len, error })?;
        self.reader.bytes_read += len;
        let (old, new) = (self.old.superblock.incarnation, self.new.superblock.incarnation);
        let needle = self.writer.made(len);
        let Some((header, 0)) = decode_header(needle, old, at) else {
            let error = IoError::Errno(nix::libc::EIO);
            return Err(NotCompacted::Unreadable { offset: at, len, error });
        };
        let complete = self.writer.complete(header);
        reseal(self.writer.made(len), &header, old, &complete, new, offset);
        self.writer.add(complete, self.old.hasher.hash(header.id));
        self.moved_parts.insert(at, offset);
        Ok(offset)
    }

    async fn carry_tombstone(
        &mut self,
        header: &NeedleHeader,
        at: Location,
    ) -> Result<(), NotCompacted> {
        let hash = self.old.hasher.hash(header.id);
        if self.is_void(header, hash, at).await? {
            return Ok(());
        }
        let Earlier { offset: previous, expiring } = self.previous(hash, header.id).await?;
        // Another node may have deleted it first, but this one has known it only since the version.
        let deleted_ns = match self.old.has_copies() {
            true => header.version.max(header.modified_ns),
            false => header.modified_ns,
        };
        let age = self.old.handle.wall().saturating_sub(deleted_ns);
        let is_old = age >= self.tombstone_keep_ns || chosen(Sabotage::DropTombstones);
        if previous == 0 && is_old {
            self.left_out = self.left_out.max(header.version);
            return Ok(());
        }
        self.carried.tombstones += 1;
        self.add_record(NeedleHeader { previous, ..*header }, hash, expiring).await
    }

    /// Returns whether a tombstone deletes nothing because it was never acknowledged: a torn commit held it,
    /// and what it would delete lives.
    async fn is_void(
        &self,
        header: &NeedleHeader,
        hash: IdHash,
        at: Location,
    ) -> Result<bool, NotCompacted> {
        if self.old.contents.borrow().index().newest_below(hash, at.offset).is_none() {
            return Ok(false);
        }
        match self.old.look_up(header.id).await {
            Ok(Present::Yes(_, live) | Present::Damaged(_, live) | Present::Expired(_, live)) => {
                Ok(live.offset < at.offset)
            }
            Ok(Present::No | Present::Unknown) => Ok(false),
            Ok(Present::Lost) | Err(_) => {
                let error = IoError::Errno(nix::libc::EIO);
                Err(NotCompacted::Unreadable { offset: at.offset, len: at.len, error })
            }
        }
    }

    /// Adds a needle that consists of its header alone. `superseded`: what it supersedes or deletes, if that
    /// expires.
    pub(super) async fn add_record(
        &mut self,
        header: NeedleHeader,
        hash: IdHash,
        superseded: Option<Expiring>,
    ) -> Result<(), NotCompacted> {
        let len = header.layout().len as u64;
        let (offset, _) = self.writer.room(len).await?;
        let complete = self.writer.complete(header);
        let incarnation = self.new.superblock.incarnation;
        let room = self.writer.made(len);
        match header.kind {
            Kind::Tombstone => encode_tombstone(&complete, incarnation, offset, room),
            _ => {
                encode_loss(&complete, incarnation, offset, room);
                self.has_losses = true;
            }
        }
        self.writer.add_superseding(complete, hash, superseded);
        Ok(())
    }

    /// Carries over the knowledge that a range of the old generation is damaged.
    ///
    /// # Errors
    /// See [`NotCompacted`].
    pub async fn carry_damaged_range(&mut self, range: EarlierRange) -> Result<(), NotCompacted> {
        if chosen(Sabotage::DropDamagedRanges) {
            return Ok(());
        }
        let header = Loss::Range(range).header(self.old.handle.wall());
        self.add_record(header, self.old.hasher.hash(header.id), None).await
    }
}

fn to_usize(len: u64) -> usize {
    usize::try_from(len).expect("inside a buffer")
}
