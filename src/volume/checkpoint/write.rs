//! Checkpoints: a copy of the index of a volume in a file beside it, so that a start reads only the log
//! after it. Checkpoints are derived from the log and never trusted over it. Without one a start takes
//! longer, and nothing else changes.
//!
//! The end of the log is noted (the covered position) before the first piece of the index is written, so
//! the file holds everything that was there at that time, and some of what came later. Entries never move
//! from one segment of the table to another (a segment splits in two; then either both are still to be
//! written, or neither is), and the stash, whose entries move only into the table, is written before it.
//! So nothing that was there at the beginning and still exists can be missed. What came later is replayed
//! at a start, whether the file holds it or not.

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::rc::Rc;

use crate::base::limits::{
    BLOCK, CHECKPOINT_BUFFER_WAIT_NS, CHECKPOINT_RETRY_MAX_NS, CHECKPOINT_RETRY_NS, LOG_START,
};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::buffer::Buf;
use crate::runtime::op::{DirId, FileId, Op, Piece};
use crate::runtime::{Event, Handle, Signal};
use crate::volume::Volume;
use crate::volume::checkpoint::queue::CheckpointQueue;
use crate::volume::error::IoError;
use crate::volume::format::{
    CheckpointFooter, CheckpointHeader, DAMAGE_MAX, DamageRecord, LogPlace, PAIRS_MAX, PAYLOAD_AT,
    PIECE_MAX, PieceKind, chain, encode_damage, encode_pairs, encode_segment, seal_piece,
    segment_len,
};
use crate::volume::generation::create::{file_name, sync_dir};
use crate::volume::index::BesideKey;
use crate::volume::io::{VolumeFile, outcome};
use crate::volume::log::recover::{DamagedPlace, LogEnd};

/// When and how fast checkpoints are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpointing {
    /// Length of log after which a new checkpoint is written (bytes).
    pub interval: u64,
    /// Maximum write rate while the volume serves (bytes per second).
    pub rate: u64,
}

/// Figures of a volume's checkpoints. In bytes unless stated otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointFigures {
    /// Covered position of the current checkpoint; 0 for none.
    pub tail: u64,
    /// Length of the log that a start would have to read.
    pub age: u64,
    /// Length of the current checkpoint; 0 when this process neither read nor wrote it.
    pub len: u64,
    /// Number of checkpoints written.
    pub written: u64,
    /// Number of attempts that failed.
    pub failed: u64,
    /// Number of checkpoints that were present at the start and could not be used.
    pub discarded: u64,
    /// Duration of the last one (nanoseconds).
    pub last_ns: u64,
    /// Offset from which the log was read when the volume was opened.
    pub opened_from: u64,
    /// Bytes of the file read at that time: the log from there on, and what follows it.
    pub opened_read: u64,
}

/// Reason why no checkpoint was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotWritten {
    /// An operation failed; the text names the step.
    Failed(&'static str, IoError),
    /// No buffer was available.
    NoBuffer,
    /// The checkpoint writer was stopped.
    Stopped,
}

/// Returns the name of a volume's checkpoint.
#[must_use]
pub fn checkpoint_name(volume: u32, generation: u64) -> CString {
    let name = file_name(volume, generation);
    CString::new(name.replace(".vol", ".ckpt")).expect("digits and dots")
}

/// Returns the name of a checkpoint while it is being written.
#[must_use]
pub fn unfinished_name(volume: u32, generation: u64) -> CString {
    let name = file_name(volume, generation);
    CString::new(name.replace(".vol", ".ckpt.new")).expect("digits and dots")
}

/// The checkpoints of a volume.
pub struct Checkpoints {
    dir: DirId,
    /// Queue shared with the other volumes of the shard.
    turns: Option<Rc<CheckpointQueue>>,
    /// `None` when the volume has no checkpoints.
    policy: Option<Checkpointing>,
    figures: Cell<CheckpointFigures>,
    /// Whether the current checkpoint contains nothing from after its covered position.
    exact: Cell<bool>,
    /// The writer task, if there is one; the event is set when it has ended.
    writer: RefCell<Option<Rc<Event<()>>>>,
    stop: Cell<bool>,
    work: Signal,
    /// Number of consecutive failures, and the time before which there is no new attempt (nanoseconds).
    failures: Cell<u32>,
    not_before: Cell<u64>,
}

