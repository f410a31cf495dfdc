//! The append side of a volume: space, the forming commit, and what waits for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::forming::{COMMIT_OVERHEAD, Forming};
use super::joined::{Joined, Outcome};
use super::log_end::LogEnd;
use super::pending::Pending;
use super::reservations::{ReservationKey, Reservations};
use crate::base::account::{AUDITED, Account};
use crate::base::limits::{
    BLOCK, COMMIT_LEN_MAX, COMMIT_LEN_TARGET, COMMIT_NEEDLES_MAX, TOMBSTONE_RESERVE, UNIT,
    VOLUME_SIZE_MIN,
};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::buffer::Buf;
use crate::runtime::{Event, Handle, Signal};
use crate::volume::error::{IoError, Refusal};
use crate::volume::format::{RISING_MAX, TailHint};

/// A log whose last version or sequence is at least this takes no needles. Needles that joined before
/// still get numbers: far fewer than 2^32 needles fit in memory.
const NUMBERS_MAX: u64 = RISING_MAX - (1 << 32);

/// The append side of a volume.
pub struct AppendLog {
    pub(super) handle: Handle,
    pub(super) incarnation: u64,
    pub(super) log_end: u64,
    /// End of the part of the log whose blocks are reserved (bytes): `log_end`, unless they are reserved in
    /// steps. Needles are admitted up to here.
    reserved_end: Cell<u64>,
    pub(super) reserve: u64,
    pub(super) epoch: u64,
    pub(super) end: Cell<LogEnd>,
    pub(super) forming: RefCell<VecDeque<Forming>>,
    /// The commit that is being written, and the space claimed for it (bytes).
    pub(super) writing: RefCell<Option<Rc<Event<Outcome>>>>,
    pub(super) writing_len: Cell<u64>,
    /// Bytes claimed by needles that wait, by the commit that is being written, and by reservations, each
    /// with the largest possible padding.
    pub(super) claimed: Account,
    /// The part of the claimed bytes that belongs to reservations.
    pub(super) reservations: Reservations,
    pub(in crate::volume) work: Signal,
    pub(super) hint: Cell<TailHint>,
    /// Set when the committer has ended.
    pub(super) ended: Event<()>,
    /// The block for commit records, seals and hints, of which one is written at a time. The log owns it
    /// because it must never depend on how much of the pool clients leave free.
    pub(super) block: Cell<Option<Buf>>,
}

impl AppendLog {
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
            reserved_end: Cell::new(log_end),
            reserve,
            epoch: hint.epoch,
            end: Cell::new(end),
            forming: RefCell::default(),
            claimed: Account::new("claimed bytes of a log"),
            reservations: Reservations::new(),
            work: Signal::new(handle),
            hint: Cell::new(hint),
            writing: RefCell::default(),
            writing_len: Cell::new(0),
            ended: Event::new(handle),
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

    /// Whether sequences or versions are used up: readers would not accept the next one.
    pub(super) fn is_out_of_numbers(&self) -> bool {
        let end = self.end.get();
        end.sequence.max(end.version) >= NUMBERS_MAX
    }

    /// Epoch of the writer.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// End of the area for the log (bytes).
    pub fn limit(&self) -> u64 {
        self.log_end
    }

    /// Raises the highest version given so far, so that the next needle gets a higher one.
    pub fn raise_version(&self, version: u64) {
        let end = self.end.get();
        self.end.set(LogEnd { version: end.version.max(version), ..end });
    }

    /// Returns the end of the log.
    pub fn end(&self) -> LogEnd {
        self.end.get()
    }

    /// Offset of the next commit (bytes).
    pub fn tail(&self) -> u64 {
        self.end.get().tail
    }

    /// Returns the end of the part of the log whose blocks are reserved (bytes).
    pub fn reserved_end(&self) -> u64 {
        self.reserved_end.get()
    }

    /// Returns the length of the part of the log whose blocks are not reserved (bytes).
    pub fn unreserved(&self) -> u64 {
        self.log_end - self.reserved_end.get()
    }

    /// Takes no block after the end of the log for reserved, because the file is partial.
    pub fn begin_partial(&self) {
        self.claimed.expect(0);
        self.reserved_end.set(self.tail());
    }

    /// Records that blocks are reserved up to `end`, on stable media.
    ///
    /// # Panics
    /// If that is before the present end, after the end of the log, or inside a block.
    pub fn extend_reserved(&self, end: u64) {
        let before = self.reserved_end.replace(end);
        assert!(
            before <= end && end <= self.log_end && end.is_multiple_of(BLOCK),
            "blocks are reserved from byte {before} to {end} of {}",
            self.log_end
        );
    }

    /// Returns the end of the space that is admitted into (bytes).
    pub(super) fn space_end(&self) -> u64 {
        if chosen(Sabotage::AdmitWithoutBlocks) { self.log_end } else { self.reserved_end.get() }
    }

    /// Returns where the log would end at most with everything claimed, `len` more bytes of needles and a
    /// seal (bytes); with `spare`, also the space reserved for tombstones.
    pub fn end_with(&self, len: u64, spare: bool) -> u64 {
        let overhead = if chosen(Sabotage::NoRoomForTheSeal) { UNIT } else { COMMIT_OVERHEAD };
        let spare = if spare { self.reserve } else { 0 };
        self.end.get().tail + self.claimed.held() + len + overhead + spare
    }

