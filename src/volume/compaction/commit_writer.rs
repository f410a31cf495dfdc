//! Appending to the new generation: needles keep their versions, and a commit is not durable until the file
//! is synced. While one commit is being written, the next one is assembled.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use super::not_compacted::NotCompacted;
use crate::base::limits::{BLOCK, COMMIT_NEEDLES_MAX, UNIT};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::Event;
use crate::runtime::background::WorkBuffer;
use crate::runtime::op::Piece;
use crate::volume::Volume;
use crate::volume::error::IoError;
use crate::volume::format::{Kind, NeedleHeader};
use crate::volume::index::{IdHash, Location};
use crate::volume::log::LogEnd;
use crate::volume::log::committer::{Placed, publish};
use crate::volume::log::expiry_sums::Expiring;

/// A commit that is being written.
struct InFlight {
    needles: Vec<Placed>,
    before: LogEnd,
    after: LogEnd,
    ended: Rc<Event<()>>,
    result: Rc<RefCell<Option<Result<WorkBuffer, IoError>>>>,
}

/// Appends to the log of the new generation.
pub struct CommitWriter {
    volume: Rc<Volume>,
    /// The commit that is being assembled; `None` while its buffer is in use.
    buf: Option<WorkBuffer>,
    spare: Option<WorkBuffer>,
    capacity: u64,
    /// Length of that commit so far, with its record (bytes).
    filled: u64,
    needles: Vec<Placed>,
    /// Hashes of the needles that are not in the index yet.
    pending: HashSet<IdHash>,
    /// Highest version of a needle so far.
    version: u64,
    /// End of the log when everything that was handed over is written.
    end: LogEnd,
    in_flight: Option<InFlight>,
    /// Bytes written so far.
    pub bytes_written: u64,
    /// Bytes written since the last sync.
    pub unsynced: u64,
}

impl CommitWriter {
    /// Creates a writer that continues at the end of the log of `volume`. A second buffer, if there is one,
    /// must be as long as the first.
    pub fn new(volume: &Rc<Volume>, mut buf: WorkBuffer, spare: Option<WorkBuffer>) -> Self {
        let capacity = buf.memory().len() as u64 / BLOCK * BLOCK;
        let end = volume.log.end();
        Self {
            volume: Rc::clone(volume),
            buf: Some(buf),
            spare,
            capacity,
            filled: UNIT,
            needles: Vec::new(),
            pending: HashSet::new(),
            version: end.version,
            end,
            in_flight: None,
            bytes_written: 0,
            unsynced: 0,
        }
    }

    /// Returns whether a needle with this hash is not in the index yet.
    pub fn is_pending(&self, hash: IdHash) -> bool {
        self.pending.contains(&hash)
    }

    /// Makes room for a needle of `len` bytes. Returns the offset that it gets, and its memory.
    ///
    /// # Errors
    /// [`NotCompacted::Io`] if a commit could not be written; [`NotCompacted::Outgrown`] if the log ends
    /// before the end of the needle.
    pub async fn room(&mut self, len: u64) -> Result<(u64, &mut [u8]), NotCompacted> {
        let fits = self.filled + len <= self.capacity && self.needles.len() < COMMIT_NEEDLES_MAX;
        if !fits {
            self.hand_over().await?;
        }
        let end = self.end.tail + self.filled + len;
        if end > self.volume.superblock.log_end() && !chosen(Sabotage::CopyBeyondTheEnd) {
            return Err(NotCompacted::Outgrown);
        }
        let (from, to) = (to_usize(self.filled), to_usize(self.filled + len));
        let buf = self.buf.as_mut().expect("a buffer is free after a commit was handed over");
        Ok((self.end.tail + self.filled, &mut buf.memory()[from..to]))
    }

    /// Reads `len` bytes at `offset` of another file to the place that [`Self::room`] returned.
    pub async fn read_into_room(
        &mut self,
        old: &Volume,
        offset: u64,
        len: u64,
    ) -> Result<(), IoError> {
        let buf = self.buf.as_mut().expect("room was made");
        let reads = &old.file.stats.other_reads;
        let (at, len) = (to_usize(self.filled), to_usize(len));
        let (back, result) = old.file.read(buf.take(), at, len, offset, reads).await;
        buf.put_back(back);
        result
    }

