//! Reading a piece of a stream.

use std::rc::Rc;

use super::find::find;
use super::not_read::NotStreamed;
use super::piece::{Piece, PieceLimits};
use super::position::{StreamPlace, StreamPosition};
use super::record::{RecordKind, StreamRecord};
use crate::base::limits::LOG_START;
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::background::{BackgroundRun, Pace};
use crate::volume::format::{Attribute, Kind, NeedleHeader, attributes};
use crate::volume::log::log_reader::LogReader;
use crate::volume::log::scan::{FoundNeedle, WINDOW};
use crate::volume::scrub::needle::Examiner;
use crate::volume::scrub::staged::SettledCommit;
use crate::volume::scrub::steps::{Interrupted, Steps};
use crate::volume::scrub::walk::{Depth, LogWalk};
use crate::volume::{Slot, Volume};

/// Longest time that a piece waits for a buffer (nanoseconds).
const BUFFER_WAIT_NS: u64 = 1_000_000_000;

impl From<Interrupted> for NotStreamed {
    fn from(_: Interrupted) -> Self {
        Self::Closing
    }
}

impl Slot {
    /// Reads the next piece of a stream: objects that live now, and with `deletions` the records of
    /// deletions. An object that exists from the first piece to the end of the log is in some piece; in
    /// several, each time with a higher version, if it is stored again meanwhile.
    ///
    /// # Errors
    /// See [`NotStreamed`].
    pub async fn read_records(
        &self,
        from: StreamPosition,
        deletions: bool,
        limits: PieceLimits,
    ) -> Result<Piece, NotStreamed> {
        let _turn = self.streams.take().await?;
        loop {
            let volume = self.volume();
            let piece = self.read_piece(&volume, from, deletions, limits).await?;
            // The index of a superseded generation tells nothing.
            if self.is_current(&volume) || chosen(Sabotage::StreamSupersededFile) {
                return Ok(piece);
            }
        }
    }

    async fn read_piece(
        &self,
        volume: &Rc<Volume>,
        from: StreamPosition,
        deletions: bool,
        limits: PieceLimits,
    ) -> Result<Piece, NotStreamed> {
        if deletions {
            volume.expect_history(from.version)?;
        }
        let is_stopping = || self.streams.is_stopping();
        let pace = Pace::UNLIMITED.sharing(&volume.pace);
        let run = BackgroundRun::new(&self.handle, None, pace);
        let mut steps =
            Steps { run, is_needed: &is_stopping, handle: &self.handle, read: 0, step_from: 0 };
        let len = usize::try_from(WINDOW).expect("about 1.5 MiB");
        let buf = steps.run.buffer(None, len, BUFFER_WAIT_NS).await;
        let reader = LogReader::new(volume, buf.map_err(|_| NotStreamed::NoBuffer)?, true);
        let end = volume.log.end();
        steps.run.begin(limits.read);
        let mut examiner = Examiner::new(volume, reader, end.tail);
        let place = match from.place.filter(|place| volume.is_in_log(place)) {
            Some(place) => place,
            None => find(&mut examiner, &mut steps, from.version).await?,
        };
        let mut pick = Pick { deletions, limits, records: Vec::new(), attributes: 0 };
        let (next, version) = {
            steps.begin_walk(place.offset);
            let walk =
                LogWalk::resume(&mut examiner, Depth::Attributes, place.offset, place.sequence);
            pick.fill(walk, &mut steps, place).await?
        };
        let read = examiner.reader.bytes_read;
        // The buffer is free while the next piece has to wait.
        drop(examiner);
        steps.end(read).await?;
        let version = version.max(from.version);
        let is_end = next.offset >= end.tail;
        let version = if is_end { version.max(end.version) } else { version };
        let next = StreamPosition { version, place: Some(next) };
        Ok(Piece { records: pick.records, next, is_end })
    }
}

impl Volume {
    /// Whether a place is one of this log.
    fn is_in_log(&self, place: &StreamPlace) -> bool {
        let is_own =
            place.incarnation == self.superblock.incarnation || chosen(Sabotage::StreamOldPlace);
        is_own && (LOG_START..=self.log.tail()).contains(&place.offset)
    }

    /// Checks that the log has all deletions after a version. Who has read nothing yet needs none.
    fn expect_history(&self, version: u64) -> Result<(), NotStreamed> {
        let complete_from = self.history_from();
        let is_complete = version == 0 || version.saturating_add(1) >= complete_from;
        if is_complete || chosen(Sabotage::StreamBelowHorizon) {
            return Ok(());
        }
        Err(NotStreamed::Behind(complete_from))
    }
}

