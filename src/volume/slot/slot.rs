//! A volume across its generations.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::compaction_progress::CompactionProgress;
use super::scrub_state::ScrubState;
use super::undelete_state::UndeleteState;
use super::uploads::Uploads;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::{NeedleId, VolumeId};
use crate::runtime::background::{BackgroundTask, Backoff};
use crate::runtime::{Gate, Handle, KeyLocks, Pass};
use crate::volume::pull::turns::PullTurns;
use crate::volume::stream::turns::StreamTurns;
use crate::volume::{GenerationFile, Probing, Volume};

/// A volume of a shard, across its generations. Only tasks of its shard use it.
pub struct Slot {
    current: RefCell<Rc<Volume>>,
    /// Serialises writes to one id, in the order in which they were admitted.
    pub(super) locks: KeyLocks<NeedleId>,
    /// Serialises changes of the state of the volume, and the exchange of its generation.
    pub(in crate::volume) changes: KeyLocks<()>,
    /// Entered by every write before it looks up what it supersedes, until it has joined a commit.
    pub(in crate::volume) gate: Gate,
    pub(in crate::volume) uploads: Uploads,
    /// The task that compacts the volume.
    compaction: BackgroundTask,
    compaction_progress: Cell<CompactionProgress>,
    /// The scrubs of the volume.
    pub(in crate::volume) scrub: ScrubState,
    /// Reads of random needles of the volume.
    pub(in crate::volume) probing: Probing,
    /// Taking deleted photos back.
    pub(in crate::volume) undelete: UndeleteState,
    /// The streams of its records.
    pub(in crate::volume) streams: StreamTurns,
    /// The pulls of records of another volume.
    pub(in crate::volume) pull: PullTurns,
    /// Files of other generations that are there, or may be.
    other_files: RefCell<Vec<GenerationFile>>,
    /// Delay of each write (nanoseconds): a compaction needs it when writes arrive faster than they are
    /// copied.
    slowed_ns: Cell<u64>,
    pub(in crate::volume) handle: Handle,
}

/// A write inside the gate: the generation is not exchanged until it is dropped.
pub struct Entered<'a> {
    /// The current generation.
    pub volume: Rc<Volume>,
    _pass: Pass<'a>,
}

impl Slot {
    /// Creates the slot of a volume whose current generation is `volume`.
    #[must_use]
    pub fn new(volume: Rc<Volume>) -> Rc<Self> {
        let handle = volume.handle.clone();
        Rc::new(Self {
            locks: KeyLocks::new(&handle),
            changes: KeyLocks::new(&handle),
            gate: Gate::new(&handle),
            uploads: Uploads::default(),
            compaction: BackgroundTask::new(&handle, Backoff::new(0, 0)),
            compaction_progress: Cell::default(),
            scrub: ScrubState::new(&handle),
            probing: Probing::new(&handle),
            undelete: UndeleteState::new(&handle),
            streams: StreamTurns::new(&handle),
            pull: PullTurns::new(&handle),
            other_files: RefCell::default(),
            slowed_ns: Cell::new(0),
            current: RefCell::new(volume),
            handle,
        })
    }

    /// Wall-clock time (nanoseconds since 1970).
    #[must_use]
    pub fn wall(&self) -> u64 {
        self.handle.wall()
    }

    /// Returns the current generation. It must not be kept across a wait for a client: its file could not
    /// be closed.
    #[must_use]
    pub fn volume(&self) -> Rc<Volume> {
        Rc::clone(&self.current.borrow())
    }

    /// Returns the number of the volume.
    #[must_use]
    pub fn id(&self) -> VolumeId {
        self.current.borrow().id()
    }

    /// Returns whether a generation is the current one.
    pub(in crate::volume) fn is_current(&self, volume: &Rc<Volume>) -> bool {
        Rc::ptr_eq(&self.current.borrow(), volume)
    }

    /// Returns the handle of the runtime.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Makes another generation the current one.
    pub(in crate::volume) fn replace(&self, volume: &Rc<Volume>) {
        self.current.replace(Rc::clone(volume));
        self.scrub.turn_to_new_file();
    }

    /// Returns the task that compacts the volume: whoever starts it runs
    /// [`compact`](Self::compact) in it.
    #[must_use]
    pub fn compaction_task(&self) -> &BackgroundTask {
        &self.compaction
    }

    /// Returns how far a compaction is.
    #[must_use]
    pub fn compaction_progress(&self) -> CompactionProgress {
        self.compaction_progress.get()
    }

    /// Sets how far a compaction is.
    pub(in crate::volume) fn set_compaction_progress(&self, progress: CompactionProgress) {
        self.compaction_progress.set(progress);
    }

    /// Returns the files of other generations that a compaction has left, or may have left. While there is
    /// one, the volume must not be compacted; and it must be removed with the volume.
    #[must_use]
    pub fn other_files(&self) -> Vec<GenerationFile> {
        self.other_files.borrow().clone()
    }

    /// Removes and returns the files that [`Self::other_files`] returns: the caller keeps them from now on.
    #[must_use]
    pub fn take_other_files(&self) -> Vec<GenerationFile> {
        self.other_files.take()
    }

    /// Records that a file of another generation is there, or may be.
    pub(in crate::volume) fn add_other_file(&self, file: GenerationFile) {
        self.other_files.borrow_mut().push(file);
    }

    /// Records that the file of a generation is durably removed.
    pub(in crate::volume) fn forget_other_file(&self, generation: u64) {
        self.other_files.borrow_mut().retain(|file| file.generation() != generation);
    }

    /// Delays each write by this time from now on (nanoseconds); 0 for none.
    pub(in crate::volume) fn slow_writes(&self, delay_ns: u64) {
        self.slowed_ns.set(delay_ns);
    }

    /// Enters the gate: waits while a generation is exchanged.
    pub(in crate::volume) async fn enter(&self) -> Entered<'_> {
        let delay = self.slowed_ns.get();
        if delay > 0 {
            self.handle.sleep_until(self.handle.now() + delay).await;
        }
        let before = chosen(Sabotage::WriteToOldGeneration).then(|| self.volume());
        let pass = self.gate.enter().await;
        Entered { volume: before.unwrap_or_else(|| self.volume()), _pass: pass }
    }

    /// Enters the gate as a write does, until the result is dropped; for tests of writes that hang.
    #[cfg(any(test, feature = "sim"))]
    pub async fn pass_gate(&self) -> impl Drop {
        self.gate.enter().await
    }

    /// Checks, in a test build, that no upload is in progress.
    ///
    /// # Panics
    /// If there is one.
    pub fn expect_no_uploads(&self) {
        assert!(self.uploads.is_empty(), "an upload has ended but is in the table");
        self.volume().log.expect_no_reservations();
    }

    /// Recounts all accounts while the volume is idle: nothing is claimed, no id is locked, nobody is inside
    /// the gate, and the live bytes are those of the index. Takes time proportional to the size of the index.
    ///
    /// # Panics
    /// If a count is wrong.
    pub fn expect_rest(&self) {
        self.expect_no_uploads();
        assert_eq!(self.locks.held(), 0, "ids are locked although nothing is written");
        assert_eq!(self.gate.inside(), 0, "a write is inside the gate although nothing is written");
        self.volume().expect_rest();
    }
}
