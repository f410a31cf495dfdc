//! Group commit: while one commit is being written, the next one forms. One gathered durable write
//! carries all needles of a commit. Only after it has completed are the needles entered into the index
//! and their writers answered.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use crate::base::account::{AUDITED, Account};
use crate::base::limits::{
    BLOCK, COMMIT_LEN_MAX, COMMIT_LEN_TARGET, COMMIT_NEEDLES_MAX, HINT_IDLE_NS, HINT_INTERVAL,
    LOG_START, TOMBSTONE_RESERVE, UNIT, VOLUME_SIZE_MIN,
};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::buffer::Buf;
use crate::runtime::op::Piece;
use crate::runtime::{Event, Handle, Signal};
use crate::volume::Volume;
use crate::volume::error::{IoError, Refusal};
use crate::volume::format::{
    CommitRecord, Kind, NeedleHeader, RISING_MAX, Seal, TailHint, encode_data_needle,
    encode_tombstone,
};
use crate::volume::index::{IdHash, Location, PREFETCHED};
use crate::volume::io::{VolumeFile, count};
use crate::volume::log::recover::LogEnd;

/// Latest time of the wall clock that counts for versions (nanoseconds since 1970; in the year 2257). A
/// later clock counts as this time, so a wrong clock still leaves more than 10^17 versions.
const VERSION_CLOCK_MAX: u64 = RISING_MAX - (1 << 57);
/// A log whose last version or sequence is at least this takes no needles. Needles that joined before
/// still get numbers: far fewer than 2^32 needles fit in memory.
const NUMBERS_MAX: u64 = RISING_MAX - (1 << 32);

/// Outcome of a commit, shared by all its writers: the offset of the commit (bytes), or the error.
type Outcome = Result<u64, IoError>;

/// A needle that waits to be appended. The buffer holds it from its first byte, complete except for
/// header, padding and footer.
pub struct Pending {
    /// Buffer that holds the needle.
    pub buf: Buf,
    /// Header without the fields that the commit determines: version, epoch, sequence, ordinal.
    pub header: NeedleHeader,
    /// Hash of the id.
    pub hash: IdHash,
    /// Bytes taken out of a reservation ([`Room`]) for this needle.
    pub room: u64,
}

impl Pending {
    fn len(&self) -> u64 {
        self.header.layout().len as u64
    }
}

/// Needles that have joined a commit.
pub struct Joined {
    outcome: Rc<Event<Outcome>>,
    within: u64,
}

impl Joined {
    /// Waits until the needles are durable and in the index. Returns the offset of the first of them
    /// (bytes).
    ///
    /// # Errors
    /// [`Refusal::Failed`].
    pub async fn settled(&self) -> Result<u64, Refusal> {
        self.outcome.wait().await.map(|commit| commit + self.within).map_err(Refusal::Failed)
    }
}

/// A reservation: space in the log for later appends. Dropping it releases what was not used. It belongs
/// to its volume; other code refers to it by its key.
pub struct Room {
    volume: Rc<Volume>,
    key: RoomKey,
}

/// Identifies a [`Room`], and may outlive it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoomKey(u64);

impl Room {
    /// Reserves `len` bytes. Returns `None` if this much is not free.
    pub fn new(volume: &Rc<Volume>, len: u64) -> Option<Self> {
        let log = &volume.log;
        if !log.has_room(len) {
            return None;
        }
        log.claimed.take(len);
        let key = RoomKey(log.last_room_key.get() + 1);
        log.last_room_key.set(key.0);
        log.rooms.borrow_mut().insert(key, len);
        Some(Self { volume: Rc::clone(volume), key })
    }

    /// Returns the key of the reservation.
    pub fn key(&self) -> RoomKey {
        self.key
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let len = self.volume.log.rooms.borrow_mut().remove(&self.key);
        let log = &self.volume.log;
        log.claimed.give_back(len.expect("a reservation exists until it is dropped"));
        log.audit();
    }
}

struct Forming {
    needles: Vec<Pending>,
    len: u64,
    outcome: Rc<Event<Outcome>>,
}

impl Forming {
    /// Space claimed for the commit (bytes).
    fn claim(&self) -> u64 {
        self.len + COMMIT_OVERHEAD
    }
}