    /// As [`Self::read_into_room`], with zeros for the sectors that cannot be read.
    pub async fn read_damaged_into_room(&mut self, old: &Volume, offset: u64, len: u64) {
        let buf = self.buf.as_mut().expect("room was made");
        let (at, len) = (to_usize(self.filled), to_usize(len));
        let (back, _) = old.file.read_damaged(buf.take(), at, len, offset).await;
        buf.put_back(back);
    }

    /// Returns the memory of the room that was made for a needle of `len` bytes.
    pub fn made(&mut self, len: u64) -> &mut [u8] {
        let (from, to) = (to_usize(self.filled), to_usize(self.filled + len));
        &mut self.buf.as_mut().expect("room was made").memory()[from..to]
    }

    /// Completes `header` with what the commit determines.
    pub fn complete(&self, header: NeedleHeader) -> NeedleHeader {
        let later = u64::from(chosen(Sabotage::RenewVersions));
        NeedleHeader {
            epoch: self.volume.log.epoch(),
            sequence: self.end.sequence + 1,
            ordinal: u32::try_from(self.needles.len()).expect("at most 1000 needles"),
            version: header.version + later,
            ..without_batch(header)
        }
    }

    /// Adds the needle whose bytes are complete in the room that was made for it.
    pub fn add(&mut self, header: NeedleHeader, hash: IdHash) {
        self.add_superseding(header, hash, None);
    }

    /// Adds a needle as [`Self::add`] does. `superseded`: what it supersedes or deletes, if that expires.
    pub fn add_superseding(
        &mut self,
        header: NeedleHeader,
        hash: IdHash,
        superseded: Option<Expiring>,
    ) {
        let len = header.layout().len as u64;
        let at = Location { offset: self.end.tail + self.filled, len };
        self.version = self.version.max(header.version);
        self.pending.insert(hash);
        self.needles.push(Placed { header, hash, at, superseded });
        self.filled += len;
    }

    /// Takes over a version that no needle of the log carries any more.
    pub fn raise_version(&mut self, version: u64) {
        self.version = self.version.max(version);
    }

    /// Highest version of a needle so far, also of those that are not carried over.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// End of the log when everything that was handed over is written.
    pub fn end(&self) -> LogEnd {
        self.end
    }

    /// Writes what is assembled, and waits until everything is written and in the index.
    ///
    /// # Errors
    /// [`NotCompacted::Io`].
    pub async fn flush(&mut self) -> Result<(), NotCompacted> {
        self.hand_over().await?;
        self.settle().await
    }

    /// Flushes, and makes everything durable.
    ///
    /// # Errors
    /// [`NotCompacted::Io`].
    pub async fn sync(&mut self) -> Result<(), NotCompacted> {
        self.flush().await?;
        self.unsynced = 0;
        self.volume.file.sync().await.map_err(|error| NotCompacted::Io("sync the new file", error))
    }

