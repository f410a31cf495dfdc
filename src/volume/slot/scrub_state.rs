//! The scrubs of a volume: what was asked for, how far the present one is, and what was found.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::damage_list::DamageList;
use crate::runtime::Handle;
use crate::runtime::background::{BackgroundTask, Backoff};
use crate::volume::scrub::{ScrubPlan, Scrubbed};

/// Places that wait for their neighbourhood to be read at most.
const SUSPECTS_MAX: usize = 64;

/// How far the scrubs of a volume are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    /// Whether a pass is under way.
    pub is_running: bool,
    /// Bytes of the log that it has verified.
    pub done: u64,
    /// Bytes of the log that it has to verify.
    pub total: u64,
    /// Number of passes that were completed since the volume was opened.
    pub passes: u64,
    /// Begin of the last of them (nanoseconds since 1970); 0 for none.
    pub last_began_ns: u64,
    /// Its result.
    pub last: Scrubbed,
    /// Neighbourhoods of errors that were read since the volume was opened.
    pub neighbourhoods: u64,
}

/// The scrubs of a volume.
pub struct ScrubState {
    /// The task that scrubs it.
    pub task: BackgroundTask,
    /// When it is scrubbed; `None` before that is known.
    pub plan: RefCell<Option<ScrubPlan>>,
    /// Whether a pass was asked for.
    pub is_requested: Cell<bool>,
    /// How far they are.
    pub progress: Cell<ScrubProgress>,
    /// What was found.
    pub damage: RefCell<DamageList>,
    /// Offsets of needles that a request could not read (bytes).
    pub suspects: RefCell<VecDeque<u64>>,
}

impl ScrubState {
    /// No scrub yet.
    pub fn new(handle: &Handle) -> Self {
        Self {
            task: BackgroundTask::new(handle, Backoff::new(0, 0)),
            plan: RefCell::default(),
            is_requested: Cell::new(false),
            progress: Cell::default(),
            damage: RefCell::default(),
            suspects: RefCell::default(),
        }
    }

    /// Records that a request could not read the needle at `offset` (bytes): its neighbourhood will be read,
    /// unless the damage is known.
    pub fn suspect(&self, offset: u64) {
        if !self.damage.borrow().overlaps(offset, offset + 1) {
            self.examine_around(offset);
        }
    }

    /// Has the neighbourhood of `offset` (bytes) read.
    pub fn examine_around(&self, offset: u64) {
        let mut suspects = self.suspects.borrow_mut();
        let is_known = suspects.contains(&offset) || self.plan.borrow().is_none();
        if !is_known && suspects.len() < SUSPECTS_MAX {
            suspects.push_back(offset);
            self.task.wake();
        }
    }

    /// Forgets what is known of the present file: another one takes its place.
    pub fn turn_to_new_file(&self) {
        self.damage.borrow_mut().clear();
        self.suspects.borrow_mut().clear();
    }
}
