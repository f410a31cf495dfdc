//! Group commit: while one commit is being written, the next one forms. One gathered durable write
//! carries all needles of a commit. Only after it has completed are the needles entered into the index
//! and their writers answered.

use std::rc::Rc;

use super::append_log::AppendLog;
use super::forming::Forming;
use super::joined::Outcome;
use super::log_end::LogEnd;
use super::pending::Pending;
use crate::base::limits::{BLOCK, HINT_IDLE_NS, HINT_INTERVAL, UNIT};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::background::Waited;
use crate::runtime::op::Piece;
use crate::volume::error::IoError;
use crate::volume::format::{
    EarlierRange, HashPrefix, Kind, NeedleHeader, RISING_MAX, encode_before_data,
    encode_behind_data, encode_loss, encode_tombstone,
};
use crate::volume::index::{IdHash, Location, PREFETCHED};
use crate::volume::io::count;
use crate::volume::log::damaged_range::DamagedRange;
use crate::volume::log::expiry_sums::Expiring;
use crate::volume::{Volume, WriteState};

/// Latest time of the wall clock that counts for versions (nanoseconds since 1970; in the year 2257). A
/// later clock counts as this time, so a wrong clock still leaves more than 10^17 versions.
const VERSION_CLOCK_MAX: u64 = RISING_MAX - (1 << 57);

/// The committer of the volume. It is a task of its own, so that a connection that breaks cannot leave a
/// commit half done.
pub async fn run(volume: Rc<Volume>) {
    let (log, state) = (&volume.log, &volume.write_state);
    while state.get().takes_commits() {
        let next = log.forming.borrow_mut().pop_front();
        let done = match next {
            Some(forming) => commit(&volume, forming).await,
            None if state.get() == WriteState::Closing => break,
            None => idle(&volume).await,
        };
        if let Err(error) = done {
            volume.poison(error);
            tracing::error!(
                volume = volume.superblock.volume.0,
                "a write failed: {error}; the volume is poisoned and takes no writes until the daemon is \
                 restarted; reads continue; check the kernel log and the disk"
            );
        }
    }
    let is_idle = log.forming.borrow().is_empty() || chosen(Sabotage::ForgetWaiters);
    assert!(is_idle, "a needle waits for a commit that nobody will write");
    if state.get().takes_hints()
        && let Err(error) = log.write_hint(&volume.file, true).await
    {
        // Harmless: the next start reads a little more of the log.
        tracing::warn!("the clean-close hint could not be written: {error}");
    }
    state.update(WriteState::finish_closing);
    log.ended.set(());
}

async fn idle(volume: &Volume) -> Result<(), IoError> {
    let log = &volume.log;
    if !log.hint_due() {
        log.work.wait().await;
        return Ok(());
    }
    let deadline = log.handle.now() + HINT_IDLE_NS;
    if log.work.wait_until(deadline).await || !volume.write_state.get().takes_hints() {
        return Ok(());
    }
    log.write_hint(&volume.file, false).await
}

/// Whether so much was written since the last tail hint that the next one does not wait for an idle moment.
fn is_hint_overdue(log: &AppendLog) -> bool {
    let is_far = log.end.get().tail >= log.hint.get().tail + HINT_INTERVAL;
    is_far && !chosen(Sabotage::NoHintWhileBusy)
}

async fn commit(volume: &Volume, forming: Forming) -> Result<(), IoError> {
    let log = &volume.log;
    let claim = forming.claim();
    let Forming { needles, outcome, .. } = forming;
    let before = log.writing.replace(Some(Rc::clone(&outcome)));
    assert!(before.is_none() && log.writing_len.get() == 0, "one commit is written at a time");
    log.writing_len.set(claim);
    if chosen(Sabotage::AckBeforeFlush) {
        outcome.set(Ok(log.tail()));
    }
    let written = write_commit(volume, needles, claim).await;
    // If the volume was fenced while this commit was in flight, a restart would not find the commit, so
    // it is not acknowledged.
    let result = volume.write_state.get().error().map_or(written, Err);
    volume.checkpoints.note(log.tail());
    log.claimed.give_back(claim);
    log.writing_len.set(0);
    log.expect_space();
    log.audit();
    log.writing.take();
    if !chosen(Sabotage::AckBeforeFlush) {
        outcome.set(result);
    }
    result?;
    if is_hint_overdue(log) {
        log.write_hint(&volume.file, false).await?;
    }
    Ok(())
}

/// A needle of a commit, to be entered into the index once the commit is written.
pub struct Placed {
    /// Its header.
    pub header: NeedleHeader,
    /// Hash by which it is indexed.
    pub hash: IdHash,
    /// Its place in the file.
    pub at: Location,
    /// What it supersedes or deletes, if that expires and is known.
    pub superseded: Option<Expiring>,
}

