//! Applying what was read to the index.

use super::recovery::{EXPIRING_MAX, Recovery, Staged};
use crate::base::limits::UNIT;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::NeedleId;
use crate::volume::format::{EarlierRange, Footer, HashPrefix, Kind, NeedleHeader, Seal};
use crate::volume::index::{IdHash, Location, PREFETCHED};
use crate::volume::log::damaged_range::DamagedRange;
use crate::volume::log::expiry_sums::Expiring;
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
                if let Some(id) = found.owner() {
                    self.result.contents.index().prefetch(self.log.hasher.hash(id));
                }
            }
            for found in needles {
                self.take_over(found).await;
            }
        }
    }

    fn report_lost(&mut self, start: u64, end: u64) {
        let at = Location { offset: start, len: end - start };
        self.result.damage.push(DamagedRange::of_file(at, None));
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
            self.result.damage.push(DamagedRange::of_file(at, None));
        }
    }

    /// Applies one needle to the index.
    pub(super) async fn take_over(&mut self, found: &FoundNeedle) {
        let location = found.location();
        match found {
            FoundNeedle::Whole(header, _) => {
                self.end.version = self.end.version.max(header.version);
                self.result.contents.properties_mut().note(header);
                self.note_expiring(header, location);
                self.take_over_header(header, location).await;
            }
            FoundNeedle::Damaged(footer) => {
                self.result.damage.push(DamagedRange::of_file(location, footer.owner()));
                self.result.contents.properties_mut().note_damaged(footer, self.end.version);
                self.take_over_footer(footer, location).await;
            }
        }
    }

    /// Keeps the sums of the bytes that expire: what is superseded counts no longer.
    fn note_expiring(&mut self, header: &NeedleHeader, at: Location) {
        let superseded = self.expiring.remove(&header.previous);
        self.result.contents.properties_mut().forget_expiring(superseded);
        if let Some(object) = Expiring::of(header)
            && self.expiring.len() < EXPIRING_MAX
        {
            self.expiring.insert(at.offset, object);
        }
    }

    /// Applies a needle of which only the footer is valid.
    async fn take_over_footer(&mut self, footer: &Footer, at: Location) {
        let hash = self.log.hasher.hash(footer.id);
        match footer.kind {
            Kind::Part => {}
            Kind::Tombstone => self.remove_by_identity(hash, footer.id, at.offset).await,
            Kind::Data | Kind::Manifest => {
                self.remove_by_identity(hash, footer.id, at.offset).await;
                // The parts of an unreadable manifest are unknown.
                self.result.contents.insert(hash, at, 0);
            }
            Kind::Loss => {
                self.remove_by_identity(hash, footer.id, at.offset).await;
                self.result.contents.insert(hash, at, 0);
                self.result.contents.note_loss(at, footer.owner());
            }
            Kind::UnidentifiedLoss => self.take_over_unidentified(HashPrefix::of(footer.id), at),
            Kind::DamagedRange => self.report_earlier(EarlierRange::of(footer.id, footer.cookie)),
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
            Kind::Data | Kind::Manifest => self.take_over_object(hash, header, at).await,
            Kind::Loss if chosen(Sabotage::ForgetLosses) => {}
            Kind::Loss => {
                self.take_over_object(hash, header, at).await;
                self.result.contents.note_loss(at, header.owner());
            }
            Kind::UnidentifiedLoss => self.take_over_unidentified(HashPrefix::of(header.id), at),
            Kind::DamagedRange => self.report_earlier(EarlierRange::of(header.id, header.cookie)),
        }
    }

    /// Adds what is indexed under its id, in the place of the needle that it supersedes.
    async fn take_over_object(&mut self, hash: IdHash, header: &NeedleHeader, at: Location) {
        let (previous, parts) = (header.previous, header.parts_len());
        if previous != 0 && self.result.contents.supersede(hash, previous, at, parts) {
            return;
        }
        // The superseded needle is not at its offset, or is no longer known. The cause is damage, or a
        // checkpoint that was written while the log grew.
        if previous != 0 || !self.result.damage.is_empty() {
            self.remove_by_identity(hash, header.id, at.offset).await;
        }
        self.result.contents.insert(hash, at, parts);
    }

    fn take_over_unidentified(&mut self, prefix: HashPrefix, at: Location) {
        if !chosen(Sabotage::ForgetLosses) {
            self.result.contents.insert_unidentified(prefix, at);
        }
    }

    /// Reports a damaged range of an earlier generation. A checkpoint may already have named it.
    fn report_earlier(&mut self, range: EarlierRange) {
        let range = DamagedRange::of_earlier(range);
        if !self.result.damage.contains(&range) && !chosen(Sabotage::ForgetEarlierDamage) {
            self.result.damage.push(range);
        }
    }

    /// Removes the needles of `id` from the index whose offset is below `before` (bytes). They are
    /// identified by reading them. They are dead since the highest version so far: that of the needle that
    /// removes them, or, if its header is damaged, a little earlier.
    async fn remove_by_identity(&mut self, hash: IdHash, id: NeedleId, before: u64) {
        let candidates = self.result.contents.index().candidates(hash);
        let older: Vec<Location> = candidates.filter(|at| at.offset < before).collect();
        for at in older {
            let wanted = ScanFilter { sequences: 0..=u64::MAX, epoch: None };
            let end = at.offset + at.len;
            let needles = self.scanner.collect(at.offset, end, &wanted).await;
            let is_same = needles.iter().any(|needle| needle.owner() == Some(id));
            if is_same && self.result.contents.remove(hash, at.offset) {
                self.result.contents.properties_mut().note_death(self.end.version);
            }
        }
    }
}
