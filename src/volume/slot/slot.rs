//! A volume across its generations.

use std::cell::RefCell;
use std::rc::Rc;

use super::uploads::Uploads;
use crate::base::types::{NeedleId, VolumeId};
use crate::runtime::{Gate, KeyLocks, Pass};
use crate::volume::Volume;

/// A volume of a shard, across its generations. Only tasks of its shard use it.
pub struct Slot {
    current: RefCell<Rc<Volume>>,
    /// Serialises writes to one id, in the order in which they were admitted.
    pub(super) locks: KeyLocks<NeedleId>,
    /// Serialises changes of the state of the volume, and the exchange of its generation.
    pub(super) changes: KeyLocks<()>,
    /// Entered by every write before it looks up what it supersedes, until it has joined a commit.
    pub(super) gate: Gate,
    pub(in crate::volume) uploads: Uploads,
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
        let handle = &volume.handle;
        Rc::new(Self {
            locks: KeyLocks::new(handle),
            changes: KeyLocks::new(handle),
            gate: Gate::new(handle),
            uploads: Uploads::default(),
            current: RefCell::new(volume),
        })
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
    pub(super) fn is_current(&self, volume: &Rc<Volume>) -> bool {
        Rc::ptr_eq(&self.current.borrow(), volume)
    }

    /// Enters the gate: waits while a generation is exchanged.
    pub(super) async fn enter(&self) -> Entered<'_> {
        let pass = self.gate.enter().await;
        Entered { volume: self.volume(), _pass: pass }
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