impl Checkpoints {
    /// Creates the checkpoint state of a volume that was opened with these figures.
    pub fn new(
        handle: &Handle,
        dir: DirId,
        turns: Option<Rc<CheckpointQueue>>,
        policy: Option<Checkpointing>,
        (figures, exact): (CheckpointFigures, bool),
    ) -> Self {
        Self {
            dir,
            turns,
            policy,
            figures: Cell::new(figures),
            exact: Cell::new(exact),
            writer: RefCell::default(),
            stop: Cell::new(false),
            work: Signal::new(handle),
            failures: Cell::new(0),
            not_before: Cell::new(0),
        }
    }

    /// Length of the log that a start would have to read (bytes).
    fn age(&self, tail: u64) -> u64 {
        tail.saturating_sub(self.figures.get().tail.max(LOG_START))
    }

    fn is_due(&self, tail: u64) -> bool {
        self.policy.is_some_and(|policy| self.age(tail) >= policy.interval)
    }

    /// Records that the log has grown to `tail`.
    pub fn note(&self, tail: u64) {
        if self.is_due(tail) {
            self.work.raise();
        }
    }

    /// Returns the figures for a log that ends at `tail`.
    pub fn figures(&self, tail: u64) -> CheckpointFigures {
        CheckpointFigures { age: self.age(tail), ..self.figures.get() }
    }

    fn change(&self, change: impl FnOnce(&mut CheckpointFigures)) {
        let mut figures = self.figures.get();
        change(&mut figures);
        self.figures.set(figures);
    }

    /// Asks the writer to stop, also within a checkpoint.
    pub fn begin_to_stop(&self) {
        self.stop.set(true);
        self.work.raise();
    }

    /// Records that the current checkpoint was removed, or may have been.
    pub fn forget(&self) {
        self.exact.set(false);
        self.change(|figures| (figures.tail, figures.len) = (0, 0));
    }

    /// Stops the writer and waits until it has ended.
    pub async fn stop(&self) {
        self.begin_to_stop();
        let writer = self.writer.borrow().clone();
        if let Some(ended) = writer {
            ended.wait().await;
        }
        self.writer.take();
    }
}

/// Starts the checkpoint writer, if the volume has checkpoints and no writer is running.
pub fn start(volume: &Rc<Volume>) {
    let checkpoints = &volume.checkpoints;
    if checkpoints.policy.is_none() || checkpoints.writer.borrow().is_some() {
        return;
    }
    let ended = Rc::new(Event::new(&volume.handle));
    checkpoints.stop.set(false);
    checkpoints.writer.replace(Some(Rc::clone(&ended)));
    let volume = Rc::clone(volume);
    volume.handle.clone().spawn(async move {
        run(&volume).await;
        ended.set(());
    });
}

async fn run(volume: &Volume) {
    let (handle, checkpoints) = (&volume.handle, &volume.checkpoints);
    while !checkpoints.stop.get() {
        if !volume.may_checkpoint() || !checkpoints.is_due(volume.log.tail()) {
            checkpoints.work.wait().await;
            continue;
        }
        let not_before = checkpoints.not_before.get();
        if handle.now() < not_before {
            checkpoints.work.wait_until(not_before).await;
            continue;
        }
        // After an upgrade all volumes need a checkpoint at the same time.
        let (dir, stop) = (checkpoints.dir, &checkpoints.stop);
        let _turn = match &checkpoints.turns {
            Some(turns) => turns.next(dir, stop, &checkpoints.work).await,
            None => None,
        };
        if checkpoints.stop.get() {
            return;
        }
        let rate = checkpoints.policy.map_or(0, |policy| policy.rate);
        // The outcome was logged.
        let _ = volume.write_checkpoint(rate).await;
    }
}

impl Volume {
    /// Whether the index may be saved: checkpoints are enabled, the volume was opened for writing and
    /// read in full, it is not poisoned, and its log has an end that a checkpoint can name.
    fn may_checkpoint(&self) -> bool {
        let end = self.log.end();
        self.checkpoints.policy.is_some()
            && !self.read_only
            && !self.incomplete
            && !self.log.poisoned()
            && place(&end).fits(self.superblock.log_end())
    }

