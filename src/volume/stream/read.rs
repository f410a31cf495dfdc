//! Reading needles from a position on.

use std::rc::Rc;

use super::collector::Collector;
use super::find::find;
use super::not_read::NotStreamed;
use crate::base::limits::LOG_START;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::stream_position::{StreamPlace, StreamPosition};
use crate::runtime::background::{BackgroundRun, Pace};
use crate::volume::format::Kind;
use crate::volume::log::log_reader::LogReader;
use crate::volume::log::scan::{FoundNeedle, WINDOW};
use crate::volume::scrub::needle::Examiner;
use crate::volume::scrub::staged::SettledCommit;
use crate::volume::scrub::steps::{Interrupted, Steps};
use crate::volume::scrub::walk::LogWalk;
use crate::volume::{Slot, Volume};

/// Longest time that a piece waits for a buffer (nanoseconds).
const BUFFER_WAIT_NS: u64 = 1_000_000_000;

impl From<Interrupted> for NotStreamed {
    fn from(_: Interrupted) -> Self {
        Self::Closing
    }
}

impl Slot {
    /// Has needles from a position on collected until the piece is full, `read_max` bytes were read, or the
    /// log has ended. Returns the position after them, and whether that is the end of the log. It counts only
    /// if the generation is still the current one.
    ///
    /// # Errors
    /// See [`NotStreamed`].
    pub(super) async fn collect<C: Collector>(
        &self,
        volume: &Rc<Volume>,
        from: StreamPosition,
        read_max: u64,
        collector: &mut C,
    ) -> Result<(StreamPosition, bool), NotStreamed> {
        let is_stopping = || self.streams.is_stopping();
        let pace = Pace::UNLIMITED.sharing(&volume.pace);
        let run = BackgroundRun::new(&self.handle, None, pace);
        let mut steps =
            Steps { run, is_needed: &is_stopping, handle: &self.handle, read: 0, step_from: 0 };
        let len = usize::try_from(WINDOW).expect("about 1.5 MiB");
        let buf = steps.run.buffer(None, len, BUFFER_WAIT_NS).await;
        let reader = LogReader::new(volume, buf.map_err(|_| NotStreamed::NoBuffer)?, true);
        let end = volume.log.end();
        steps.run.begin(read_max);
        let mut examiner = Examiner::new(volume, reader, end.tail);
        let place = match from.place.filter(|place| volume.is_in_log(place)) {
            Some(place) => place,
            None => find(&mut examiner, &mut steps, from.version).await?,
        };
        steps.begin_walk(place.offset);
        examiner.copies.from = place.skip_to;
        let walk = LogWalk::resume_inside(&mut examiner, C::DEPTH, &place);
        let (next, version) = fill(collector, walk, &mut steps, (place, read_max)).await?;
        let read = examiner.reader.bytes_read;
        // The buffer is free while the next piece has to wait.
        drop(examiner);
        steps.end(read).await?;
        let is_end = next.offset >= end.tail;
        let version = version.max(from.version);
        let version = if is_end { version.max(end.version) } else { version };
        Ok((StreamPosition { version, place: Some(next) }, is_end))
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
    ///
    /// # Errors
    /// [`NotStreamed::Behind`].
    pub(super) fn expect_history(&self, version: u64) -> Result<(), NotStreamed> {
        let complete_from = self.history_from();
        let is_complete = version == 0 || version.saturating_add(1) >= complete_from;
        if is_complete || chosen(Sabotage::StreamBelowHorizon) {
            return Ok(());
        }
        Err(NotStreamed::Behind(complete_from))
    }
}

/// Has needles from `place` on collected. Returns where the next piece begins, and the highest version before
/// it.
async fn fill<C: Collector>(
    collector: &mut C,
    mut walk: LogWalk<'_, '_>,
    steps: &mut Steps<'_>,
    (place, read_max): (StreamPlace, u64),
) -> Result<(StreamPlace, u64), Interrupted> {
    let (mut next, mut version, mut read_before) = (place, 0, walk.bytes_read());
    while !walk.has_ended() && !collector.is_full() && walk.bytes_read() - read_before < read_max {
        let commit = walk.read_settled(steps).await?;
        let read = take_commit(collector, &mut walk, &commit, next, &mut version);
        if version > next.known {
            next.known = 0;
        } else if next.known > 0 {
            // What was read before does not count: each piece of a stream makes progress.
            read_before = walk.bytes_read();
        }
        let rest = commit.found.get(read).map(|found| found.location().offset);
        if let Some(skip_to) = rest.or(walk.stopped_at()) {
            let is_new = |found: &&FoundNeedle| found.location().offset >= next.skip_to;
            let skip = next.skip + commit.found[..read].iter().filter(is_new).count();
            let commit = walk.whole_commit();
            return Ok((StreamPlace { skip, skip_to, commit, ..next }, version));
        }
        let (offset, sequence) = (walk.at(), walk.sequence());
        next = StreamPlace { offset, sequence, skip: 0, skip_to: 0, commit: None, ..next };
        if walk.ends_piece() {
            break;
        }
        steps.reached(walk.at(), walk.bytes_read()).await?;
    }
    Ok((next, version))
}

/// Has needles of a commit collected until the piece is full. Returns how many of those that were found were
/// read, and raises `version` to theirs.
fn take_commit<C: Collector>(
    collector: &mut C,
    walk: &mut LogWalk<'_, '_>,
    commit: &SettledCommit,
    place: StreamPlace,
    version: &mut u64,
) -> usize {
    for (number, found) in commit.found.iter().enumerate() {
        if found.location().offset < place.skip_to {
            continue;
        }
        if collector.is_full() {
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
        collector.take(walk, found);
    }
    commit.found.len()
}