/// The append side of a volume.
pub struct Log {
    handle: Handle,
    incarnation: u64,
    log_end: u64,
    reserve: u64,
    epoch: u64,
    end: Cell<LogEnd>,
    forming: RefCell<VecDeque<Forming>>,
    /// The commit that is being written, and the space claimed for it (bytes).
    writing: RefCell<Option<Rc<Event<Outcome>>>>,
    writing_len: Cell<u64>,
    /// Bytes claimed by needles that wait, by the commit that is being written, and by reservations, each
    /// with the largest possible padding.
    claimed: Account,
    /// The part of the claimed bytes that belongs to each reservation.
    rooms: RefCell<HashMap<RoomKey, u64>>,
    last_room_key: Cell<u64>,
    work: Signal,
    hint: Cell<TailHint>,
    /// The failure that poisoned the volume; nothing is appended after it.
    poisoned: Cell<Option<IoError>>,
    /// Whether the state that the operator set allows writes.
    accepts: Cell<bool>,
    closing: Cell<bool>,
    closed: Event<()>,
    /// The block for commit records, seals and hints, of which one is written at a time. The log owns it
    /// because it must never depend on how much of the pool clients leave free.
    block: Cell<Option<Buf>>,
}

/// Maximum number of bytes that a commit adds to its needles: record and padding.
pub const COMMIT_OVERHEAD: u64 = UNIT + BLOCK;

impl Log {
    /// Creates a log that continues at `end` in a new epoch. `hint` supplies the number of the last hint
    /// and the new epoch; `block` is a buffer of one block that the log keeps.
    pub fn new(
        handle: &Handle,
        block: Buf,
        incarnation: u64,
        size: u64,
        log_end: u64,
        end: LogEnd,
        hint: TailHint,
    ) -> Self {
        // Only tests use volumes below the smallest size that an operator may create. Their reserve is
        // smaller.
        let reserve =
            if size >= VOLUME_SIZE_MIN { TOMBSTONE_RESERVE } else { size / 16 / BLOCK * BLOCK };
        Self {
            handle: handle.clone(),
            incarnation,
            log_end,
            reserve,
            epoch: hint.epoch,
            end: Cell::new(end),
            forming: RefCell::default(),
            claimed: Account::new("claimed bytes of a log"),
            rooms: RefCell::default(),
            last_room_key: Cell::new(0),
            work: Signal::new(handle),
            hint: Cell::new(hint),
            poisoned: Cell::new(None),
            accepts: Cell::new(true),
            closing: Cell::new(false),
            writing: RefCell::default(),
            writing_len: Cell::new(0),
            closed: Event::new(handle),
            block: Cell::new(Some(block)),
        }
    }

    /// Length of the log's own block (bytes); 0 while a write uses it.
    pub fn buffer_bytes(&self) -> usize {
        let block = self.block.take();
        let len = block.as_ref().map_or(0, |block| block.len());
        self.block.set(block);
        len
    }

    /// Takes the log's own block, filled with zeros.
    fn take_block(&self) -> Buf {
        let mut block = self.block.take().expect("at most one write uses the block at a time");
        let filler = u8::from(chosen(Sabotage::DirtyPadding));
        block[..BLOCK as usize].fill(filler);
        block
    }

    /// Whether sequences or versions are used up: readers would not accept the next one.
    fn is_out_of_numbers(&self) -> bool {
        let end = self.end.get();
        end.sequence.max(end.version) >= NUMBERS_MAX
    }

    /// Returns whether the volume is poisoned.
    pub fn poisoned(&self) -> bool {
        self.poisoned.get().is_some()
    }

    /// Returns the end of the log.
    pub fn end(&self) -> LogEnd {
        self.end.get()
    }

    /// Offset of the next commit (bytes).
    pub fn tail(&self) -> u64 {
        self.end.get().tail
    }

    fn room_up_to(&self, limit: u64, len: u64) -> bool {
        let overhead = if chosen(Sabotage::NoRoomForTheSeal) { UNIT } else { COMMIT_OVERHEAD };
        self.end.get().tail + self.claimed.held() + len + overhead <= limit
    }

    /// Returns whether a needle of this length (bytes) fits without using the space reserved for
    /// tombstones.
    pub fn has_room(&self, len: u64) -> bool {
        self.room_up_to(self.log_end - self.reserve, len)
    }

    /// Returns whether a needle of this length (bytes) does not fit after the committed end of the log.
    /// Reservations of uploads in progress count as free, because the uploads may be abandoned.
    pub fn is_full(&self, len: u64) -> bool {
        self.end.get().tail + len + COMMIT_OVERHEAD > self.log_end - self.reserve
    }

