//! The volume engine: an append-only log of needles in a preallocated file, an index in memory.
//!
//! It knows operations ([`crate::op`]) and tasks ([`crate::runtime`]), but no sockets, HTTP, threads,
//! clocks or files: what it needs of them is handed in.
//!
//! - `format`: the bytes. `index`: where needles are. Both pure.
//! - `create`, `open`, `recover` (with `scan`): from nothing, or from a file, to a running volume.
//! - `draft`: a needle on its way in. `append`: group commit. `write`: PUT, DELETE and multi-writes up
//!   to the commit. `read`: GET.
//! - `upload`, `body`: bodies that are larger than a needle, in parts.
//! - `contents`: the index, and what of the log is alive. `checkpoint`: it is saved, `restore`: and read.
//!   `turns`: one volume after the other.
//! - `walk`: all needles, in the order of the file. `findings`: what opening found.
//! - `io`: the policy for short and failed transfers.

mod append;
mod body;
mod checkpoint;
mod contents;
mod create;
mod draft;
mod error;
mod findings;
pub mod format;
pub mod index;
mod io;
mod open;
mod read;
mod recover;
mod restore;
mod scan;
mod state;
mod turns;
mod upload;
mod walk;
mod write;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub use append::Log;
pub use body::Body;
pub use checkpoint::{CheckpointFigures, Checkpointing, NotWritten};
pub use create::{NotRemoved, Preallocation, create, file_name, remove};
pub use draft::Draft;
pub use error::{Damage, GetError, IoError, OpenError, Refusal, StateError};
pub use findings::{Findings, SuperblockCopy};
pub use format::{Superblock, VolumeState};
pub use index::{Hasher, Location};
pub use io::Stats;
pub use open::{Expected, Surroundings, open, open_among, open_read_only};
pub use read::Needle;
pub use recover::{DamagedPlace, Ending, LogEnd, Progress};
pub use turns::Turns;
pub use upload::Upload;
pub use walk::{DamagedNeedle, LiveNeedle, Walk};
pub use write::{Check, Existing, NewNeedle, Stored};

use crate::account::AUDITED;
use crate::limits::{ATTRIBUTES_MAX, LOG_START, NEEDLE_DATA_MAX, TRAILER};
use crate::runtime::{Handle, KeyLocks};
use crate::types::{NeedleId, VolumeId};
use io::VolumeFile;

/// A volume that serves. It belongs to one shard; only that shard's tasks touch it.
pub struct Volume {
    handle: Handle,
    file: Rc<VolumeFile>,
    /// As it was when the file was opened; what may change since is beside it.
    superblock: Superblock,
    state: Cell<VolumeState>,
    revision: Cell<u64>,
    /// Whether a change of the state failed: any copy may say the one or the other.
    state_is_lost: Cell<bool>,
    hasher: Hasher,
    contents: RefCell<contents::Contents>,
    /// Writes to one id are decided one after the other, in the order they were admitted.
    locks: KeyLocks<NeedleId>,
    log: Log,
    extents: u64,
    damage: Vec<DamagedPlace>,
    findings: Findings,
    /// Whether it was opened to be read only: nothing writes to its log.
    read_only: bool,
    /// Whether parts of the log could not be read when it was opened: what is not in the index may
    /// be there all the same.
    incomplete: bool,
    checkpoints: checkpoint::Checkpoints,
}

/// Figures of a volume, for `/status` and `/metrics`. Bytes unless named otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Length of the file.
    pub size: u64,
    /// Head, log and trailer so far.
    pub used: u64,
    /// Indexed needles and their parts.
    pub live: u64,
    /// Log that is neither.
    pub dead: u64,
    /// Number of indexed needles.
    pub needles: u64,
    /// Memory of the index.
    pub index: u64,
    /// Slots of the index, a number: full ones are needles.
    pub index_slots: u64,
    /// Number of needles that found no slot, since too many have the same hash.
    pub index_overflow: u64,
    /// Number of steps in which the index grew.
    pub index_steps: u64,
    /// Number of needles that such a step moved at most.
    pub index_step_max: u64,
    /// Extents of the file; 0 when unknown.
    pub extents: u64,
    /// Damaged places found when it was opened.
    pub damaged: u64,
    /// Of its checkpoints.
    pub checkpoint: CheckpointFigures,
}

