//! Files on a simulated device with a volatile cache.
//!
//! Fault model: a sector (512 bytes) is written whole or not at all. What was written but not
//! flushed, and what is being written, survives a power cut sector by sector, or not. A durable
//! write vouches for itself only. Names are made durable by syncing the directory; of unsynced
//! changes a prefix survives. New space reads as zeros.

use std::collections::BTreeMap;
use std::rc::Rc;

use nix::libc;

/// Length of a sector (bytes).
pub const SECTOR: usize = 512;

/// What is on stable media: files by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Their bytes.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// A sector that may or may not have reached the media.
#[derive(Clone, Debug)]
pub struct Loose {
    inode: usize,
    sector: usize,
    bytes: Box<[u8; SECTOR]>,
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
    present: Vec<u8>,
    /// What survives a power cut for sure.
    durable: Vec<u8>,
}

/// The device.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changes: Vec<Change>,
    loose: Vec<Loose>,
}

/// What a power cut at some moment could leave behind.
#[derive(Clone, Debug)]
pub struct Wreck {
    durable: Vec<Rc<Vec<u8>>>,
    names: BTreeMap<String, usize>,
    changes: Vec<Change>,
    loose: Vec<Loose>,
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
        disk
    }

    /// The device after a kill of the process: everything that was written is seen, and what was
    /// not flushed is still only in the cache.
    #[must_use]
    pub fn after_kill(wreck: &Wreck) -> Self {
        let seen = wreck.image(|_| true, wreck.changes.len());
        let mut disk = Self { loose: wreck.loose.clone(), ..Self::default() };
        for durable in &wreck.durable {
            let durable = Vec::clone(durable);
            disk.inodes.push(Inode { present: durable.clone(), durable });
        }
        disk.durable_names.clone_from(&wreck.names);
        disk.names.clone_from(&wreck.names);
        for change in &wreck.changes {
            disk.change(change.clone());
        }
        for (name, bytes) in seen.files {
            let inode = disk.names[&name];
            disk.inodes[inode].present = bytes;
        }
        disk
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

    /// Renames a file.
    ///
    /// # Errors
    /// `ENOENT` when there is none, `EEXIST` when the new name is taken.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), i32> {
        if !self.names.contains_key(from) {
            return Err(libc::ENOENT);
        }
        if self.names.contains_key(to) {
            return Err(libc::EEXIST);
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
        let bytes = &mut self.inodes[inode].present;
        bytes.resize(bytes.len().max(len), 0);
    }

    /// What a read sees.
    #[must_use]
    pub fn bytes(&self, inode: usize) -> &[u8] {
        &self.inodes[inode].present
    }

    /// Writes sectors, extending the file where it must; `durable` ones are flushed at once.
    pub fn write(&mut self, inode: usize, offset: usize, bytes: &[u8], durable: bool) {
        let end = offset + bytes.len();
        self.allocate(inode, end);
        let file = &mut self.inodes[inode];
        file.present[offset..end].copy_from_slice(bytes);
        if durable {
            if file.durable.len() < end {
                file.durable.resize(end, 0);
            }
            file.durable[offset..end].copy_from_slice(bytes);
            let written = offset / SECTOR..end / SECTOR;
            self.loose.retain(|l| l.inode != inode || !written.contains(&l.sector));
        } else {
            self.loose.extend(loose(inode, offset, bytes));
        }
    }

    /// Flushes a file's completed writes and its length.
    pub fn sync(&mut self, inode: usize) {
        self.loose.retain(|loose| loose.inode != inode);
        let file = &mut self.inodes[inode];
        file.durable.clone_from(&file.present);
    }

    /// What a power cut now could leave behind; `writing` are writes in flight.
    #[must_use]
    pub fn wreck(&self, writing: &[(usize, usize, Vec<u8>)]) -> Wreck {
        let mut all = self.loose.clone();
        for (inode, offset, bytes) in writing {
            all.extend(loose(*inode, *offset, bytes));
        }
        Wreck {
            durable: self.inodes.iter().map(|inode| Rc::new(inode.durable.clone())).collect(),
            names: self.durable_names.clone(),
            changes: self.changes.clone(),
            loose: all,
        }
    }

    /// What a killed process leaves behind: everything that was completed.
    #[must_use]
    pub fn image(&self) -> Image {
        let files = self.names.iter();
        let files = files.map(|(name, &inode)| (name.clone(), self.inodes[inode].present.clone()));
        Image { files: files.collect() }
    }
}

fn loose(inode: usize, offset: usize, bytes: &[u8]) -> impl Iterator<Item = Loose> + '_ {
    let sectors = bytes.chunks_exact(SECTOR).enumerate();
    sectors.map(move |(n, sector)| Loose {
        inode,
        sector: offset / SECTOR + n,
        bytes: Box::new(sector.try_into().expect("whole sectors")),
    })
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

    /// One of the possible images: `survives` says which loose sectors made it, `changes` how many
    /// of the name changes.
    #[must_use]
    pub fn image(&self, mut survives: impl FnMut(usize) -> bool, changes: usize) -> Image {
        let mut names = self.names.clone();
        for change in &self.changes[..changes] {
            apply(&mut names, change);
        }
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (name, &inode) in &names {
            let mut bytes = Vec::clone(&self.durable[inode]);
            for (n, loose) in self.loose.iter().enumerate() {
                let at = loose.sector * SECTOR;
                if loose.inode == inode && survives(n) {
                    if bytes.len() < at + SECTOR {
                        bytes.resize(at + SECTOR, 0);
                    }
                    bytes[at..at + SECTOR].copy_from_slice(&loose.bytes[..]);
                }
            }
            files.insert(name.clone(), bytes);
        }
        Image { files }
    }
}