    /// Takes up to `most` bytes out of a reservation, for a needle that joins a commit at once. Returns
    /// the number of bytes taken; 0 when the reservation no longer exists.
    pub fn take_room(&self, key: RoomKey, most: u64) -> u64 {
        let mut rooms = self.rooms.borrow_mut();
        let Some(left) = rooms.get_mut(&key) else { return 0 };
        let taken = most.min(*left);
        *left -= taken;
        taken
    }

    /// Recounts the claimed bytes: needles that wait, the commit that is being written, and reservations.
    ///
    /// # Panics
    /// If the account differs from the count.
    pub fn audit(&self) {
        if AUDITED {
            let waiting = self.forming.borrow().iter().map(|forming| forming.claim()).sum::<u64>();
            let reserved = self.rooms.borrow().values().sum::<u64>();
            self.claimed.expect(waiting + self.writing_len.get() + reserved);
        }
    }

    /// Checks that there are no reservations.
    ///
    /// # Panics
    /// If there is one.
    pub fn expect_no_rooms(&self) {
        assert!(self.rooms.borrow().is_empty(), "an upload has ended but holds a reservation");
        self.audit();
    }

    /// Checks that nothing waits, nothing is being written, and nothing is reserved.
    ///
    /// # Panics
    /// If something does or is.
    pub fn expect_rest(&self) {
        self.expect_no_rooms();
        self.claimed.expect(0);
    }

    fn may_join(&self) -> Result<(), Refusal> {
        if self.poisoned() {
            return Err(Refusal::Poisoned);
        }
        if !self.accepts.get() {
            return Err(Refusal::ReadOnly);
        }
        if self.closing.get() {
            return Err(Refusal::Closing);
        }
        Ok(())
    }

    /// Adds needles to the forming commit; all of them go into the same commit.
    ///
    /// # Errors
    /// [`Refusal::Poisoned`], [`Refusal::ReadOnly`], [`Refusal::Closing`], [`Refusal::Full`].
    ///
    /// # Panics
    /// If they are too many or too long for one commit.
    pub fn join(&self, needles: Vec<Pending>) -> Result<Joined, Refusal> {
        // In any case, what was taken out of a reservation is no longer reserved.
        let room = needles.iter().map(|needle| needle.room).sum();
        if !chosen(Sabotage::KeepRoomWhenRefused) || self.may_join().is_ok() {
            self.claimed.give_back(room);
        }
        self.audit();
        self.may_join()?;
        let len: u64 = needles.iter().map(Pending::len).sum();
        assert!(needles.len() <= COMMIT_NEEDLES_MAX && len + COMMIT_OVERHEAD <= COMMIT_LEN_MAX);
        let fits = if needles.iter().all(|needle| needle.header.kind == Kind::Tombstone) {
            self.room_up_to(self.log_end, len)
        } else {
            // Reserved space is free even when deletes have used the reserve for tombstones since.
            len + COMMIT_OVERHEAD <= room || self.has_room(len)
        };
        if !fits || self.is_out_of_numbers() {
            return Err(Refusal::Full);
        }
        let mut queue = self.forming.borrow_mut();
        let joins = queue.back().is_some_and(|forming| {
            forming.needles.len() + needles.len() <= COMMIT_NEEDLES_MAX
                && forming.len + len <= COMMIT_LEN_TARGET
        });
        if !joins {
            let outcome = Rc::new(Event::new(&self.handle));
            queue.push_back(Forming { needles: Vec::new(), len: 0, outcome });
            self.claimed.take(COMMIT_OVERHEAD);
        }
        let forming = queue.back_mut().expect("a commit was pushed above if there was none");
        let within = UNIT + forming.len;
        forming.needles.extend(needles);
        forming.len += len;
        self.claimed.take(len);
        self.work.raise();
        Ok(Joined { outcome: Rc::clone(&forming.outcome), within })
    }

    /// Returns whether the state that the operator set allows needles to join.
    pub fn accepts(&self) -> bool {
        self.accepts.get()
    }

    /// Sets whether needles may join from now on.
    pub fn accept(&self, accepts: bool) {
        self.accepts.set(accepts);
    }

    /// Waits until everything that has joined so far is committed or has failed.
    pub async fn settle(&self) {
        let waiting = self.forming.borrow().back().map(|last| Rc::clone(&last.outcome));
        let waiting = waiting.filter(|_| !chosen(Sabotage::SettleTooEarly));
        let last = waiting.or_else(|| self.writing.borrow().clone());
        if let Some(last) = last {
            // The writers receive the outcome.
            let _ = last.wait().await;
        }
    }