/// Writes a commit for which `claim` bytes are claimed, and publishes it.
async fn write_commit(volume: &Volume, needles: Vec<Pending>, claim: u64) -> Outcome {
    let log = &volume.log;
    let end = log.end.get();
    let needles_len: u64 = needles.iter().map(Pending::len).sum();
    let len = (UNIT + needles_len).next_multiple_of(BLOCK);
    assert!(len <= claim, "a commit of {len} bytes claimed only {claim}");
    let record = log.record(end, len, needles.len());
    let mut block = log.take_block();
    let record_checksum = record.encode(log.incarnation, end.tail, log.log_end, &mut block);

    let mut version = end.version;
    let mut offset = end.tail + UNIT;
    let mut placed = Vec::with_capacity(needles.len());
    let mut bufs = Vec::with_capacity(needles.len() + 1);
    let mut pieces = Vec::with_capacity(needles.len() + 2);
    let piece = |buf: usize, start: u64, len: u64| Piece {
        buf: u16::try_from(buf).expect("a commit has at most 1000 needles"),
        start: u32::try_from(start).expect("a needle is below 2 MiB"),
        len: u32::try_from(len).expect("a needle is below 2 MiB"),
    };
    pieces.push(piece(0, 0, UNIT));
    bufs.push(block);
    for (ordinal, mut needle) in needles.into_iter().enumerate() {
        version = log.handle.wall().min(VERSION_CLOCK_MAX).max(version + 1);
        needle.header.version = version;
        needle.header.epoch = record.epoch;
        needle.header.sequence = record.sequence;
        needle.header.ordinal = u32::try_from(ordinal).expect("at most 1000 needles");
        let needle_len = needle.len();
        encode(&mut needle, log.incarnation, offset);
        pieces.push(piece(bufs.len(), 0, needle_len));
        bufs.push(needle.buf);
        let at = Location { offset, len: needle_len };
        let (header, hash, superseded) = (needle.header, needle.hash, needle.superseded);
        placed.push(Placed { header, hash, at, superseded });
        offset += needle_len;
    }
    let padding = (end.tail + len).checked_sub(offset);
    let padding = padding.expect("the needles of a commit end within its length");
    assert!(padding < BLOCK, "{padding} bytes of padding at the end of a commit");
    if padding > 0 {
        // The rest of the block after the record is zero.
        pieces.push(piece(0, UNIT, padding));
    }

    if chosen(Sabotage::PublishBeforeFlush) {
        placed.drain(..).for_each(|needle| publish_appended(volume, &needle));
    }
    let began = log.handle.now();
    let written = volume.file.write(bufs, pieces, end.tail, true).await;
    volume.pace.waited(Waited::Commit, began);
    let mut bufs = written?;
    log.block.set(Some(bufs.swap_remove(0)));
    drop(bufs);
    let tail = end.tail + len;
    let (record_at, sequence) = (end.tail, record.sequence);
    log.advance(end, LogEnd { record_at, tail, sequence, record_checksum, version });
    let stats = &volume.file.stats;
    count(&stats.commits, 1);
    count(&stats.commit_needles, placed.len() as u64);
    count(&stats.commit_bytes, len);
    for needles in placed.chunks(PREFETCHED) {
        let contents = volume.contents.borrow();
        needles.iter().for_each(|needle| contents.index().prefetch(needle.hash));
        drop(contents);
        needles.iter().for_each(|needle| publish_appended(volume, needle));
    }
    Ok(end.tail)
}

fn encode(needle: &mut Pending, incarnation: u64, offset: u64) {
    let Pending { buf, header, .. } = needle;
    let layout = header.layout();
    match header.kind {
        Kind::Tombstone => encode_tombstone(header, incarnation, offset, &mut buf[..layout.len]),
        Kind::Loss | Kind::UnidentifiedLoss | Kind::DamagedRange => {
            encode_loss(header, incarnation, offset, &mut buf[..layout.len]);
        }
        // The data may be lent, and stays as it is.
        Kind::Data | Kind::Part | Kind::Manifest => {
            let data = layout.data_range();
            encode_before_data(header, incarnation, offset, buf.outside_mut(0..data.start));
            encode_behind_data(header, incarnation, offset, buf.outside_mut(data.end..layout.len));
        }
    }
}

/// Publishes a needle whose upload, if it has one, was held when the needle was appended.
fn publish_appended(volume: &Volume, needle: &Placed) {
    publish(volume, needle);
    if needle.header.kind.is_of_upload() {
        volume.contents.borrow_mut().properties_mut().release_parts(needle.header.id);
    }
}

/// Enters a needle into the index.
///
/// # Panics
/// If what it supersedes or deletes is not indexed.
pub fn publish(volume: &Volume, needle: &Placed) {
    let mut contents = volume.contents.borrow_mut();
    let (hash, at, header) = (needle.hash, needle.at, &needle.header);
    let previous = header.previous;
    contents.properties_mut().note(header);
    contents.properties_mut().forget_expiring(needle.superseded);
    match header.kind {
        Kind::Part => {}
        Kind::Tombstone => {
            let there = contents.remove(hash, previous);
            assert!(there, "the deleted needle stays indexed while the delete holds the id");
        }
        Kind::UnidentifiedLoss => contents.insert_unidentified(HashPrefix::of(header.id), at),
        Kind::DamagedRange => {
            let range = EarlierRange::of(header.id, header.cookie);
            volume.damage.borrow_mut().push(DamagedRange::of_earlier(range));
        }
        Kind::Data | Kind::Manifest | Kind::Loss => {
            let parts = header.parts_len();
            if previous == 0 {
                let is_new = contents.insert(hash, at, parts);
                assert!(is_new, "nothing was indexed behind the end of the log");
            } else {
                let there = contents.replace(hash, previous, at, parts);
                assert!(there, "the superseded needle stays indexed while the write holds the id");
            }
            if header.kind == Kind::Loss {
                contents.note_loss(at, header.owner());
            }
        }
    }
}
