//! Files on a simulated device with a volatile cache.
//!
//! A sector (512 bytes) is written completely or not at all. After a power cut, each sector that was written
//! but not flushed, or that was being written, survives or is lost independently of the others. A durable
//! write makes only itself durable, as on a device with FUA; on a device without FUA
//! ([`Disk::without_fua`]) it flushes the whole cache. Names become durable when their directory is synced;
//! of unsynced changes of names a prefix survives. New space reads as zeros. Files of directory 0 have plain
//! names, those of directory `n` the prefix `n/`.
//!
//! With [`Disk::with_unwritten_extents`], space that was never durably written is an unwritten extent, as on
//! XFS: written data can be read at once, but after a power cut the space reads as zeros again unless the
//! conversion of the extent was synced, or happened to be logged. Each write into such space survives or is
//! lost as a whole.
//!
//! Space is counted in blocks of 4096 bytes. A block of a file is allocated when it is written or reserved,
//! and is free again when the file has no name and is not open. Setting the length of a file allocates
//! nothing. A reserved block behaves as on XFS, where the reservation is in a log in memory: it certainly
//! survives a power cut only after the file was synced. A durable write keeps the blocks that it writes, and
//! no others. XFS would keep the blocks reserved before it too; nothing may rely on that. The number of
//! blocks is unlimited, unless [`Disk::set_capacity`] limits it. A file of an [`Image`] that was made from
//! bytes has all its blocks.
//!
//! A sector can be bad, so that neither reads nor writes of it succeed, or unreadable, so that reads fail
//! until it is written. A power cut that loses the write makes it unreadable again. Faults other than these
//! and power cuts are in [`super::fault`].

mod image;
#[cfg(test)]
mod tests;
mod unreadable;
mod wreck;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use nix::libc;

use super::blocks::touched;
use super::page::PAGE;
use super::pages::Pages;
use unreadable::Unreadable;
use wreck::{Change, apply, bad_sectors, directory_of};

pub use super::page::SECTOR;
pub use image::Image;
pub use wreck::{Loose, Wreck};

#[derive(Clone, Debug, Default)]
struct Inode {
    /// Contents that a read returns.
    present: Pages,
    /// Contents that certainly survive a power cut.
    durable: Pages,
}

/// The simulated device.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changes: Vec<Change>,
    loose: Vec<Loose>,
    /// Bad sectors, by inode and sector number.
    bad: BTreeSet<(usize, usize)>,
    unreadable: Unreadable,
    /// Whether a durable write flushes the whole cache.
    flushes_all: bool,
    /// Whether there are unwritten extents.
    unwritten: bool,
    /// Number of blocks of the device; `None` for no limit.
    capacity: Option<usize>,
    /// Number of blocks that other programs use.
    foreign: usize,
}

impl Disk {
    /// Creates a device with the contents of `image`, as after a restart.
    #[must_use]
    pub fn from_image(image: &Image) -> Self {
        let mut disk = Self::default();
        for (name, bytes) in &image.files {
            disk.names.insert(name.clone(), disk.inodes.len());
            disk.inodes.push(Inode { present: bytes.clone(), durable: bytes.clone() });
        }
        disk.durable_names = disk.names.clone();
        let by_inode = |(name, n): &(String, usize)| Some((*disk.names.get(name)?, *n));
        let (bad, unreadable) = (&image.bad, &image.unreadable);
        let bad = bad.iter().filter_map(by_inode).collect();
        let unreadable = Unreadable::new(unreadable.iter().filter_map(by_inode).collect());
        Self { bad, unreadable, ..disk }
    }

    /// Creates the device after the process was killed: all written data can be read, and unflushed data is
    /// still only in the cache.
    #[must_use]
    pub fn after_kill(wreck: &Wreck) -> Self {
        let inode = |durable: &Pages| Inode { present: durable.clone(), durable: durable.clone() };
        let mut disk = Self {
            inodes: wreck.durable.iter().map(inode).collect(),
            names: wreck.names.clone(),
            durable_names: wreck.names.clone(),
            loose: wreck.loose.clone(),
            bad: wreck.bad.clone(),
            unreadable: Unreadable::new(wreck.unreadable.clone()),
            ..Self::default()
        };
        for change in &wreck.changes {
            disk.change(change.clone());
        }
        for (inode, (len, allocated)) in disk.inodes.iter_mut().zip(&wreck.known) {
            inode.present.resize(*len);
            inode.present.set_allocated(allocated.clone());
        }
        for loose in &wreck.loose {
            disk.inodes[loose.inode].present.write(loose.at, &loose.bytes);
            disk.unreadable.written(loose.inode, loose.range(), false);
        }
        disk
    }