    /// Waits until everything admitted is committed and the log is closed.
    pub async fn close(&self) {
        self.closing.set(true);
        self.work.raise();
        self.closed.wait().await;
    }

    /// Whether the log extends beyond the last hint.
    fn hint_due(&self) -> bool {
        self.end.get().tail > self.hint.get().tail
    }

    fn next_hint(&self, clean: bool) -> TailHint {
        let end = self.end.get();
        TailHint {
            number: self.hint.get().number + 1,
            epoch: self.epoch,
            tail: end.tail,
            sequence: end.sequence,
            record_checksum: end.record_checksum,
            version: end.version,
            clean,
        }
    }

    /// Writes the seal of a torn tail: a commit without needles.
    ///
    /// # Errors
    /// The error of the write; `EOVERFLOW` when sequences or versions are used up.
    pub async fn seal(&self, file: &VolumeFile, seal: Seal) -> Result<(), IoError> {
        let end = self.end.get();
        // It always fits: no commit takes the last block, because its largest possible padding is
        // claimed.
        assert!(end.tail + BLOCK <= self.log_end);
        if chosen(Sabotage::SkipSeal) {
            return Ok(());
        }
        if self.is_out_of_numbers() {
            return Err(IoError::Errno(nix::libc::EOVERFLOW));
        }
        let record = CommitRecord { seal: Some(seal), ..self.record(end, BLOCK, 0) };
        let mut block = self.take_block();
        let record_checksum = record.encode(self.incarnation, end.tail, self.log_end, &mut block);
        self.block.set(Some(file.write_block(block, end.tail).await?));
        let sequence = record.sequence;
        let (record_at, tail) = (end.tail, end.tail + BLOCK);
        self.end.set(LogEnd { record_at, tail, sequence, record_checksum, ..end });
        Ok(())
    }

    /// Writes the next tail hint.
    ///
    /// # Errors
    /// The error of the write; `EOVERFLOW` when the numbers of hints are used up.
    pub async fn write_hint(&self, file: &VolumeFile, clean: bool) -> Result<(), IoError> {
        let hint = self.next_hint(clean);
        if hint.number >= RISING_MAX {
            return Err(IoError::Errno(nix::libc::EOVERFLOW));
        }
        let mut block = self.take_block();
        hint.encode(self.incarnation, self.log_end, &mut block);
        self.block.set(Some(file.write_block(block, hint.offset()).await?));
        count(&file.stats.hints, 1);
        self.hint.set(hint);
        Ok(())
    }

    fn record(&self, end: LogEnd, len: u64, needles: usize) -> CommitRecord {
        CommitRecord {
            epoch: self.epoch,
            sequence: end.sequence + 1,
            len,
            needles: u32::try_from(needles).expect("a commit has at most 1000 needles"),
            // Commits are written one after the other, each only when the one before it is durable.
            durable_tail: if chosen(Sabotage::WrongDurableTail) { LOG_START } else { end.tail },
            previous: end.record_checksum,
            written_ns: self.handle.wall(),
            seal: None,
        }
    }

    /// Poisons the volume: ends the append side for the life of the process and fails all waiting
    /// writers.
    pub fn poison(&self, error: IoError) {
        if !chosen(Sabotage::WriteAfterFailure) {
            self.poisoned.set(Some(error));
        }
        if chosen(Sabotage::ForgetWaiters) {
            return;
        }
        for forming in self.forming.take() {
            self.claimed.give_back(forming.claim());
            forming.outcome.set(Err(error));
        }
        self.audit();
    }
}

/// The committer of the volume. It is a task of its own, so that a connection that breaks cannot leave a
/// commit half done.
pub async fn run(volume: Rc<Volume>) {
    let log = &volume.log;
    while !log.poisoned() {
        let next = log.forming.borrow_mut().pop_front();
        let done = match next {
            Some(forming) => commit(&volume, forming).await,
            None if log.closing.get() => break,
            None => idle(&volume).await,
        };
        if let Err(error) = done {
            log.poison(error);
            tracing::error!(
                volume = volume.superblock.volume.0,
                "a write failed: {error}; the volume is poisoned and takes no writes until the daemon is \
                 restarted; reads continue; check the kernel log and the disk"
            );
        }
    }
    if !log.poisoned()
        && let Err(error) = log.write_hint(&volume.file, true).await
    {
        // Harmless: the next start reads a little more of the log.
        tracing::warn!("the clean-close hint could not be written: {error}");
    }
    log.closed.set(());
}

