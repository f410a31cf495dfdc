//! Files on a simulated device with a volatile cache.
//!
//! A sector (512 bytes) is written whole or not at all. What was written but not flushed, and what is
//! being written, survives a power cut sector by sector, or not. A durable write vouches for itself
//! only, as if the device had FUA; on a device without ([`Disk::without_fua`]) it flushes the whole
//! cache. Names are made durable by syncing the directory; of unsynced changes a prefix survives. New
//! space reads as zeros.
//!
//! With [`Disk::with_unwritten_extents`], space that was never durably written is an unwritten extent, as
//! on XFS: what a write puts there can be read at once, but after a power cut the space reads as
//! zeros again unless the conversion of the extent was synced, or happened to be logged: for each write
//! as a whole.
//!
//! What can go wrong besides power cuts is told by [`super::fault`].

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use nix::libc;

use super::pages::{PAGE, Pages};

/// Length of a sector (bytes).
pub const SECTOR: usize = 512;

/// What is on stable media: files by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Their bytes.
    pub files: BTreeMap<String, Pages>,
    /// Sectors that can be neither read nor written, by file name and number.
    pub bad: BTreeSet<(String, usize)>,
}

impl Image {
    /// One file.
    #[must_use]
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        Self { files: [(name.to_owned(), Pages::from(bytes))].into(), ..Self::default() }
    }

    /// A copy of a file's bytes.
    ///
    /// # Panics
    /// When there is no such file.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.files[name].to_vec()
    }

    /// A file, to be damaged.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn file(&mut self, name: &str) -> &mut Pages {
        self.files.get_mut(name).expect("a file of that name")
    }

    /// Changes a file's bytes.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn edit<T>(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut bytes = self.bytes(name);
        let result = change(&mut bytes);
        *self.file(name) = Pages::from(&bytes[..]);
        result
    }
}

/// Bytes that may or may not have reached the media, all or none: a sector, or what one write put
/// into unwritten extents.
#[derive(Clone, Debug)]
pub struct Loose {
    inode: usize,
    at: usize,
    bytes: Rc<[u8]>,
}

#[derive(Clone, Debug)]
enum Change {
    Link(String, usize),
    Rename(String, String),
    Unlink(String),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    /// What a read sees.
    present: Pages,
    /// What survives a power cut for sure.
    durable: Pages,
}

/// The device.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changes: Vec<Change>,
    loose: Vec<Loose>,
    /// Sectors that can be neither read nor written.
    bad: BTreeSet<(usize, usize)>,
    flushes_all: bool,
    unwritten: bool,
}

/// What a power cut at some moment could leave behind.
#[derive(Clone, Debug)]
pub struct Wreck {
    durable: Vec<Pages>,
    names: BTreeMap<String, usize>,
    changes: Vec<Change>,
    loose: Vec<Loose>,
    bad: BTreeSet<(usize, usize)>,
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Link(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        Change::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        Change::Unlink(name) => {
            names.remove(name);
        }
    }
}

impl Disk {
    /// The device after a restart.
    #[must_use]
    pub fn from_image(image: &Image) -> Self {
        let mut disk = Self::default();
        for (name, bytes) in &image.files {
            disk.names.insert(name.clone(), disk.inodes.len());
            disk.inodes.push(Inode { present: bytes.clone(), durable: bytes.clone() });
        }
        disk.durable_names = disk.names.clone();
        let bad = image.bad.iter().filter_map(|(name, n)| Some((*disk.names.get(name)?, *n)));
        disk.bad = bad.collect();
        disk
    }

    /// The device after a kill of the process: everything that was written is seen, and what was
    /// not flushed is still only in the cache.
    #[must_use]
    pub fn after_kill(wreck: &Wreck) -> Self {
        let inode = |durable: &Pages| Inode { present: durable.clone(), durable: durable.clone() };
        let mut disk = Self {
            inodes: wreck.durable.iter().map(inode).collect(),
            names: wreck.names.clone(),
            durable_names: wreck.names.clone(),
            loose: wreck.loose.clone(),
            bad: wreck.bad.clone(),
            ..Self::default()
        };
        for change in &wreck.changes {
            disk.change(change.clone());
        }
        for loose in &wreck.loose {
            disk.inodes[loose.inode].present.write(loose.at, &loose.bytes);
        }
        disk
    }