    /// Writes a checkpoint now, unless the current one is as good or the index must not be saved. Returns
    /// whether one was written. The caller must not run two at the same time.
    ///
    /// # Errors
    /// See [`NotWritten`]. The volume continues to work.
    pub async fn checkpoint(&self) -> Result<bool, NotWritten> {
        let checkpoints = &self.checkpoints;
        let is_fresh = checkpoints.exact.get()
            && checkpoints.figures.get().tail == self.log.tail()
            && checkpoints.figures.get().tail > 0;
        if is_fresh || !self.may_checkpoint() {
            return Ok(false);
        }
        self.write_checkpoint(0).await.map(|()| true)
    }

    /// Writes a checkpoint, and records and logs the outcome.
    async fn write_checkpoint(&self, rate: u64) -> Result<(), NotWritten> {
        let (began, checkpoints) = (self.handle.now(), &self.checkpoints);
        let written = self.make_checkpoint(rate).await;
        match &written {
            Ok((covers, reached, len)) => {
                checkpoints.failures.set(0);
                checkpoints.exact.set(covers == reached);
                checkpoints.change(|figures| {
                    figures.tail = covers.tail;
                    figures.len = *len;
                    figures.written += 1;
                    figures.last_ns = self.handle.now() - began;
                });
            }
            Err(NotWritten::Stopped) => {}
            Err(why) => {
                // A lack of buffers soon ends; a device that failed seldom recovers. So only failures
                // lengthen the pause.
                let has_failed = matches!(why, NotWritten::Failed(..));
                let failures = if has_failed { checkpoints.failures.get() } else { 0 };
                checkpoints.failures.set(failures + u32::from(has_failed));
                let pause = CHECKPOINT_RETRY_NS << failures.min(16);
                let pause = pause.min(CHECKPOINT_RETRY_MAX_NS);
                checkpoints.not_before.set(self.handle.now() + pause);
                checkpoints.change(|figures| figures.failed += 1);
                let volume = self.superblock.volume.0;
                let (what, why) = match why {
                    NotWritten::Failed(what, error) => (*what, error.to_string()),
                    _ => ("get a buffer", "too few buffers are free".to_owned()),
                };
                tracing::warn!(
                    volume,
                    "the checkpoint could not be written: cannot {what}: {why}; nothing is lost, but \
                     until one is written, a start reads more of the log"
                );
            }
        }
        written.map(drop)
    }

    /// Writes a checkpoint. Returns its covered and its reached position, and its length (bytes).
    async fn make_checkpoint(&self, rate: u64) -> Result<(LogEnd, LogEnd, u64), NotWritten> {
        let turns = self.checkpoints.turns.as_ref();
        let (mut buf, is_borrowed) = self.spare_buffer(rate).await?;
        let made = self.make_with(&mut buf, rate).await;
        if let Some(turns) = turns.filter(|_| is_borrowed) {
            turns.return_buffer(buf, self.handle.pool());
        }
        made
    }

    async fn make_with(
        &self,
        buf: &mut Option<Buf>,
        rate: u64,
    ) -> Result<(LogEnd, LogEnd, u64), NotWritten> {
        let (handle, dir) = (&self.handle, self.checkpoints.dir);
        let (volume, generation) = (self.superblock.volume.0, self.superblock.generation);
        let unfinished = unfinished_name(volume, generation);
        let failed = |what| move |error| NotWritten::Failed(what, error);
        // Remove what an earlier attempt left.
        handle.submit(Op::Unlink { dir, name: unfinished.clone() }).await;
        let op = Op::Create { dir, name: unfinished.clone() };
        let created = outcome(&handle.submit(op).await).map_err(failed("create the file"))?;
        let id = FileId(u32::try_from(created).expect("a file number"));
        let file = VolumeFile::new(handle, id);
        let made = self.fill(id, &file, buf, rate).await;
        file.close().await;
        let named = match made {
            Ok(made) => {
                let to = checkpoint_name(volume, generation);
                let op = Op::Rename { dir, from: unfinished.clone(), to, replace: true };
                let named = outcome(&handle.submit(op).await).map_err(failed("name the file"));
                named.map(|_| made)
            }
            Err(error) => Err(error),
        };
        if named.is_ok() {
            sync_dir(handle, dir).await.map_err(failed("sync the directory"))?;
        } else if !chosen(Sabotage::LeaveUnfinishedCheckpoint) {
            handle.submit(Op::Unlink { dir, name: unfinished }).await;
        }
        named
    }