    /// Begins to write the commit that was assembled, unless it is empty.
    async fn hand_over(&mut self) -> Result<(), NotCompacted> {
        if self.needles.is_empty() {
            return Ok(());
        }
        let earlier = self.before_next().await?;
        let volume = &self.volume;
        let before = self.end;
        let len = self.filled.next_multiple_of(BLOCK);
        if volume.log.end_with(len, true) > volume.superblock.log_end() {
            return Err(NotCompacted::Outgrown);
        }
        volume
            .reserve_ahead(len)
            .await
            .map_err(|error| NotCompacted::Io("reserve space", error))?;
        let record = volume.log.record(before, len, self.needles.len());
        let mut buf = self.buf.take().expect("the commit is assembled in it");
        let memory = buf.memory();
        memory[to_usize(self.filled)..to_usize(len)].fill(0);
        let record_checksum = {
            let (log, superblock) = (&volume.log, &volume.superblock);
            let out = &mut memory[..to_usize(UNIT)];
            record.encode(superblock.incarnation, before.tail, log.limit(), out)
        };
        let after = LogEnd {
            record_at: before.tail,
            tail: before.tail + len,
            sequence: record.sequence,
            record_checksum,
            version: self.version,
        };
        let (ended, result) = (Rc::new(Event::new(&volume.handle)), Rc::new(RefCell::new(None)));
        let writing = write(Rc::clone(volume), buf, before.tail, len);
        let (told, told_result) = (Rc::clone(&ended), Rc::clone(&result));
        volume.handle.spawn(async move {
            let written = writing.await;
            told_result.replace(Some(written));
            told.set(());
        });
        let needles = std::mem::take(&mut self.needles);
        self.in_flight = Some(InFlight { needles, before, after, ended, result });
        (self.end, self.filled) = (after, UNIT);
        self.bytes_written += len;
        self.unsynced += len;
        if let Some(earlier) = earlier {
            return self.end_write(earlier).await;
        }
        match self.spare.take() {
            Some(spare) => self.buf = Some(spare),
            None => self.settle().await?,
        }
        Ok(())
    }

    /// Waits for the commit that is being written, so that no other write is in flight. A mistake returns it
    /// instead.
    async fn before_next(&mut self) -> Result<Option<InFlight>, NotCompacted> {
        if chosen(Sabotage::WritesAtOnce) {
            return Ok(self.in_flight.take());
        }
        self.settle().await?;
        Ok(None)
    }

    /// Waits for the commit that is being written, if there is one.
    async fn settle(&mut self) -> Result<(), NotCompacted> {
        match self.in_flight.take() {
            Some(writing) => self.end_write(writing).await,
            None => Ok(()),
        }
    }

    /// Waits for the end of a write, and enters the needles of the commit into the index.
    async fn end_write(&mut self, writing: InFlight) -> Result<(), NotCompacted> {
        let InFlight { needles, before, after, ended, result } = writing;
        ended.wait().await;
        let written = result.take().expect("the result is there when the event is set");
        let buf = written.map_err(|error| NotCompacted::Io("write the new file", error))?;
        match self.buf {
            None => self.buf = Some(buf),
            Some(_) => self.spare = Some(buf),
        }
        self.volume.log.advance(before, after);
        for needle in &needles {
            self.pending.remove(&needle.hash);
            // A tombstone that is kept for replicas deletes nothing here.
            if needle.header.kind == Kind::Tombstone && needle.header.previous == 0 {
                self.volume.contents.borrow_mut().properties_mut().note(&needle.header);
            } else {
                publish(&self.volume, needle);
            }
        }
        // What is being assembled may hold needles with the same hash.
        self.pending.extend(self.needles.iter().map(|needle| needle.hash));
        Ok(())
    }
}

/// Takes a needle out of its batch, of which it may be the only one that lives: a start drops a torn batch as
/// a whole.
fn without_batch(header: NeedleHeader) -> NeedleHeader {
    match chosen(Sabotage::KeepBatchFields) {
        true => header,
        false => NeedleHeader { batch: 0, batch_ordinal: 0, batch_count: 0, ..header },
    }
}

async fn write(
    volume: Rc<Volume>,
    mut buf: WorkBuffer,
    offset: u64,
    len: u64,
) -> Result<WorkBuffer, IoError> {
    let to_u32 = |len: u64| u32::try_from(len).expect("a commit fits into a buffer");
    let mut done = 0;
    while done < len {
        let part = (len - done).min(volume.pace.transfer_max());
        let piece = Piece { buf: 0, start: to_u32(done), len: to_u32(part) };
        let mut bufs =
            volume.file.write(vec![buf.take()], vec![piece], offset + done, false).await?;
        buf.put_back(bufs.pop().expect("a write returns its buffer"));
        done += part;
    }
    Ok(buf)
}

fn to_usize(len: u64) -> usize {
    usize::try_from(len).expect("inside a buffer")
}