    /// The same device, but without FUA: every durable write flushes its whole cache.
    #[must_use]
    pub fn without_fua(self) -> Self {
        Self { flushes_all: true, ..self }
    }

    /// The same device under a file system with unwritten extents. Space counts as written when it was
    /// durably written, or holds something else than zeros in the image.
    #[must_use]
    pub fn with_unwritten_extents(self) -> Self {
        Self { unwritten: true, ..self }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }

    /// Which file has this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// The name of a file; empty when it has none any more.
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

    /// Makes an empty file; nothing when the name is taken.
    pub fn create(&mut self, name: &str) -> Option<usize> {
        if self.names.contains_key(name) {
            return None;
        }
        let inode = self.inodes.len();
        self.inodes.push(Inode::default());
        self.change(Change::Link(name.to_owned(), inode));
        Some(inode)
    }

    /// Renames a file; one that has the new name goes, if it may be replaced.
    ///
    /// # Errors
    /// `ENOENT` when there is none, `EEXIST` when the new name is taken and is not to be replaced.
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

    /// Removes a name: whether it was there.
    pub fn unlink(&mut self, name: &str) -> bool {
        let there = self.names.contains_key(name);
        if there {
            self.change(Change::Unlink(name.to_owned()));
        }
        there
    }

    /// Makes names durable.
    pub fn sync_names(&mut self) {
        self.changes.clear();
        self.durable_names = self.names.clone();
    }

    /// Length of a file (bytes).
    #[must_use]
    pub fn len(&self, inode: usize) -> usize {
        self.inodes[inode].present.len()
    }

    /// Gives a file at least this length; new space is zero. Durable with the next sync.
    pub fn allocate(&mut self, inode: usize, len: usize) {
        let file = &mut self.inodes[inode].present;
        file.resize(file.len().max(len));
    }

    /// What a read sees: how much there was to read.
    pub fn read(&self, inode: usize, at: usize, out: &mut [u8]) -> usize {
        let file = &self.inodes[inode].present;
        let at = at.min(file.len());
        let len = out.len().min(file.len() - at);
        file.read(at, &mut out[..len]);
        len
    }

