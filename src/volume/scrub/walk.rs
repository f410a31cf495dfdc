//! A walk through the log, commit by commit, and past what is damaged.

use super::copies::{COPIES_MAX, Copied};
use super::flaw::{Finding, Flaw};
use super::needle::Examiner;
use super::staged::{Gap, SettledCommit, Staged};
use super::steps::{Interrupted, Steps};
use crate::base::limits::{BLOCK, UNIT};
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::stream_position::{StreamCommit, StreamPlace};
use crate::volume::format::{COMMIT_RECORD_LEN, CommitRecord};
use crate::volume::index::Location;
use crate::volume::log::scan::{FoundNeedle, ScanFilter};

/// Bytes at the start of a range without needles that are read to find out whether the device can.
const GAP_PROBE: u64 = 64 << 10;
/// Shortest needle (bytes).
const NEEDLE_LEN_MIN: u64 = 2 * UNIT;

/// How much of each needle is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::volume) enum Depth {
    /// The header.
    Headers,
    /// The header, and the attributes of what lives, of which copies are made.
    Attributes,
    /// The same with data, until the copies are long enough.
    Copies,
    /// All of it, to be verified.
    Everything,
}

/// What is known of the last commit that was read.
#[derive(Clone, Copy, Debug, Default)]
struct LastCommit {
    sequence: u64,
    /// Checksum of its record; `None` if that could not be read.
    checksum: Option<u64>,
}

/// A walk over whole commits of the log.
pub(in crate::volume) struct LogWalk<'e, 'v> {
    examiner: &'e mut Examiner<'v>,
    depth: Depth,
    at: u64,
    last: LastCommit,
    staged: Option<Staged>,
    /// Number of needles of the first commit that are passed over, and the offset of the next one (bytes).
    inside: Option<(usize, u64)>,
    /// The first commit, if it is known not to be torn.
    resumed: Option<StreamCommit>,
    /// The last commit that was settled, if it is known not to be torn.
    whole: Option<StreamCommit>,
}

impl<'e, 'v> LogWalk<'e, 'v> {
    /// Begins at `from`, where a commit begins. It ends where the examiner may read no further.
    pub fn new(examiner: &'e mut Examiner<'v>, depth: Depth, from: u64) -> Self {
        Self::after(examiner, depth, from, LastCommit::default())
    }

    /// Begins at `from`, where the commit after the one with this sequence begins.
    pub fn resume(examiner: &'e mut Examiner<'v>, depth: Depth, from: u64, sequence: u64) -> Self {
        Self::after(examiner, depth, from, LastCommit { sequence, checksum: None })
    }

    fn after(examiner: &'e mut Examiner<'v>, depth: Depth, from: u64, last: LastCommit) -> Self {
        let (staged, inside, resumed, whole) = (None, None, None, None);
        Self { examiner, depth, at: from, last, staged, inside, resumed, whole }
    }

    /// Begins at a place, which may be inside a commit.
    pub fn resume_inside(
        examiner: &'e mut Examiner<'v>,
        depth: Depth,
        place: &StreamPlace,
    ) -> Self {
        let inside = (place.skip_to > 0).then_some((place.skip, place.skip_to));
        let resumed = place.commit.filter(|_| inside.is_some());
        Self { inside, resumed, ..Self::resume(examiner, depth, place.offset, place.sequence) }
    }

    /// Offset of the next commit (bytes).
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Sequence of the last commit that was read.
    pub fn sequence(&self) -> u64 {
        self.last.sequence
    }

    /// Returns the last commit that was read, if it is known not to be torn.
    pub fn whole_commit(&self) -> Option<StreamCommit> {
        self.whole
    }

    /// Whether a piece of copies had better end here: it is more than half full, and more would have to be
    /// read, most of which might not fit.
    pub fn ends_piece(&mut self) -> bool {
        self.examiner.copies.len > COPIES_MAX / 2 && !self.holds_next()
    }