/// Picks the records of a piece.
struct Pick {
    deletions: bool,
    limits: PieceLimits,
    records: Vec<StreamRecord>,
    /// Length of the attributes so far (bytes).
    attributes: usize,
}

impl Pick {
    fn is_full(&self) -> bool {
        self.records.len() >= self.limits.records || self.attributes >= self.limits.attributes
    }

    /// Picks records from `place` on. Returns where the next piece begins, and the highest version before
    /// it.
    async fn fill(
        &mut self,
        mut walk: LogWalk<'_, '_>,
        steps: &mut Steps<'_>,
        place: StreamPlace,
    ) -> Result<(StreamPlace, u64), Interrupted> {
        let (mut next, mut version, mut read_before) = (place, 0, walk.bytes_read());
        let read_max = self.limits.read;
        while !walk.has_ended() && !self.is_full() && walk.bytes_read() - read_before < read_max {
            let commit = walk.read_settled(steps).await?;
            let read = self.take_commit(&mut walk, &commit, next, &mut version);
            if version > next.known {
                next.known = 0;
            } else if next.known > 0 {
                // What was read before does not count: each piece of a stream makes progress.
                read_before = walk.bytes_read();
            }
            if read < commit.found.len() {
                return Ok((StreamPlace { skip: read, ..next }, version));
            }
            let (offset, sequence) = (walk.at(), walk.sequence());
            next = StreamPlace { offset, sequence, skip: 0, ..next };
            steps.reached(walk.at(), walk.bytes_read()).await?;
        }
        Ok((next, version))
    }

    /// Picks records of a commit until the piece is full. Returns how many needles of it were read, and
    /// raises `version` to theirs.
    fn take_commit(
        &mut self,
        walk: &mut LogWalk<'_, '_>,
        commit: &SettledCommit,
        place: StreamPlace,
        version: &mut u64,
    ) -> usize {
        for (number, found) in commit.found.iter().enumerate().skip(place.skip) {
            if self.is_full() {
                return number;
            }
            if let FoundNeedle::Whole(header, _) = found
                && matches!(header.kind, Kind::Data | Kind::Manifest | Kind::Tombstone)
            {
                *version = header.version.max(*version);
                if header.version <= place.known {
                    continue;
                }
            }
            if let Some(record) = self.record(walk, found) {
                self.attributes += record.content_type.as_ref().map_or(0, Vec::len);
                self.records.push(record);
            }
        }
        commit.found.len()
    }

    fn record(&self, walk: &mut LogWalk<'_, '_>, found: &FoundNeedle) -> Option<StreamRecord> {
        let id = found.owner()?;
        let header = match found {
            FoundNeedle::Whole(header, _) => header,
            FoundNeedle::Damaged(footer) => {
                let is_object = matches!(footer.kind, Kind::Data | Kind::Manifest | Kind::Loss);
                let damaged = StreamRecord {
                    is_large: footer.kind == Kind::Manifest,
                    ..StreamRecord::bare(RecordKind::Damaged, id)
                };
                return (is_object && walk.is_live(found)).then_some(damaged);
            }
        };
        let is_live = || walk.is_live(found) || chosen(Sabotage::StreamTheDead);
        match header.kind {
            Kind::Data | Kind::Manifest => {
                let is_live = is_live();
                let stored = walk.take_attributes(found.location());
                is_live.then(|| object(header, stored))
            }
            Kind::Loss => is_live().then_some(StreamRecord::bare(RecordKind::Damaged, id)),
            Kind::Tombstone if self.deletions => Some(StreamRecord {
                version: header.version,
                modified_ns: Some(header.modified_ns),
                ..StreamRecord::bare(RecordKind::Deletion, id)
            }),
            _ => None,
        }
    }
}

/// Returns the record of a live object, with its attributes as they are stored if they are undamaged.
fn object(header: &NeedleHeader, stored: Option<Vec<u8>>) -> StreamRecord {
    let content_type = stored.as_deref().and_then(|stored| {
        let found = attributes(stored).find(|one| one.code == Attribute::CONTENT_TYPE);
        found.map(|found| found.value.to_vec())
    });
    StreamRecord {
        kind: if stored.is_some() { RecordKind::Object } else { RecordKind::Damaged },
        id: header.id,
        version: header.version,
        modified_ns: Some(header.modified_ns),
        body_len: Some(header.body_len),
        content_type,
        is_large: header.kind == Kind::Manifest,
    }
}