impl Volume {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> VolumeId {
        self.superblock.volume
    }

    /// Whether it takes writes now.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.log.accepts() && !self.log.poisoned()
    }

    /// Whether a write failed, so that it takes none until the process is restarted.
    #[must_use]
    pub fn poisoned(&self) -> bool {
        self.log.poisoned()
    }

    /// Whether a body of this length (bytes) still fits, whatever its content type.
    #[must_use]
    pub fn has_room_for(&self, body_len: u64) -> bool {
        let cost = match usize::try_from(body_len) {
            Ok(len) if body_len <= NEEDLE_DATA_MAX => {
                format::Layout::data(ATTRIBUTES_MAX, len).len as u64
            }
            _ => upload::body_cost(body_len),
        };
        self.log.has_room(cost) && !self.contents.borrow_mut().is_starved()
    }

    /// Whether it is full: a body of 1 MiB, the longest in one needle, does not fit behind what is
    /// committed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let len = usize::try_from(NEEDLE_DATA_MAX).expect("1 MiB");
        let cost = format::Layout::data(ATTRIBUTES_MAX, len).len as u64;
        self.log.is_full(cost) || self.contents.borrow_mut().is_starved()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.file.stats
    }

    /// Damage found when it was opened.
    #[must_use]
    pub fn damage(&self) -> &[DamagedPlace] {
        &self.damage
    }

    /// What else was found then.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Present figures.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let contents = self.contents.borrow();
        let index = contents.index().figures();
        let (tail, live) = (self.log.tail(), contents.live());
        Figures {
            size: self.superblock.size,
            used: tail + TRAILER,
            live,
            // A forged manifest may claim more than there is.
            dead: (tail - LOG_START).saturating_sub(live),
            needles: index.needles,
            index: contents.memory() as u64,
            index_slots: index.slots,
            index_overflow: index.overflow,
            index_steps: index.steps,
            index_step_max: index.step_max,
            extents: self.extents,
            damaged: self.damage.len() as u64,
            checkpoint: self.checkpoints.figures(tail),
        }
    }

    /// The buffer of its own that it has now (bytes).
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.log.buffer_bytes()
    }

    /// Nobody receives a large body for it any more, in a test build.
    ///
    /// # Panics
    /// When room is set aside all the same.
    pub fn expect_no_uploads(&self) {
        self.log.expect_no_rooms();
    }

    /// Recounts, while nobody uses the volume: nothing is claimed, no id is held, and what is alive is
    /// what the index holds. Takes long when that is much.
    ///
    /// # Panics
    /// When a count is wrong.
    pub fn expect_rest(&self) {
        self.log.expect_rest();
        assert_eq!(self.locks.held(), 0, "ids are held, and nobody writes");
        self.contents.borrow().audit();
    }

    /// Ends the volume: what was admitted is committed, a hint says that nothing follows, a checkpoint
    /// holds the index. Nothing may be read or written afterwards.
    pub async fn close(&self) {
        self.checkpoints.stop().await;
        if !self.read_only {
            self.log.close().await;
            if AUDITED {
                self.contents.borrow().audit();
            }
            // What became of it is told.
            let _ = self.checkpoint().await;
        }
        self.file.close().await;
    }

    /// Ends the writing of checkpoints, with the one that is being written, until they are resumed.
    pub async fn stop_checkpoints(&self) {
        self.checkpoints.stop().await;
    }

    /// Tells the writer of checkpoints to end. [`Self::close`] waits for it.
    pub fn begin_to_close(&self) {
        self.checkpoints.begin_to_stop();
    }

    /// Goes on with checkpoints, after its file could not be removed: its checkpoint may have been.
    pub fn resume_checkpoints(self: &Rc<Self>) {
        self.checkpoints.forget();
        checkpoint::start(self);
    }

    /// Ends the append side of a volume whose file was removed. Who still reads may finish; the file
    /// is closed with the last of them.
    pub async fn retire(&self) {
        self.checkpoints.stop().await;
        self.log.close().await;
    }

    /// Ends the append side for the life of the process, since its file is no longer where it was:
    /// nothing that is written to it would be found again.
    pub fn forsake(&self) {
        self.log.poison(IoError::Errno(nix::libc::ENOENT));
    }
}