    /// Returns whether the window holds the next commit.
    fn holds_next(&mut self) -> bool {
        let len = self.record_len(self.at);
        self.examiner.reader.holds(self.at, len)
            && self
                .decode_record(self.at, len)
                .is_some_and(|(record, _)| self.examiner.reader.holds(self.at, record.len))
    }

    /// Takes the copy of a needle, which lived when it was read.
    pub fn take_copy(&mut self, at: Location) -> Option<Copied> {
        self.examiner.copies.kept.remove(&at.offset)
    }

    /// Returns where the walk has stopped inside a commit, because the copies are long enough (bytes).
    pub fn stopped_at(&self) -> Option<u64> {
        self.examiner.copies.stopped_at
    }

    /// Returns whether the index has a needle that has not expired.
    pub fn is_live(&self, found: &FoundNeedle) -> bool {
        let is_expired = match found {
            FoundNeedle::Whole(header, _) => self.examiner.volume.is_expired(header),
            FoundNeedle::Damaged(_) => false,
        };
        !is_expired && self.examiner.is_live(found)
    }

    /// Bytes that were read from the device so far.
    pub fn bytes_read(&self) -> u64 {
        self.examiner.reader.bytes_read
    }

    /// Reads a commit. Returns the one before it, which is known to count by then; nothing yet after the
    /// first one.
    ///
    /// # Errors
    /// [`Interrupted`].
    ///
    /// # Panics
    /// If [`Self::has_ended`].
    pub async fn step(
        &mut self,
        steps: &mut Steps<'_>,
    ) -> Result<Option<SettledCommit>, Interrupted> {
        let staged = match self.next_record(self.at).await {
            Ok((record, checksum)) => {
                let staged = self.walk_commit(steps, as_known((record, checksum))).await?;
                Staged { record: Some(record), ..staged }
            }
            Err(is_io) => self.walk_unknown(steps, is_io).await?,
        };
        let seal = staged.record.and_then(|record| record.seal);
        Ok(self.staged.replace(staged).map(|before| before.settle(seal)))
    }

    /// Reads a commit, and the record after it, which says whether it was torn. The walk may end after it.
    ///
    /// # Errors
    /// [`Interrupted`].
    ///
    /// # Panics
    /// As [`Self::step`]; if that was called before.
    pub async fn read_settled(
        &mut self,
        steps: &mut Steps<'_>,
    ) -> Result<SettledCommit, Interrupted> {
        if let Some(commit) = self.resumed.take() {
            self.whole = Some(commit);
            return Ok(self.walk_commit(steps, commit).await?.settle(None));
        }
        self.fill_for_copies().await;
        let before = self.step(steps).await?;
        assert!(before.is_none(), "each commit is settled before the next one is read");
        let next = match self.has_ended() {
            true => None,
            false => self.record(self.at).await.filter(|(record, _)| self.is_next(self.at, record)),
        };
        let staged = self.staged.take().expect("a commit was read just now");
        let seal = next.and_then(|(record, _)| record.seal);
        let is_whole = next.is_some() && (seal.is_none() || chosen(Sabotage::StreamForgetsSeal));
        self.whole = staged.record.zip(self.last.checksum).filter(|_| is_whole).map(as_known);
        Ok(staged.settle(seal))
    }

    /// Reads as much as is copied at most, together with the next record.
    async fn fill_for_copies(&mut self) {
        let (at, len) = (self.at, self.record_len(self.at));
        let is_wanted = self.depth == Depth::Copies && self.inside.is_none();
        if is_wanted && !self.examiner.reader.holds(at, len) {
            let len = (len + self.copies_left()).min(self.examiner.to - at);
            self.examiner.fill(at, len).await;
        }
    }

    /// Length of the copies that the walk still makes (bytes).
    fn copies_left(&self) -> u64 {
        (COPIES_MAX.saturating_sub(self.examiner.copies.len) as u64).max(UNIT)
    }

    /// Whether the last commit was read.
    pub fn has_ended(&self) -> bool {
        self.at >= self.examiner.to
    }

