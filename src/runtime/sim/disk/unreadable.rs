//! Sectors that cannot be read until they are written.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::runtime::sim::page::SECTOR;

/// Inode and number of a sector.
type Sector = (usize, usize);

/// Sectors that cannot be read until they are written.
#[derive(Clone, Debug, Default)]
pub struct Unreadable {
    /// Those that a read fails on.
    present: BTreeSet<Sector>,
    /// Those that a power cut would leave: what was written to the others is durable.
    on_media: BTreeSet<Sector>,
}

impl Unreadable {
    /// These sectors, as after a restart.
    pub fn new(sectors: BTreeSet<Sector>) -> Self {
        Self { present: sectors.clone(), on_media: sectors }
    }

    /// Those that a read fails on.
    pub fn present(&self) -> &BTreeSet<Sector> {
        &self.present
    }

    /// Those that a power cut would leave.
    pub fn on_media(&self) -> &BTreeSet<Sector> {
        &self.on_media
    }

    pub fn add(&mut self, inode: usize, sector: usize) {
        self.present.insert((inode, sector));
        self.on_media.insert((inode, sector));
    }

    /// Whether a read of the range fails.
    pub fn touches(&self, inode: usize, at: usize, len: usize) -> bool {
        let sectors = (inode, at / SECTOR)..(inode, (at + len).div_ceil(SECTOR));
        sectors.start < sectors.end && self.present.range(sectors).next().is_some()
    }

    /// Takes note of a write of whole sectors.
    pub fn written(&mut self, inode: usize, bytes: Range<usize>, durable: bool) {
        if self.on_media.is_empty() {
            return;
        }
        let is_inside = |(of, sector): &Sector| {
            *of == inode && (bytes.start / SECTOR..bytes.end.div_ceil(SECTOR)).contains(sector)
        };
        self.present.retain(|sector| !is_inside(sector));
        if durable {
            self.on_media.retain(|sector| !is_inside(sector));
        }
    }
}
