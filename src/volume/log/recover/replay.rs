//! Applying what was read to the index.

use super::recovery::{Recovery, Staged};
use crate::base::limits::UNIT;
use crate::base::types::NeedleId;
use crate::volume::format::{Kind, NeedleHeader, Seal};
use crate::volume::index::{IdHash, Location, PREFETCHED};
use crate::volume::log::damaged_range::DamagedRange;
use crate::volume::log::scan::{FoundNeedle, ScanFilter};

impl Recovery<'_> {
    /// Applies the staged commit to the index, since something follows it. A seal says which needles of
    /// it to keep.
    pub(super) async fn accept_staged(&mut self, seal: Option<Seal>) {
        let Some(mut staged) = self.staged.take() else { return };
        match seal {
            Some(Seal { epoch, kept }) => {
                let kept_needle =
                    |found: &FoundNeedle| found.epoch() == epoch && kept.contains(found.ordinal());
                staged.found.retain(kept_needle);
                if staged.found.len() < kept.count() as usize {
                    self.report_lost(staged.start, staged.end);
                }
            }
            None => self.report_missing(&staged),
        }
        for needles in staged.found.chunks(PREFETCHED) {
            for found in needles {
                self.result.contents.index().prefetch(self.log.hasher.hash(found.id()));
            }
            for found in needles {
                self.take_over(found).await;
            }
        }
    }

    fn report_lost(&mut self, start: u64, end: u64) {
        let at = Location { offset: start, len: end - start };
        self.result.damage.push(DamagedRange { at, id: None });
    }

    /// Reports a damaged range if needles of a commit are missing.
    fn report_missing(&mut self, staged: &Staged) {
        let held: u64 = staged.found.iter().map(|found| found.location().len).sum();
        let (missing, len) = match &staged.record {
            Some(record) => (
                staged.found.len() < record.needles as usize,
                (record.len - UNIT).saturating_sub(held),
            ),
            // Without its record, a commit is damaged even if all its needles are present.
            None => (true, (staged.end - staged.start).saturating_sub(held)),
        };
        if missing {
            let at = Location { offset: staged.start, len };
            self.result.damage.push(DamagedRange { at, id: None });
        }
    }

    /// Applies one needle to the index.
    pub(super) async fn take_over(&mut self, found: &FoundNeedle) {
        let location = found.location();
        match found {
            FoundNeedle::Whole(header, _) => {
                self.end.version = self.end.version.max(header.version);
                self.take_over_header(header, location).await;
            }
            FoundNeedle::Damaged(footer) => {
                self.result.damage.push(DamagedRange { at: location, id: Some(footer.id) });
                let hash = self.log.hasher.hash(footer.id);
                match footer.kind {
                    Kind::Part => {}
                    Kind::Tombstone => {
                        self.remove_by_identity(hash, footer.id, location.offset).await;
                    }
                    Kind::Data | Kind::Manifest => {
                        self.remove_by_identity(hash, footer.id, location.offset).await;
                        // The parts of an unreadable manifest are unknown.
                        self.result.contents.insert(hash, location, 0);
                    }
                }
            }
        }
    }

    async fn take_over_header(&mut self, header: &NeedleHeader, at: Location) {
        let hash = self.log.hasher.hash(header.id);
        match header.kind {
            Kind::Part => {}
            Kind::Tombstone => {
                if !self.result.contents.remove(hash, header.previous) {
                    self.remove_by_identity(hash, header.id, at.offset).await;
                }
            }
            Kind::Data | Kind::Manifest => {
                let (previous, parts) = (header.previous, header.parts_len());
                if previous != 0 && self.result.contents.supersede(hash, previous, at, parts) {
                    return;
                }
                // The superseded needle is not at its offset, or is no longer known. The cause is damage,
                // or a checkpoint that was written while the log grew.
                if header.previous != 0 || !self.result.damage.is_empty() {
                    self.remove_by_identity(hash, header.id, at.offset).await;
                }
                self.result.contents.insert(hash, at, parts);
            }
        }
    }

    /// Removes the needles of `id` from the index whose offset is below `before` (bytes). They are
    /// identified by reading them.
    async fn remove_by_identity(&mut self, hash: IdHash, id: NeedleId, before: u64) {
        let candidates = self.result.contents.index().candidates(hash);
        let older: Vec<Location> = candidates.filter(|at| at.offset < before).collect();
        for at in older {
            let wanted = ScanFilter { sequences: 0..=u64::MAX, epoch: None };
            let end = at.offset + at.len;
            let needles = self.scanner.collect(at.offset, end, &wanted).await;
            let same = needles.iter().any(|needle| match needle {
                FoundNeedle::Whole(header, _) => header.id == id,
                FoundNeedle::Damaged(footer) => footer.id == id,
            });
            if same {
                self.result.contents.remove(hash, at.offset);
            }
        }
    }
}