    /// Returns the last commit. Nothing follows that could say that it was torn.
    pub fn last(self) -> Option<SettledCommit> {
        self.staged.map(|staged| staged.settle(None))
    }

    /// Returns the record at `at`, if it is the next one. Otherwise returns whether the device could not read
    /// it.
    async fn next_record(&mut self, at: u64) -> Result<(CommitRecord, u64), bool> {
        if let Some((record, checksum)) = self.record(at).await
            && self.is_next(at, &record)
        {
            return Ok((record, checksum));
        }
        let is_io = self.examiner.fill_again(at, self.record_len(at)).await;
        match self.record(at).await {
            Some((record, checksum)) if self.is_next(at, &record) => {
                self.examiner.done.healed += 1;
                Ok((record, checksum))
            }
            _ => Err(is_io),
        }
    }

    fn is_next(&self, at: u64, record: &CommitRecord) -> bool {
        let LastCommit { sequence, checksum } = self.last;
        let follows = match checksum {
            // The writer of this record did not know the one before it.
            Some(_) if record.previous == 0 => record.sequence == sequence + 1,
            Some(checksum) => record.sequence == sequence + 1 && record.previous == checksum,
            None => record.sequence > sequence,
        };
        follows && at + record.len <= self.examiner.to
    }

    fn record_len(&self, at: u64) -> u64 {
        (2 * COMMIT_RECORD_LEN as u64).min(self.examiner.to - at)
    }

    async fn record(&mut self, at: u64) -> Option<(CommitRecord, u64)> {
        let len = self.record_len(at);
        self.examiner.fill(at, len).await;
        self.decode_record(at, len)
    }

    /// Decodes the record at `at` in `len` bytes, which the window holds.
    fn decode_record(&mut self, at: u64, len: u64) -> Option<(CommitRecord, u64)> {
        let superblock = &self.examiner.volume.superblock;
        let bytes = self.examiner.reader.bytes(at, len);
        CommitRecord::decode(bytes, superblock.incarnation, at, superblock.log_end())
    }

    async fn walk_commit(
        &mut self,
        steps: &mut Steps<'_>,
        commit: StreamCommit,
    ) -> Result<Staged, Interrupted> {
        let StreamCommit { len, epoch, sequence, needles, checksum } = commit;
        let (start, end) = (self.at, self.at + len);
        // A torn commit may hold leftovers of an older epoch.
        let wanted = ScanFilter { sequences: sequence..=sequence, epoch: Some(epoch) };
        let mut staged = Staged::default();
        let inside = self.inside.take().filter(|(_, at)| (start + UNIT..end).contains(at));
        let (skip, from) = inside.unwrap_or((0, start + UNIT));
        if self.depth == Depth::Copies {
            self.examiner.fill(from, (end - from).min(self.copies_left())).await;
        }
        let needles = Some((needles as usize).saturating_sub(skip));
        let range = (from, end);
        self.walk_needles(steps, &mut staged, range, &wanted, needles).await?;
        self.at = end;
        self.last = LastCommit { sequence, checksum: Some(checksum) };
        Ok(staged)
    }

    /// Reads what is between here and the next commit that certainly belongs to the log.
    async fn walk_unknown(
        &mut self,
        steps: &mut Steps<'_>,
        is_io: bool,
    ) -> Result<Staged, Interrupted> {
        self.inside = None;
        let start = self.at;
        let (end, sequence) = self.next_commit(steps, self.at + BLOCK).await?;
        steps.begin_walk(start);
        let sequences = self.last.sequence + 1..=sequence.unwrap_or(u64::MAX);
        let wanted = ScanFilter { sequences, epoch: None };
        let at = Location { offset: start, len: UNIT };
        let finding = Finding { at, id: None, flaw: Flaw::CommitRecord, is_io };
        let mut staged = Staged { record_finding: Some(finding), ..Staged::default() };
        let range = (start + UNIT, end);
        self.walk_needles(steps, &mut staged, range, &wanted, None).await?;
        self.at = end;
        let sequence = sequence.unwrap_or(self.last.sequence + 1);
        self.last = LastCommit { sequence, checksum: None };
        Ok(staged)
    }

