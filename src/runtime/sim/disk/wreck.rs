//! What a power cut may leave of a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use super::image::Image;
use super::unreadable::Unreadable;
use crate::runtime::sim::blocks::Blocks;
use crate::runtime::sim::pages::Pages;

/// Bytes that a power cut may keep or lose, all or none: a sector, or the part of one write that is in
/// unwritten extents.
#[derive(Clone, Debug)]
pub struct Loose {
    pub(in crate::runtime::sim) inode: usize,
    pub(in crate::runtime::sim) at: usize,
    pub(in crate::runtime::sim) bytes: Rc<[u8]>,
}

impl Loose {
    /// Its bytes of the file.
    pub fn range(&self) -> Range<usize> {
        self.at..self.at + self.bytes.len()
    }
}

/// A change of names.
#[derive(Clone, Debug)]
pub enum Change {
    Link(String, usize),
    Rename(String, String),
    Unlink(String),
}

impl Change {
    /// The name that is changed; all names of a change are in one directory.
    pub fn name(&self) -> &str {
        match self {
            Self::Link(name, _) | Self::Rename(name, _) | Self::Unlink(name) => name,
        }
    }
}

/// Number of the directory of a file with this name.
pub fn directory_of(name: &str) -> u32 {
    let prefix = name.split_once('/').map(|(directory, _)| directory);
    prefix.map_or(0, |directory| directory.parse().expect("the number of a directory"))
}

/// Set of crash states: the images that a power cut at some moment could leave.
#[derive(Clone, Debug)]
pub struct Wreck {
    pub(in crate::runtime::sim) durable: Vec<Pages>,
    /// Length and allocated blocks of each file as the kernel has them, which a kill leaves.
    pub(in crate::runtime::sim) known: Vec<(usize, Blocks)>,
    pub(in crate::runtime::sim) names: BTreeMap<String, usize>,
    pub(in crate::runtime::sim) changes: Vec<Change>,
    pub(in crate::runtime::sim) loose: Vec<Loose>,
    pub(in crate::runtime::sim) bad: BTreeSet<(usize, usize)>,
    pub(in crate::runtime::sim) unreadable: BTreeSet<(usize, usize)>,
}

/// Applies a change to the names of files.
pub fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
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

/// Returns bad sectors by the name of their file.
pub fn bad_sectors(
    bad: &BTreeSet<(usize, usize)>,
    names: &BTreeMap<String, usize>,
) -> BTreeSet<(String, usize)> {
    let name = |wanted: usize| names.iter().find(|(_, inode)| **inode == wanted);
    let named = bad.iter().filter_map(|(inode, n)| Some((name(*inode)?.0.clone(), *n)));
    named.collect()
}

impl Wreck {
    /// Number of loose pieces, which may or may not survive.
    #[must_use]
    pub fn loose(&self) -> usize {
        self.loose.len()
    }

    /// Number of name changes, of which a prefix survives.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.changes.len()
    }

    /// Returns the crash states without loose pieces that equal the media, whose survival makes no
    /// difference.
    #[must_use]
    pub fn trimmed(&self) -> Self {
        let mut loose: Vec<Loose> = Vec::new();
        let unreadable = Unreadable::new(self.unreadable.clone());
        for one in &self.loose {
            let overlaps = |other: &Loose| {
                other.inode == one.inode
                    && other.at < one.at + one.bytes.len()
                    && one.at < other.at + other.bytes.len()
            };
            let changes = !self.durable[one.inode].holds(one.at, &one.bytes)
                || unreadable.touches(one.inode, one.at, one.bytes.len())
                || loose.iter().any(overlaps);
            if changes {
                loose.push(one.clone());
            }
        }
        Self { loose, ..self.clone() }
    }

    /// Returns one crash state: `survives` says which loose pieces survive, `changes` how many of the name
    /// changes.
    #[must_use]
    pub fn image(&self, mut survives: impl FnMut(usize) -> bool, changes: usize) -> Image {
        let mut names = self.names.clone();
        for change in &self.changes[..changes] {
            apply(&mut names, change);
        }
        let mut files: BTreeMap<String, Pages> = BTreeMap::new();
        let mut unreadable = Unreadable::new(self.unreadable.clone());
        for (name, &inode) in &names {
            let mut file = self.durable[inode].clone();
            for (n, loose) in self.loose.iter().enumerate() {
                if loose.inode == inode && survives(n) {
                    file.write(loose.at, &loose.bytes);
                    unreadable.written(inode, loose.range(), true);
                }
            }
            files.insert(name.clone(), file);
        }
        let unreadable = bad_sectors(unreadable.on_media(), &names);
        Image { files, bad: bad_sectors(&self.bad, &names), unreadable }
    }
}