async fn idle(volume: &Volume) -> Result<(), IoError> {
    let log = &volume.log;
    if !log.hint_due() {
        log.work.wait().await;
        return Ok(());
    }
    let deadline = log.handle.now() + HINT_IDLE_NS;
    if log.work.wait_until(deadline).await || log.poisoned() {
        return Ok(());
    }
    log.write_hint(&volume.file, false).await
}

async fn commit(volume: &Volume, forming: Forming) -> Result<(), IoError> {
    let log = &volume.log;
    let claim = forming.claim();
    let Forming { needles, outcome, .. } = forming;
    log.writing.replace(Some(Rc::clone(&outcome)));
    log.writing_len.set(claim);
    if chosen(Sabotage::AckBeforeFlush) {
        outcome.set(Ok(log.tail()));
    }
    let written = write_commit(volume, needles).await;
    // If the volume was fenced while this commit was in flight, a restart would not find the commit, so
    // it is not acknowledged.
    let result = log.poisoned.get().map_or(written, Err);
    volume.checkpoints.note(log.tail());
    log.claimed.give_back(claim);
    log.writing_len.set(0);
    log.audit();
    log.writing.take();
    if !chosen(Sabotage::AckBeforeFlush) {
        outcome.set(result);
    }
    result?;
    if log.end.get().tail >= log.hint.get().tail + HINT_INTERVAL
        && !chosen(Sabotage::NoHintWhileBusy)
    {
        log.write_hint(&volume.file, false).await?;
    }
    Ok(())
}

/// A needle of the commit, to be entered into the index once the commit is durable.
struct Placed {
    header: NeedleHeader,
    hash: IdHash,
    at: Location,
}

async fn write_commit(volume: &Volume, needles: Vec<Pending>) -> Outcome {
    let log = &volume.log;
    let end = log.end.get();
    let needles_len: u64 = needles.iter().map(Pending::len).sum();
    let len = (UNIT + needles_len).next_multiple_of(BLOCK);
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
        placed.push(Placed { header: needle.header, hash: needle.hash, at });
        offset += needle_len;
    }
    let padding = end.tail + len - offset;
    if padding > 0 {
        // The rest of the block after the record is zero.
        pieces.push(piece(0, UNIT, padding));
    }

    if chosen(Sabotage::PublishBeforeFlush) {
        placed.drain(..).for_each(|needle| publish(volume, &needle));
    }
    let mut bufs = volume.file.write(bufs, pieces, end.tail, true).await?;
    log.block.set(Some(bufs.swap_remove(0)));
    drop(bufs);
    let tail = end.tail + len;
    let (record_at, sequence) = (end.tail, record.sequence);
    log.end.set(LogEnd { record_at, tail, sequence, record_checksum, version });
    let stats = &volume.file.stats;
    count(&stats.commits, 1);
    count(&stats.commit_needles, placed.len() as u64);
    count(&stats.commit_bytes, len);
    for needles in placed.chunks(PREFETCHED) {
        let contents = volume.contents.borrow();
        needles.iter().for_each(|needle| contents.index().prefetch(needle.hash));
        drop(contents);
        needles.iter().for_each(|needle| publish(volume, needle));
    }
    Ok(end.tail)
}

fn encode(needle: &mut Pending, incarnation: u64, offset: u64) {
    let len = usize::try_from(needle.len()).expect("a needle is below 2 MiB");
    let bytes = &mut needle.buf[..len];
    match needle.header.kind {
        Kind::Tombstone => encode_tombstone(&needle.header, incarnation, offset, bytes),
        _ => encode_data_needle(&needle.header, incarnation, offset, bytes),
    }
}

fn publish(volume: &Volume, needle: &Placed) {
    let mut contents = volume.contents.borrow_mut();
    let (hash, at, previous) = (needle.hash, needle.at, needle.header.previous);
    match needle.header.kind {
        Kind::Part => {}
        Kind::Tombstone => {
            contents.remove(hash, previous);
        }
        Kind::Data | Kind::Manifest => {
            let parts = needle.header.parts_len();
            if previous == 0 {
                contents.insert(hash, at, parts);
            } else {
                let there = contents.replace(hash, previous, at, parts);
                assert!(there, "the superseded needle stays indexed while the write holds the id");
            }
        }
    }
}