    /// Returns the device without FUA: every durable write flushes the whole cache.
    #[must_use]
    pub fn without_fua(self) -> Self {
        Self { flushes_all: true, ..self }
    }

    /// Returns the device under a file system with unwritten extents. A page counts as written when it was
    /// durably written, or is not all zeros in the image.
    #[must_use]
    pub fn with_unwritten_extents(self) -> Self {
        Self { unwritten: true, ..self }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }

    /// Returns the inode of the file with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Returns the name of a file; empty after its removal.
    #[must_use]
    pub fn name_of(&self, inode: usize) -> String {
        let named = self.names.iter().find(|(_, found)| **found == inode);
        named.map_or_else(String::new, |(name, _)| name.clone())
    }

    /// All names, in order.
    #[must_use]
    pub fn all_names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    /// Creates an empty file and returns its inode; `None` when the name exists.
    pub fn create(&mut self, name: &str) -> Option<usize> {
        if self.names.contains_key(name) {
            return None;
        }
        let inode = self.inodes.len();
        self.inodes.push(Inode::default());
        self.change(Change::Link(name.to_owned(), inode));
        Some(inode)
    }

    /// Renames a file. With `replace`, an existing file with the new name is removed.
    ///
    /// # Errors
    /// `ENOENT` when there is no file `from`, `EEXIST` when `to` exists and `replace` is false.
    pub fn rename(&mut self, from: &str, to: &str, replace: bool) -> Result<(), i32> {
        if !self.names.contains_key(from) {
            return Err(libc::ENOENT);
        }
        if self.names.contains_key(to) && !replace {
            return Err(libc::EEXIST);
        }
        if from == to {
            return Ok(());
        }
        self.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    /// Removes a name. Returns whether it existed.
    pub fn unlink(&mut self, name: &str) -> bool {
        let there = self.names.contains_key(name);
        if there {
            self.change(Change::Unlink(name.to_owned()));
        }
        there
    }

    /// Makes the changes of names in a directory durable.
    pub fn sync_directory(&mut self, directory: u32) {
        let is_inside = |change: &mut Change| directory_of(change.name()) == directory;
        for change in self.changes.extract_if(.., is_inside) {
            apply(&mut self.durable_names, &change);
        }
    }

    /// Makes all changes of names durable.
    pub fn sync_names(&mut self) {
        self.changes.clear();
        self.durable_names = self.names.clone();
    }

    /// Length of a file (bytes).
    #[must_use]
    pub fn len(&self, inode: usize) -> usize {
        self.inodes[inode].present.len()
    }

    /// Reserves the blocks of `len` bytes at `at`, and extends the file to their end if necessary. Both
    /// become durable with the next sync.
    pub fn allocate(&mut self, inode: usize, at: usize, len: usize) {
        self.inodes[inode].present.allocate(at, len);
    }

    /// Sets the length of a file (bytes). A larger length becomes durable with the next sync. What is beyond
    /// a smaller length is discarded at once, on the media too.
    pub fn set_len(&mut self, inode: usize, len: usize) {
        let Inode { present, durable } = &mut self.inodes[inode];
        present.resize(len);
        durable.resize(durable.len().min(len));
        self.loose.retain(|loose| loose.inode != inode || loose.at < len);
        for loose in self.loose.iter_mut().filter(|loose| loose.inode == inode) {
            let kept = loose.bytes.len().min(len - loose.at);
            loose.bytes = loose.bytes[..kept].into();
        }
    }

    /// Limits the number of blocks of the device.
    pub fn set_capacity(&mut self, blocks: usize) {
        self.capacity = Some(blocks);
    }

    /// Gives `blocks` free blocks to other programs.
    pub fn occupy(&mut self, blocks: usize) {
        self.foreign += blocks;
    }

    /// Takes up to `blocks` blocks back from other programs.
    pub fn vacate(&mut self, blocks: usize) {
        self.foreign = self.foreign.saturating_sub(blocks);
    }

    /// Number of free blocks, where `is_open` says which files without a name still have their blocks.
    #[must_use]
    pub fn free_blocks(&self, is_open: impl Fn(usize) -> bool) -> usize {
        let Some(capacity) = self.capacity else { return usize::MAX };
        let named: BTreeSet<usize> = self.names.values().copied().collect();
        let exists = |inode: &usize| named.contains(inode) || is_open(*inode);
        let inodes = self.inodes.iter().enumerate().filter(|(inode, _)| exists(inode));
        let used: usize = inodes.map(|(_, file)| file.present.allocated().count()).sum();
        capacity.saturating_sub(used + self.foreign)
    }

    /// Number of blocks that `len` bytes at `at` touch and that are not allocated.
    #[must_use]
    pub fn missing_blocks(&self, inode: usize, at: usize, len: usize) -> usize {
        self.inodes[inode].present.allocated().missing(&touched(at, len))
    }

    /// Reads at `at` into `out`. Returns the number of bytes read, fewer at the end of the file.
    pub fn read(&self, inode: usize, at: usize, out: &mut [u8]) -> usize {
        let file = &self.inodes[inode].present;
        let at = at.min(file.len());
        let len = out.len().min(file.len() - at);
        file.read(at, &mut out[..len]);
        len
    }

    /// Writes sectors and extends the file if necessary. With `durable` they are flushed at once.
    pub fn write(&mut self, inode: usize, at: usize, bytes: &[u8], durable: bool) {
        self.inodes[inode].present.write(at, bytes);
        self.unreadable.written(inode, at..at + bytes.len(), durable);
        if durable {
            self.inodes[inode].durable.write(at, bytes);
            self.settle(inode, &(at..at + bytes.len()));
            if self.flushes_all {
                self.flush_cache();
            }
        } else {
            let loose = self.loosen(inode, at, bytes);
            self.loose.extend(loose);
        }
    }

    /// Writes sectors that the device or the kernel has discarded: they can be read, but a power cut undoes
    /// them even after a sync.
    pub fn write_discarded(&mut self, inode: usize, at: usize, bytes: &[u8]) {
        self.inodes[inode].present.write(at, bytes);
        self.unreadable.written(inode, at..at + bytes.len(), false);
    }

    /// Removes the range of a durable write from the loose bytes.
    fn settle(&mut self, inode: usize, written: &Range<usize>) {
        let overlaps = |loose: &Loose| {
            loose.inode == inode
                && loose.at < written.end
                && loose.at + loose.bytes.len() > written.start
        };
        let over: Vec<Loose> = self.loose.extract_if(.., |loose| overlaps(loose)).collect();
        for Loose { at, bytes, .. } in over {
            let mut keep = |part: Range<usize>| {
                if part.start < part.end {
                    let bytes = bytes[part.start - at..part.end - at].into();
                    self.loose.push(Loose { inode, at: part.start, bytes });
                }
            };
            keep(at..written.start);
            keep(written.end..at + bytes.len());
        }
    }

    /// Makes a file's completed writes, its length and its allocated blocks durable.
    pub fn sync(&mut self, inode: usize) {
        let len = self.len(inode);
        let Inode { present, durable } = &mut self.inodes[inode];
        durable.resize(durable.len().max(len));
        durable.set_allocated(present.allocated().clone());
        for loose in self.loose.extract_if(.., |loose| loose.inode == inode) {
            durable.write(loose.at, &loose.bytes);
            self.unreadable.written(inode, loose.range(), true);
        }
    }

    /// Discards a file's unflushed writes: they can still be read, but a power cut undoes them even after a
    /// sync.
    pub fn discard_unflushed(&mut self, inode: usize) {
        self.loose.retain(|loose| loose.inode != inode);
    }

    /// Makes the contents of the device's cache durable, except for writes into unwritten extents, whose
    /// conversion the file system has yet to log.
    fn flush_cache(&mut self) {
        for loose in std::mem::take(&mut self.loose) {
            if self.unwritten && self.in_unwritten(loose.inode, loose.at) {
                self.loose.push(loose);
            } else {
                self.inodes[loose.inode].durable.write(loose.at, &loose.bytes);
                self.unreadable.written(loose.inode, loose.range(), true);
            }
        }
    }

    fn in_unwritten(&self, inode: usize, at: usize) -> bool {
        self.inodes[inode].durable.page(at / PAGE).is_none()
    }

    /// Divides a write into the pieces that survive a power cut independently.
    fn loosen(&self, inode: usize, at: usize, bytes: &[u8]) -> Vec<Loose> {
        assert!(
            at.is_multiple_of(SECTOR) && bytes.len().is_multiple_of(SECTOR),
            "a write has whole sectors"
        );
        let mut all: Vec<Loose> = Vec::new();
        let mut from = 0;
        while from < bytes.len() {
            let mut to = from + SECTOR;
            let unwritten = |from: usize| self.unwritten && self.in_unwritten(inode, at + from);
            while unwritten(from) && to < bytes.len() && unwritten(to) {
                to += SECTOR;
            }
            all.push(Loose { inode, at: at + from, bytes: bytes[from..to].into() });
            from = to;
        }
        all
    }

    /// Whether the range contains a bad sector.
    #[must_use]
    pub fn is_bad(&self, inode: usize, at: usize, len: usize) -> bool {
        let sectors = (inode, at / SECTOR)..(inode, (at + len).div_ceil(SECTOR));
        sectors.start < sectors.end && self.bad.range(sectors).next().is_some()
    }

    /// Makes a sector bad, so that reads and writes of it fail.
    pub fn spoil(&mut self, inode: usize, sector: usize) {
        self.bad.insert((inode, sector));
    }

    /// Whether reads of the range fail because it contains an unreadable sector.
    #[must_use]
    pub fn is_unreadable(&self, inode: usize, at: usize, len: usize) -> bool {
        self.unreadable.touches(inode, at, len)
    }

    /// Makes a sector unreadable until it is written.
    pub fn wear_out(&mut self, inode: usize, sector: usize) {
        self.unreadable.add(inode, sector);
    }

    /// Makes a sector readable again, with its content.
    pub fn make_readable(&mut self, inode: usize, sector: usize) {
        self.unreadable.written(inode, sector * SECTOR..(sector + 1) * SECTOR, true);
    }

    /// Sectors of which reads fail until they are written, by the name of their file.
    #[must_use]
    pub fn unreadable_sectors(&self) -> BTreeSet<(String, usize)> {
        bad_sectors(self.unreadable.present(), &self.names)
    }

    /// Flips a bit, on the media and in the contents that a read returns.
    pub fn rot(&mut self, inode: usize, byte: usize, bit: u32) {
        let file = &mut self.inodes[inode];
        file.present.flip(byte, bit);
        if byte < file.durable.len() {
            file.durable.flip(byte, bit);
        }
    }

    /// Returns the crash states of a power cut now. `writing` are the writes in flight: inode, offset, bytes.
    #[must_use]
    pub fn wreck(&self, writing: &[(usize, usize, Vec<u8>)]) -> Wreck {
        let mut all = self.loose.clone();
        for (inode, at, bytes) in writing {
            all.extend(self.loosen(*inode, *at, bytes));
        }
        Wreck {
            durable: self.inodes.iter().map(|inode| inode.durable.clone()).collect(),
            known: self.inodes.iter().map(|inode| inode.present.known()).collect(),
            names: self.durable_names.clone(),
            changes: self.changes.clone(),
            loose: all,
            bad: self.bad.clone(),
            unreadable: self.unreadable.on_media().clone(),
        }
    }

    /// Returns the contents after the process is killed: all completed writes.
    #[must_use]
    pub fn image(&self) -> Image {
        let files = self.names.iter();
        let files = files.map(|(name, &inode)| (name.clone(), self.inodes[inode].present.clone()));
        let bad = bad_sectors(&self.bad, &self.names);
        Image { files: files.collect(), bad, unreadable: self.unreadable_sectors() }
    }
}