    /// Returns a buffer, and whether it is the one that checkpoints share. Another buffer is taken only
    /// if at least half of the pool is free afterwards: requests have priority.
    async fn spare_buffer(&self, rate: u64) -> Result<(Option<Buf>, bool), NotWritten> {
        let (pool, turns) = (self.handle.pool(), self.checkpoints.turns.as_ref());
        let until = self.handle.now() + CHECKPOINT_BUFFER_WAIT_NS;
        loop {
            if let Some(buf) = turns.and_then(|turns| turns.borrow_buffer()) {
                return Ok((Some(buf), true));
            }
            let is_spare = pool.used() + PIECE_MAX <= pool.capacity() / 2;
            if let Some(buf) = is_spare.then(|| pool.alloc(PIECE_MAX)).flatten() {
                return Ok((Some(buf), false));
            }
            if rate > 0 && self.checkpoints.stop.get() {
                return Err(NotWritten::Stopped);
            }
            if self.handle.now() >= until && !turns.is_some_and(|turns| turns.is_lent()) {
                return Err(NotWritten::NoBuffer);
            }
            self.handle.sleep_until(self.handle.now() + CHECKPOINT_BUFFER_WAIT_NS / 64).await;
        }
    }

    async fn fill(
        &self,
        id: FileId,
        file: &VolumeFile,
        buf: &mut Option<Buf>,
        rate: u64,
    ) -> Result<(LogEnd, LogEnd, u64), NotWritten> {
        let failed = |what| move |error| NotWritten::Failed(what, error);
        let covers = self.log.end();
        let superblock = &self.superblock;
        // Allocated at once, so that the file has few extents and a full disk is noticed before anything
        // is written.
        let expected = self.contents.borrow().saved_len() as u64;
        let op = Op::Allocate { file: id, len: padded_len(expected) };
        outcome(&self.handle.submit(op).await).map_err(failed("reserve space for the file"))?;
        let mut writer = Writer {
            handle: &self.handle,
            stop: &self.checkpoints.stop,
            file,
            buf,
            incarnation: superblock.incarnation,
            filled: 0,
            count: 0,
            number: 0,
            at: 0,
            sums: 0,
            began: self.handle.now(),
            rate,
        };
        let header = CheckpointHeader {
            store: superblock.store,
            volume: superblock.volume.0,
            generation: superblock.generation,
            incarnation: superblock.incarnation,
            size: superblock.size,
            hash_seed: superblock.hash_seed,
            layout: self.contents.borrow().index().sort(&self.hasher),
            covers: place(&covers),
            written_ns: self.handle.wall(),
        };
        let (len, sum) = header.encode(writer.buf());
        writer.write(len, sum).await?;
        let beside = self.write_beside(&mut writer).await?;
        let (segments, entries) = self.write_segments(&mut writer).await?;
        let parts = self.write_parts(&mut writer).await?;
        // Nothing written so far is from after this position.
        let reached = self.log.end();
        for places in self.damage.chunks(DAMAGE_MAX) {
            let places: Vec<DamageRecord> = places.iter().map(record).collect();
            writer.filled = encode_damage(&places, writer.room());
            writer.count = count(places.len());
            writer.flush(PieceKind::Damage).await?;
        }
        let footer = CheckpointFooter {
            reached: place(&reached),
            beside,
            segments,
            entries,
            parts,
            damage: self.damage.len() as u64,
            len: writer.at + BLOCK,
            sums: writer.sums,
        };
        let (number, incarnation) = (writer.number, superblock.incarnation);
        let len = footer.encode(number, incarnation, writer.buf());
        writer.write(len, 0).await?;
        file.sync().await.map_err(failed("sync the file"))?;
        Ok((covers, reached, writer.at))
    }

    async fn write_beside(&self, writer: &mut Writer<'_>) -> Result<u64, NotWritten> {
        let (mut behind, mut total): (Option<BesideKey>, u64) = (None, 0);
        loop {
            let page: Vec<_> = self.contents.borrow().index().beside(behind, PAIRS_MAX).collect();
            let Some((last, _)) = page.last() else { return Ok(total) };
            behind = Some(*last);
            let pairs: Vec<(u64, u64)> = page.iter().map(|(_, pair)| *pair).collect();
            total += pairs.len() as u64;
            writer.filled = encode_pairs(&pairs, writer.room());
            writer.count = count(pairs.len());
            writer.flush(PieceKind::Beside).await?;
        }
    }

