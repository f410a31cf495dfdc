//! Following the chain of commits, and passing damage in it.

use super::progress::Progress;
use super::recovery::{Recovery, Staged};
use crate::base::limits::{BLOCK, COMMIT_LEN_MAX, UNIT};
use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::format::CommitRecord;
use crate::volume::log::log_end::LogEnd;
use crate::volume::log::scan::ScanFilter;

impl Recovery<'_> {
    /// Reads commit after commit, up to the torn tail or the end of the log.
    pub(super) async fn follow_chain(&mut self) {
        loop {
            let at = self.end.tail;
            if let Some((record, sum)) = self.scanner.record(at).await
                && self.chains(&record)
            {
                self.take_commit(at, record, sum).await;
            } else if self.clean_end() {
                return;
            } else if let Some((proof, sealed)) = self.proof_of_more(at).await
                && !chosen(Sabotage::TruncateOnDamage)
            {
                self.pass_damage(at, proof, sealed).await;
            } else {
                return;
            }
        }
    }

    fn chains(&self, record: &CommitRecord) -> bool {
        if self.chained && !chosen(Sabotage::IgnoreChain) {
            record.sequence == self.end.sequence + 1 && record.previous == self.end.record_checksum
        } else {
            record.sequence > self.end.sequence
        }
    }

    async fn take_commit(&mut self, at: u64, record: CommitRecord, sum: u64) {
        self.accept_staged(record.seal).await;
        let before = self.end;
        let end = at + record.len;
        // A torn commit may hold leftovers of an older epoch.
        let sequences = record.sequence..=record.sequence;
        let wanted = ScanFilter { sequences, epoch: Some(record.epoch) };
        let found = self.scanner.collect(at + UNIT, end, &wanted).await;
        self.end = LogEnd {
            record_at: at,
            tail: end,
            sequence: record.sequence,
            record_checksum: sum,
            version: self.end.version,
        };
        self.chained = true;
        self.epoch = record.epoch;
        self.result.commits += 1;
        self.staged = Some(Staged { start: at, end, record: Some(record), before, found });
        self.report_progress();
    }

    fn report_progress(&self) {
        let began = self.result.began;
        let total = self.witnessed().max(self.end.tail) - began;
        (self.log.progress)(Progress { done: self.end.tail - began, total });
    }

    /// Looks for a witness that the log was durable beyond `at`. Returns the position at which the log
    /// continues and, if a seal is there, the epoch of the commit that it seals.
    async fn proof_of_more(&mut self, at: u64) -> Option<(LogEnd, Option<u64>)> {
        // One commit is in flight at a time, so a damaged record hides at most one commit before the next
        // record.
        let limit = (at + COMMIT_LEN_MAX).min(self.log.log_end);
        let mut place = at;
        while place < limit {
            if let Some((record, _)) = self.scanner.record(place).await
                && record.sequence > self.end.sequence
                && record.durable_tail > at
            {
                let sequence = record.sequence - 1;
                let end =
                    LogEnd { record_at: 0, tail: place, sequence, record_checksum: 0, version: 0 };
                return Some((end, record.seal.map(|seal| seal.epoch)));
            }
            place += BLOCK;
        }
        let hinted = self.log.hint.map(|hint| LogEnd {
            record_at: 0,
            tail: hint.tail,
            sequence: hint.sequence,
            record_checksum: hint.record_checksum,
            version: 0,
        });
        let witnesses = hinted.into_iter().chain(self.reached).filter(|end| end.tail > at);
        // The nearer witness: what follows it is then read in order.
        witnesses.min_by_key(|end| end.tail).map(|end| (end, None))
    }

    /// Passes a damaged range: the log does not chain here although this part of it was acknowledged.
    async fn pass_damage(&mut self, at: u64, proof: LogEnd, sealed: Option<u64>) {
        self.accept_staged(None).await;
        let sequences = self.end.sequence + 1..=proof.sequence;
        // The scan must not pass over a needle of an older torn commit as a whole: it may overlap a needle
        // that the seal names.
        let epoch = sealed.filter(|_| proof.sequence == self.end.sequence + 1);
        let wanted = ScanFilter { sequences, epoch };
        let found = self.scanner.collect(at, proof.tail, &wanted).await;
        let before = self.end;
        self.end = LogEnd { version: self.end.version, ..proof };
        self.chained = proof.record_checksum != 0;
        self.staged = Some(Staged { start: at, end: proof.tail, record: None, before, found });
        self.report_progress();
    }
}