    /// Finds a commit, at `from` or after it, that is followed by its successor, or by the end of the walk: a
    /// leftover of a torn commit is followed by neither. Returns its offset and the sequence before it; the
    /// end of the walk if there is none.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub async fn next_commit(
        &mut self,
        steps: &mut Steps<'_>,
        from: u64,
    ) -> Result<(u64, Option<u64>), Interrupted> {
        let mut at = from;
        while at < self.examiner.to {
            if let Some((record, checksum)) = self.record(at).await
                && record.sequence > self.last.sequence
            {
                let end = at + record.len;
                let is_followed = match end < self.examiner.to {
                    true => self.record(end).await.is_some_and(|(next, _)| {
                        next.sequence == record.sequence + 1 && next.previous == checksum
                    }),
                    false => end == self.examiner.to,
                };
                if is_followed {
                    return Ok((at, Some(record.sequence - 1)));
                }
            }
            at += BLOCK;
            steps.reached(at, self.bytes_read()).await?;
        }
        Ok((self.examiner.to, None))
    }

    /// Reads the needles in `from..end`, `count` of them if that is known.
    async fn walk_needles(
        &mut self,
        steps: &mut Steps<'_>,
        staged: &mut Staged,
        (from, end): (u64, u64),
        wanted: &ScanFilter,
        count: Option<usize>,
    ) -> Result<(), Interrupted> {
        // Needles follow each other without a gap.
        let (mut at, mut expected) = (from, from);
        while at < end && count.is_none_or(|count| staged.found.len() < count) {
            steps.reached(at, self.bytes_read()).await?;
            let mut found = self.examiner.recognise(at, (expected, end), wanted).await;
            if found.is_none() && at == expected && count.is_some() {
                self.examiner.fill_again(at, UNIT).await;
                found = self.examiner.recognise(at, (expected, end), wanted).await;
                self.examiner.done.healed += u64::from(found.is_some());
            }
            let Some((found, needle_end)) = found else {
                at += UNIT;
                continue;
            };
            if !self.take(staged, found, expected).await {
                return Ok(());
            }
            (at, expected) = (needle_end, needle_end);
        }
        let is_missing = match count {
            Some(count) => staged.found.len() < count,
            // What is shorter may be padding.
            None => end - expected >= BLOCK,
        };
        if is_missing && expected < end {
            let gap = self.gap(expected, end).await;
            staged.gaps.push(gap);
        }
        Ok(())
    }

    /// Returns a range in which needles are missing.
    async fn gap(&mut self, from: u64, to: u64) -> Gap {
        let is_io = self.examiner.fill_again(from, GAP_PROBE.min(to - from)).await;
        Gap { range: from..to, is_io }
    }

    /// Takes the next needle, which should have begun at `expected`. Returns false if the walk stops before
    /// it.
    async fn take(&mut self, staged: &mut Staged, found: FoundNeedle, expected: u64) -> bool {
        let start = found.location().offset;
        if start >= expected + NEEDLE_LEN_MIN {
            let gap = self.gap(expected, start).await;
            staged.gaps.push(gap);
        }
        if matches!(self.depth, Depth::Attributes | Depth::Copies)
            && !self.examiner.keep_copy(&found, self.depth == Depth::Copies).await
        {
            return false;
        }
        if self.depth == Depth::Everything {
            let number = staged.found.len();
            let findings = self.examiner.examine(&found).await;
            staged.findings.extend(findings.into_iter().map(|finding| (number, finding)));
        }
        staged.found.push(found);
        true
    }
}

fn as_known((record, checksum): (CommitRecord, u64)) -> StreamCommit {
    let CommitRecord { len, epoch, sequence, needles, .. } = record;
    StreamCommit { len, epoch, sequence, needles, checksum }
}