    /// Page by page, each as it is at the time. Changes meanwhile are replayed at a start.
    async fn write_parts(&self, writer: &mut Writer<'_>) -> Result<u64, NotWritten> {
        let (mut from, mut total) = (0, 0);
        loop {
            let page: Vec<_> = self.contents.borrow().parts(from).take(PAIRS_MAX).collect();
            let Some((last, _)) = page.last() else { return Ok(total) };
            from = last + 1;
            total += page.len() as u64;
            writer.filled = encode_pairs(&page, writer.room());
            writer.count = count(page.len());
            writer.flush(PieceKind::Parts).await?;
        }
    }

    async fn write_segments(&self, writer: &mut Writer<'_>) -> Result<(u64, u64), NotWritten> {
        let (mut from, mut segments, mut entries) = (0, 0, 0);
        loop {
            let len = {
                let contents = self.contents.borrow();
                let Some(part) = contents.index().part(from) else { break };
                let len = segment_len(part.buckets().len(), part.len);
                if len <= writer.room().len() {
                    let (prefix, depth) = (part.prefix, part.depth);
                    let written = encode_segment(prefix, depth, part.buckets(), writer.room());
                    debug_assert_eq!(written, len);
                    (from, segments, entries) =
                        (part.next, segments + 1, entries + part.len as u64);
                    writer.filled += written;
                    writer.count += 1;
                    0
                } else {
                    len
                }
            };
            if len > 0 {
                writer.flush(PieceKind::Segments).await?;
            } else {
                // Copying a segment takes some ten microseconds: let other tasks run in between.
                self.handle.yield_now().await;
            }
        }
        writer.flush(PieceKind::Segments).await?;
        Ok((segments, entries))
    }
}

/// Approximate length of the file for this length of payload (bytes): segments do not fill pieces
/// completely.
fn padded_len(payload: u64) -> u64 {
    (payload + payload / 32).next_multiple_of(BLOCK) + 3 * BLOCK
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("a piece is at most 256 KiB long")
}

fn place(end: &LogEnd) -> LogPlace {
    let LogEnd { record_at, tail, sequence, record_checksum, version } = *end;
    LogPlace { record_at, tail, sequence, record_checksum, version }
}

fn record(place: &DamagedPlace) -> DamageRecord {
    let id = place.id.map(|id| (id.key.0, id.alt.0));
    DamageRecord { offset: place.at.offset, len: place.at.len, id }
}

/// Writes pieces one after the other, at a limited rate.
struct Writer<'a> {
    handle: &'a Handle,
    stop: &'a Cell<bool>,
    file: &'a VolumeFile,
    /// The piece that is being assembled.
    buf: &'a mut Option<Buf>,
    incarnation: u64,
    /// Length of its payload so far (bytes).
    filled: usize,
    /// Number of entries in the payload.
    count: u32,
    /// Number of the piece.
    number: u64,
    /// Offset of the piece in the file (bytes).
    at: u64,
    sums: u64,
    began: u64,
    rate: u64,
}

impl Writer<'_> {
    fn buf(&mut self) -> &mut Buf {
        self.buf.as_mut().expect("the writer holds the buffer between writes")
    }

    fn room(&mut self) -> &mut [u8] {
        let from = PAYLOAD_AT + self.filled;
        &mut self.buf()[from..PIECE_MAX]
    }

    /// Writes the piece, unless it is empty, and begins the next one.
    async fn flush(&mut self, kind: PieceKind) -> Result<(), NotWritten> {
        if self.count == 0 {
            return Ok(());
        }
        let (number, count, filled) = (self.number, self.count, self.filled);
        let incarnation = self.incarnation;
        let (len, sum) = seal_piece(kind, number, count, filled, incarnation, self.buf());
        self.write(len, sum).await
    }

    async fn write(&mut self, len: usize, sum: u64) -> Result<(), NotWritten> {
        let buf = self.buf.take().expect("the writer holds the buffer between writes");
        let piece = Piece { buf: 0, start: 0, len: count(len) };
        let written = self.file.write(vec![buf], vec![piece], self.at, false).await;
        let mut bufs = written.map_err(|error| NotWritten::Failed("write the file", error))?;
        *self.buf = bufs.pop();
        self.at += len as u64;
        self.number += 1;
        self.sums = chain(self.sums, sum);
        (self.filled, self.count) = (0, 0);
        if let Some(due) = (self.at * 1000).checked_div(self.rate / 1000) {
            self.handle.sleep_until(self.began + due * 1000).await;
        }
        if self.stop.get() && self.rate > 0 { Err(NotWritten::Stopped) } else { Ok(()) }
    }
}
