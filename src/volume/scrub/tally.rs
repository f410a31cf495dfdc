//! What lives by the log: as sums over offsets, which a walk through the log adds up, and which the index
//! must have as well.

use super::scrubbed::HeadlessNeedle;
use super::staged::{Gap, SettledCommit};
use crate::volume::Volume;
use crate::volume::format::{HashPrefix, Kind, NeedleHeader};
use crate::volume::index::{Location, OffsetSums};
use crate::volume::log::scan::FoundNeedle;

/// What lives by the log.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Sums over the offsets of the needles that live.
    pub sums: OffsetSums,
    /// Needles whose headers cannot be read: it is not known what they superseded.
    pub headless: Vec<HeadlessNeedle>,
    /// Ranges in which needles cannot be identified.
    pub gaps: Vec<Gap>,
}

impl Tally {
    /// Adds the next commit of the log.
    pub fn add(&mut self, volume: &Volume, commit: &SettledCommit) {
        for found in &commit.found {
            match found {
                FoundNeedle::Whole(header, at) => self.add_needle(volume, header, *at),
                FoundNeedle::Damaged(footer) => {
                    let at = found.location();
                    if is_indexed(footer.kind) {
                        self.sums.add(at.offset);
                    }
                    let (owner, start, end) = (footer.owner(), at.offset, at.offset + at.len);
                    self.headless.push(HeadlessNeedle { owner, start, end });
                }
            }
        }
        self.gaps.extend_from_slice(&commit.gaps);
    }

    fn add_needle(&mut self, volume: &Volume, header: &NeedleHeader, at: Location) {
        if is_indexed(header.kind) {
            self.sums.add(at.offset);
        }
        if header.kind == Kind::UnidentifiedLoss {
            let HashPrefix { leading, bits } = HashPrefix::of(header.id);
            let contents = volume.contents.borrow();
            contents.index().hashes_beginning(leading, bits).for_each(|_| self.sums.add(at.offset));
        }
        if let Some(previous) = superseded(header) {
            self.sums.remove(previous);
        }
    }

    /// Whether the bytes `range` are damaged, so that the index may have what the log no longer tells.
    pub fn is_damaged(&self, at: Location) -> bool {
        let end = at.offset + at.len;
        let overlaps = |start: u64, stop: u64| at.offset < stop && start < end;
        self.headless.iter().any(|needle| overlaps(needle.start, needle.end))
            || self.gaps.iter().any(|gap| overlaps(gap.range.start, gap.range.end))
    }
}

/// Whether needles of this kind are in the index once, under the hash of their id.
pub(super) fn is_indexed(kind: Kind) -> bool {
    match kind {
        Kind::Data | Kind::Manifest | Kind::Loss => true,
        Kind::Part | Kind::Tombstone | Kind::UnidentifiedLoss | Kind::DamagedRange => false,
    }
}

/// Returns the offset of the needle that a needle superseded or deleted, if it did (bytes).
pub(super) fn superseded(header: &NeedleHeader) -> Option<u64> {
    let supersedes = is_indexed(header.kind) || header.kind == Kind::Tombstone;
    Some(header.previous).filter(|previous| supersedes && *previous != 0)
}
