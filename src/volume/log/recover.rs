//! Recovery: from a log to an index, and to the offset at which the log continues.
//!
//! Recovery keeps three questions apart. *What chains?* Commit records that follow each other from the
//! start of the log. *Where the chain breaks, was more acknowledged?* Only if a witness proves it: a tail
//! hint, or a later commit, which was written only after this one was durable. In that case the place is
//! damaged: it is reported, what surrounds it stays, and nothing is truncated. *Otherwise the place is
//! the torn tail* of a commit that was never acknowledged. Of a torn commit, the needles that verify to
//! the last byte stay, and a batch put stays only as a whole. The decision is recorded in a seal, a
//! commit of its own, before the volume serves, so that a later recovery decides the same. The rules are
//! specified in `docs/FORMAT.md`.

use std::collections::HashMap;

use crate::base::limits::{BLOCK, COMMIT_LEN_MAX, COMMIT_NEEDLES_MAX, LOG_START, UNIT};
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::NeedleId;
use crate::volume::format::{CommitRecord, Kept, Kind, NeedleHeader, Seal, TailHint};
use crate::volume::index::{Hasher, IdHash, Index, Location, PREFETCHED};
use crate::volume::io::VolumeFile;
use crate::volume::log::contents::Contents;
use crate::volume::log::scan::Memory;
use crate::volume::log::scan::{Found, Scanner, Wanted};

/// Position at which the log continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// Offset of the record of the last commit (bytes); 0 when unknown or when there is no commit.
    pub record_at: u64,
    /// Offset of the next commit (bytes).
    pub tail: u64,
    /// Sequence of the last commit; 0 for none.
    pub sequence: u64,
    /// Checksum of its record; 0 for none.
    pub record_checksum: u64,
    /// Highest version so far.
    pub version: u64,
}

/// Reason why the log ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A hint says that nothing follows: the volume was closed cleanly.
    Closed,
    /// Nothing follows: the process was killed or the power failed while nothing was being written.
    Open,
    /// The last commit was being written and was not acknowledged. Its complete needles stay.
    Torn {
        /// Number of needles that stay.
        kept: u32,
    },
}

/// A damaged range inside acknowledged data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedPlace {
    /// Offset and length of the range.
    pub at: Location,
    /// Id of the needle in it, where that can be determined.
    pub id: Option<NeedleId>,
}

/// Result of recovery.
pub struct Recovered {
    /// Index and space accounting of the log.
    pub contents: Contents,
    /// End of the log.
    pub end: LogEnd,
    /// Reason why the log ends there.
    pub ending: Ending,
    /// Decision about a torn last commit, to be sealed before anything is written.
    pub torn: Option<Seal>,
    /// Damage inside acknowledged data.
    pub damage: Vec<DamagedPlace>,
    /// Number of commits that chain.
    pub commits: u64,
    /// Number of sectors that the device could not read: their content is unknown, not absent.
    pub unread: usize,
    /// Bytes read: the log, and what follows it and might prove that it continues.
    pub bytes_read: u64,
    /// Offset from which the log was read (bytes).
    pub began: u64,
}

/// State that recovery takes from a checkpoint instead of reading the log.
pub struct Saved {
    /// Contents of the log at the end of `covers`. Some of the changes between `covers` and `reached` may
    /// be included.
    pub contents: Contents,
    /// Damage known when the checkpoint was written.
    pub damage: Vec<DamagedPlace>,
    /// Covered position: the log must be read from here on.
    pub covers: LogEnd,
    /// Reached position: a witness that the log was durable up to here.
    pub reached: LogEnd,
    /// Epoch of the last commit before `covers`.
    pub epoch: u64,
}

/// Parameters of a recovery.
pub struct Log<'a> {
    /// The volume file.
    pub file: &'a VolumeFile,
    /// Buffer for reading it.
    pub memory: &'a Memory,
    /// Incarnation of the file.
    pub incarnation: u64,
    /// End of the area for the log (bytes).
    pub log_end: u64,
    /// The newest valid tail hint.
    pub hint: Option<TailHint>,
    /// Hash of ids.
    pub hasher: Hasher,
    /// Length of the file (bytes).
    pub size: u64,
    /// Maximum number of segments of the index; for tests.
    pub segments_max: usize,
    /// Called from time to time with the progress.
    pub progress: &'a dyn Fn(Progress),
}

/// Progress of a recovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the log read so far.
    pub done: u64,
    /// Bytes of the log to be read, as far as is known.
    pub total: u64,
}

impl Log<'_> {
    /// Returns an empty index for this log.
    pub fn index(&self) -> Index {
        Index::with_segments_max(self.size, self.segments_max)
    }
}

/// A commit that was read but not yet applied: what follows may show that it was torn.
struct Staged {
    start: u64,
    end: u64,
    record: Option<CommitRecord>,
    /// End of the log before it.
    before: LogEnd,
    found: Vec<Found>,
}

struct Recovery<'a> {
    log: &'a Log<'a>,
    scanner: Scanner<'a>,
    staged: Option<Staged>,
    /// End of what was read so far.
    end: LogEnd,
    /// Whether `end.record_checksum` is known.
    chained: bool,
    epoch: u64,
    /// Reached position of the checkpoint.
    reached: Option<LogEnd>,
    result: Recovered,
}