    /// Returns whether a needle of this length (bytes) fits without using the space reserved for
    /// tombstones.
    pub fn has_space(&self, len: u64) -> bool {
        self.end_with(len, true) <= self.space_end()
    }

    /// Returns whether a needle of this length (bytes) does not fit between the committed end of the log and
    /// `end`. Reservations of uploads in progress count as free, because the uploads may be abandoned.
    pub fn is_full(&self, len: u64, end: u64) -> bool {
        self.end.get().tail + len + COMMIT_OVERHEAD + self.reserve > end
    }

    /// Takes up to `most` bytes out of a reservation, for a needle that joins a commit at once. Returns
    /// the number of bytes taken; 0 when the reservation no longer exists.
    pub fn take_reserved(&self, key: ReservationKey, most: u64) -> u64 {
        self.reservations.take(key, most)
    }

    /// Recounts the claimed bytes: needles that wait, the commit that is being written, and reservations.
    ///
    /// # Panics
    /// If the account differs from the count.
    pub fn audit(&self) {
        if AUDITED {
            let waiting = self.forming.borrow().iter().map(|forming| forming.claim()).sum::<u64>();
            self.reservations.audit();
            let reserved = self.reservations.total();
            self.claimed.expect(waiting + self.writing_len.get() + reserved);
        }
    }

    /// Checks that there are no reservations.
    ///
    /// # Panics
    /// If there is one.
    pub fn expect_no_reservations(&self) {
        assert!(self.reservations.is_empty(), "an upload has ended but holds a reservation");
        self.audit();
    }

    /// Checks that nothing waits, nothing is being written, and nothing is reserved.
    ///
    /// # Panics
    /// If something does or is.
    pub fn expect_rest(&self) {
        self.expect_no_reservations();
        self.claimed.expect(0);
    }

    /// Adds needles to the forming commit if that is `permitted`; all of them go into the same commit.
    ///
    /// # Errors
    /// That of `permitted`, or [`Refusal::Full`].
    ///
    /// # Panics
    /// If they are too many or too long for one commit.
    pub(super) fn join(
        &self,
        needles: Vec<Pending>,
        permitted: Result<(), Refusal>,
    ) -> Result<Joined, Refusal> {
        // In any case, what was taken out of a reservation is no longer reserved.
        let reserved = needles.iter().map(|needle| needle.reserved).sum();
        if !chosen(Sabotage::KeepRoomWhenRefused) || permitted.is_ok() {
            self.claimed.give_back(reserved);
        }
        self.audit();
        permitted?;
        let len: u64 = needles.iter().map(Pending::len).sum();
        let count = needles.len();
        assert!((1..=COMMIT_NEEDLES_MAX).contains(&count), "{count} needles are not one commit");
        assert!(len + COMMIT_OVERHEAD <= COMMIT_LEN_MAX, "{len} bytes are too long for one commit");
        let fits = if needles.iter().all(Pending::is_tombstone) {
            self.end_with(len, false) <= self.space_end()
        } else {
            // Reserved space is free even when deletes have used the reserve for tombstones since.
            len + COMMIT_OVERHEAD <= reserved || self.has_space(len)
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
        self.expect_space();
        self.work.raise();
        Ok(Joined { outcome: Rc::clone(&forming.outcome), within })
    }

    /// Moves the end of the log behind what was written at `from` and is durable.
    ///
    /// # Panics
    /// If the log ends elsewhere by now, or recovery would not find what was written: it must not be
    /// acknowledged.
    pub(in crate::volume) fn advance(&self, from: LogEnd, to: LogEnd) {
        assert_eq!(self.end.get(), from, "the log moved while something was written at its end");
        assert!(
            to.record_at == from.tail && to.tail > from.tail && to.tail.is_multiple_of(BLOCK),
            "the log continues in whole blocks, from {from:?} to {to:?}"
        );
        assert!(to.tail <= self.space_end(), "the log would end at {}, without blocks", to.tail);
        assert!(
            to.sequence == from.sequence + 1 && to.version >= from.version,
            "sequences and versions rise, from {from:?} to {to:?}"
        );
        self.end.set(to);
    }

    /// Checks that everything claimed fits behind the end of the log, and that everything reserved or being
    /// written is claimed: what has been admitted never lacks space.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn expect_space(&self) {
        let (tail, claimed) = (self.tail(), self.claimed.held());
        let is_free = chosen(Sabotage::NoRoomForTheSeal) || tail + claimed <= self.space_end();
        assert!(is_free, "{claimed} bytes are claimed behind byte {tail} of {}", self.space_end());
        let (reserved, written) = (self.reservations.total(), self.writing_len.get());
        assert!(
            reserved + written <= claimed,
            "{claimed} bytes are claimed, but {reserved} reserved and {written} being written"
        );
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

    /// Fails all commits that have not been begun.
    pub(super) fn fail_waiting(&self, error: IoError) {
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