    /// Writes sectors, extending the file where it must; `durable` ones are flushed at once.
    pub fn write(&mut self, inode: usize, at: usize, bytes: &[u8], durable: bool) {
        self.inodes[inode].present.write(at, bytes);
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

    /// Writes sectors that a power cut will undo, whatever is synced until then: the device or the
    /// kernel has given them up, and yet they are seen.
    pub fn write_doomed(&mut self, inode: usize, at: usize, bytes: &[u8]) {
        self.inodes[inode].present.write(at, bytes);
    }

    /// What overlaps a durable write is not loose any more.
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

    /// Flushes a file's completed writes and its length.
    pub fn sync(&mut self, inode: usize) {
        let len = self.len(inode);
        let durable = &mut self.inodes[inode].durable;
        durable.resize(durable.len().max(len));
        for loose in self.loose.extract_if(.., |loose| loose.inode == inode) {
            durable.write(loose.at, &loose.bytes);
        }
    }

    /// Gives up a file's writes that are not flushed: a power cut will undo them, whatever is synced
    /// until then, and yet they are seen.
    pub fn doom(&mut self, inode: usize) {
        self.loose.retain(|loose| loose.inode != inode);
    }

    /// Makes durable what the device has; what the file system still has to log is no matter of the
    /// device.
    fn flush_cache(&mut self) {
        for loose in std::mem::take(&mut self.loose) {
            if self.unwritten && self.in_unwritten(loose.inode, loose.at) {
                self.loose.push(loose);
            } else {
                self.inodes[loose.inode].durable.write(loose.at, &loose.bytes);
            }
        }
    }

    fn in_unwritten(&self, inode: usize, at: usize) -> bool {
        self.inodes[inode].durable.page(at / PAGE).is_none()
    }

    /// What of a write may survive on its own.
    fn loosen(&self, inode: usize, at: usize, bytes: &[u8]) -> Vec<Loose> {
        assert!(at.is_multiple_of(SECTOR) && bytes.len().is_multiple_of(SECTOR), "whole sectors");
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

    /// Whether a sector in this range is bad.
    #[must_use]
    pub fn is_bad(&self, inode: usize, at: usize, len: usize) -> bool {
        let sectors = (inode, at / SECTOR)..(inode, (at + len).div_ceil(SECTOR));
        sectors.start < sectors.end && self.bad.range(sectors).next().is_some()
    }

    /// Makes a sector bad: it can be neither read nor written any more.
    pub fn spoil(&mut self, inode: usize, sector: usize) {
        self.bad.insert((inode, sector));
    }

    /// Turns a bit over, on the media and in what is seen.
    pub fn rot(&mut self, inode: usize, byte: usize, bit: u32) {
        let file = &mut self.inodes[inode];
        file.present.flip(byte, bit);
        if byte < file.durable.len() {
            file.durable.flip(byte, bit);
        }
    }

    /// What a power cut now could leave behind; `writing` are writes in flight.
    #[must_use]
    pub fn wreck(&self, writing: &[(usize, usize, Vec<u8>)]) -> Wreck {
        let mut all = self.loose.clone();
        for (inode, at, bytes) in writing {
            all.extend(self.loosen(*inode, *at, bytes));
        }
        Wreck {
            durable: self.inodes.iter().map(|inode| inode.durable.clone()).collect(),
            names: self.durable_names.clone(),
            changes: self.changes.clone(),
            loose: all,
            bad: self.bad.clone(),
        }
    }

    /// What a killed process leaves behind: everything that was completed.
    #[must_use]
    pub fn image(&self) -> Image {
        let files = self.names.iter();
        let files = files.map(|(name, &inode)| (name.clone(), self.inodes[inode].present.clone()));
        Image { files: files.collect(), bad: bad_sectors(&self.bad, &self.names) }
    }
}

fn bad_sectors(
    bad: &BTreeSet<(usize, usize)>,
    names: &BTreeMap<String, usize>,
) -> BTreeSet<(String, usize)> {
    let name = |wanted: usize| names.iter().find(|(_, inode)| **inode == wanted);
    let named = bad.iter().filter_map(|(inode, n)| Some((name(*inode)?.0.clone(), *n)));
    named.collect()
}

impl Wreck {
    /// Sectors that may or may not have survived.
    #[must_use]
    pub fn loose(&self) -> usize {
        self.loose.len()
    }

    /// Name changes that may or may not have survived.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.changes.len()
    }

    /// The same without loose sectors that hold what is on the media anyway: their survival makes no
    /// difference.
    #[must_use]
    pub fn trimmed(&self) -> Self {
        let mut loose: Vec<Loose> = Vec::new();
        for one in &self.loose {
            let overlaps = |other: &Loose| {
                other.inode == one.inode
                    && other.at < one.at + one.bytes.len()
                    && one.at < other.at + other.bytes.len()
            };
            let changes =
                !self.durable[one.inode].holds(one.at, &one.bytes) || loose.iter().any(overlaps);
            if changes {
                loose.push(one.clone());
            }
        }
        Self { loose, ..self.clone() }
    }

    /// One of the possible images: `survives` says which loose sectors made it, `changes` how many
    /// of the name changes.
    #[must_use]
    pub fn image(&self, mut survives: impl FnMut(usize) -> bool, changes: usize) -> Image {
        let mut names = self.names.clone();
        for change in &self.changes[..changes] {
            apply(&mut names, change);
        }
        let mut files: BTreeMap<String, Pages> = BTreeMap::new();
        for (name, &inode) in &names {
            let mut file = self.durable[inode].clone();
            for (n, loose) in self.loose.iter().enumerate() {
                if loose.inode == inode && survives(n) {
                    file.write(loose.at, &loose.bytes);
                }
            }
            files.insert(name.clone(), file);
        }
        Image { files, bad: bad_sectors(&self.bad, &names) }
    }
}