/// Recovers a log, either all of it or what follows a checkpoint. Damage is not an error: it is in the
/// result.
pub async fn recover(log: &Log<'_>, saved: Option<Saved>) -> Recovered {
    let scanner = Scanner::new(log.file, log.memory, log.incarnation, log.log_end);
    let reached = saved.as_ref().map(|saved| saved.reached);
    let reached = reached.filter(|_| !chosen(Sabotage::IgnoreReached));
    let saved = saved.unwrap_or_else(|| {
        let start =
            LogEnd { record_at: 0, tail: LOG_START, sequence: 0, record_checksum: 0, version: 0 };
        let contents = Contents::new(log.index());
        Saved { contents, damage: Vec::new(), covers: start, reached: start, epoch: 0 }
    });
    let start = saved.covers;
    let mut recovery = Recovery {
        log,
        scanner,
        staged: None,
        end: start,
        chained: true,
        epoch: saved.epoch,
        reached,
        result: Recovered {
            contents: saved.contents,
            end: start,
            ending: Ending::Open,
            torn: None,
            damage: saved.damage,
            commits: 0,
            unread: 0,
            bytes_read: 0,
            began: start.tail,
        },
    };
    recovery.follow_chain().await;
    recovery.decide_tail().await;
    let mut result = recovery.result;
    result.unread = recovery.scanner.lost_sectors;
    result.bytes_read = recovery.scanner.bytes_read;
    let witnesses = [log.hint.map(|hint| hint.version), reached.map(|end| end.version)];
    let version = witnesses.into_iter().flatten().max().unwrap_or(0);
    result.end.version = result.end.version.max(version);
    result
}

impl Recovery<'_> {
    async fn follow_chain(&mut self) {
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

    fn clean_end(&self) -> bool {
        let end = &self.end;
        self.chained
            && self.log.hint.is_some_and(|hint| {
                hint.clean && hint.tail == end.tail && hint.sequence == end.sequence
            })
    }

    async fn take_commit(&mut self, at: u64, record: CommitRecord, sum: u64) {
        self.accept_staged(record.seal).await;
        let before = self.end;
        let end = at + record.len;
        // A torn commit may hold leftovers of an older epoch.
        let sequences = record.sequence..=record.sequence;
        let wanted = Wanted { sequences, epoch: Some(record.epoch) };
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

    /// Offset up to which a witness proves that the log was durable (bytes).
    fn witnessed(&self) -> u64 {
        let hinted = self.log.hint.map_or(0, |hint| hint.tail);
        self.reached.map_or(0, |reached| reached.tail).max(hinted)
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
        let wanted = Wanted { sequences, epoch };
        let found = self.scanner.collect(at, proof.tail, &wanted).await;
        let before = self.end;
        self.end = LogEnd { version: self.end.version, ..proof };
        self.chained = proof.record_checksum != 0;
        self.staged = Some(Staged { start: at, end: proof.tail, record: None, before, found });
        self.report_progress();
    }

    /// Applies the staged commit to the index, since something follows it. A seal says which needles of
    /// it to keep.
    async fn accept_staged(&mut self, seal: Option<Seal>) {
        let Some(mut staged) = self.staged.take() else { return };
        match seal {
            Some(Seal { epoch, kept }) => {
                let kept_needle =
                    |found: &Found| found.epoch() == epoch && kept.contains(found.ordinal());
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
        self.result.damage.push(DamagedPlace { at, id: None });
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
            self.result.damage.push(DamagedPlace { at, id: None });
        }
    }

    async fn take_over(&mut self, found: &Found) {
        let location = found.location();
        match found {
            Found::Whole(header, _) => {
                self.end.version = self.end.version.max(header.version);
                self.take_over_header(header, location).await;
            }
            Found::Damaged(footer) => {
                self.result.damage.push(DamagedPlace { at: location, id: Some(footer.id) });
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
            let wanted = Wanted { sequences: 0..=u64::MAX, epoch: None };
            let end = at.offset + at.len;
            let needles = self.scanner.collect(at.offset, end, &wanted).await;
            let same = needles.iter().any(|needle| match needle {
                Found::Whole(header, _) => header.id == id,
                Found::Damaged(footer) => footer.id == id,
            });
            if same {
                self.result.contents.remove(hash, at.offset);
            }
        }
    }

    async fn decide_tail(&mut self) {
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
        if valid.len() == record.needles as usize {
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
            let wanted = Wanted { sequences: sequence..=sequence, epoch: Some(epoch) };
            let found = self.scanner.collect(at, limit, &wanted).await;
            let mut valid = self.valid_needles(&found).await;
            valid.retain(|found| (found.ordinal() as usize) < COMMIT_NEEDLES_MAX);
            let Some(last) = valid.last().map(Found::location) else { continue };
            self.end.tail = (last.offset + last.len).next_multiple_of(BLOCK);
            self.end.sequence = sequence;
            self.end.record_checksum = 0;
            self.end.record_at = 0;
            return self.take_over_torn(epoch, valid).await;
        }
    }

    async fn take_over_torn(&mut self, epoch: u64, valid: Vec<Found>) {
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
    async fn valid_needles(&mut self, found: &[Found]) -> Vec<Found> {
        let mut valid = Vec::new();
        let mut batches: HashMap<u64, u16> = HashMap::new();
        for found in found {
            let Found::Whole(header, at) = found else { continue };
            if self.scanner.verify(header, *at).await || chosen(Sabotage::KeepTorn) {
                *batches.entry(header.batch).or_default() += 1;
                valid.push((*found, header.batch, header.batch_count));
            }
        }
        valid.retain(|(_, batch, count)| {
            *batch == 0 || batches[batch] == *count || chosen(Sabotage::KeepHalfABatch)
        });
        valid.into_iter().map(|(found, ..)| found).collect()
    }
}
