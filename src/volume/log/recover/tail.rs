//! Deciding about the torn tail.

use std::collections::HashMap;

use super::ending::Ending;
use super::recovery::{Recovery, Staged};
use crate::base::limits::{BLOCK, COMMIT_LEN_MAX, COMMIT_NEEDLES_MAX};
use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::format::{Kept, Seal};
use crate::volume::log::log_end::LogEnd;
use crate::volume::log::scan::{FoundNeedle, ScanFilter};

impl Recovery<'_> {
    /// Decides about the last commit that was read, and about what follows it.
    pub(super) async fn decide_tail(&mut self) {
        let witnessed = self.witnessed();
        let torn = self.staged.take_if(|staged| {
            staged.end > witnessed && staged.record.is_some_and(|record| record.seal.is_none())
        });
        match torn {
            Some(staged) => self.keep_valid(staged).await,
            None => self.accept_staged(None).await,
        }
        // Not after a commit that was just removed from the end of the log: its needles were examined.
        if self.result.ending == Ending::Open && !self.clean_end() {
            self.keep_orphans().await;
        }
        if self.result.ending == Ending::Open && self.clean_end() {
            self.result.ending = Ending::Closed;
        }
        self.result.end = self.end;
    }

    /// Decides about a last commit that no witness proves acknowledged.
    async fn keep_valid(&mut self, staged: Staged) {
        let record = staged.record.expect("decide_tail takes only commits with a record");
        let valid = self.valid_needles(&staged.found).await;
        if valid.len() == record.needles as usize && self.have_spares(&valid).await {
            for found in valid {
                self.take_over(&found).await;
            }
        } else if valid.is_empty() {
            // It was not acknowledged, and none of its needles is complete: the log ends before it.
            self.end = LogEnd { version: self.end.version, ..staged.before };
            self.result.ending = Ending::Torn { kept: 0 };
        } else {
            self.take_over_torn(record.epoch, valid).await;
        }
    }

    /// Whether needles that are valid also have their second headers and footers. A seal tells a scrub that
    /// these did not arrive, and were not damaged later.
    async fn have_spares(&mut self, valid: &[FoundNeedle]) -> bool {
        for found in valid {
            if let FoundNeedle::Whole(header, at) = found
                && !self.scanner.has_spares(header, *at).await
                && !chosen(Sabotage::LeaveTornUnsealed)
            {
                return false;
            }
        }
        true
    }

    /// Looks for orphans: needles of a last commit whose record did not arrive or is damaged. Keeps those
    /// that verify.
    async fn keep_orphans(&mut self) {
        let at = self.end.tail;
        let sequence = self.end.sequence + 1;
        // The writer of the last hint also wrote the last commit. If that hint is damaged, it may have
        // been the writer of the last record.
        let hinted = self.log.hint.map(|hint| hint.epoch).filter(|epoch| *epoch != self.epoch);
        // The last block is kept for the seal.
        let limit = (at + COMMIT_LEN_MAX).min(self.log.log_end - BLOCK);
        for epoch in hinted.into_iter().chain([self.epoch]) {
            let wanted = ScanFilter { sequences: sequence..=sequence, epoch: Some(epoch) };
            let found = self.scanner.collect(at, limit, &wanted).await;
            let mut valid = self.valid_needles(&found).await;
            valid.retain(|found| (found.ordinal() as usize) < COMMIT_NEEDLES_MAX);
            let Some(last) = valid.last().map(FoundNeedle::location) else { continue };
            self.end.tail = (last.offset + last.len).next_multiple_of(BLOCK);
            self.end.sequence = sequence;
            self.end.record_checksum = 0;
            self.end.record_at = 0;
            return self.take_over_torn(epoch, valid).await;
        }
    }

    async fn take_over_torn(&mut self, epoch: u64, valid: Vec<FoundNeedle>) {
        let mut kept = Kept::none();
        for found in valid {
            if kept.keep(found.ordinal()) {
                self.take_over(&found).await;
            }
        }
        self.result.ending = Ending::Torn { kept: kept.count() };
        self.result.torn = Some(Seal { epoch, kept });
    }

    /// Returns the needles of a torn commit that verify to the last byte; of a batch put all or none.
    async fn valid_needles(&mut self, found: &[FoundNeedle]) -> Vec<FoundNeedle> {
        let mut valid = Vec::new();
        let mut batches: HashMap<u64, u16> = HashMap::new();
        for found in found {
            let FoundNeedle::Whole(header, at) = found else { continue };
            if self.scanner.verify(header, *at).await || chosen(Sabotage::KeepTorn) {
                *batches.entry(header.batch).or_default() += 1;
                valid.push((*found, header.batch, header.batch_count));
            }
        }
        valid.retain(|(_, batch, count)| *batch == 0 || is_kept(batches[batch], *count));
        valid.into_iter().map(|(found, ..)| found).collect()
    }
}

/// Whether a batch of `count` needles is kept, of which `valid` verify.
fn is_kept(valid: u16, count: u16) -> bool {
    valid == count || chosen(Sabotage::KeepHalfABatch)
}
