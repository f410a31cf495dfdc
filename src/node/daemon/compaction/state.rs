//! State of compactions in the manager.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::clock_guard::ClockGuard;
use super::history::VolumeHistory;
use super::now::Clock;
use super::queue::CompactionQueue;
use crate::base::types::VolumeId;
use crate::node::control::Compactions;
use crate::runtime::background::Backoff;
use crate::runtime::{Handle, KeyLocks};

/// Pause after a volume that was to be created ahead of need could not be (nanoseconds): it doubles with each
/// failure in a row, up to an hour.
const CREATION_PAUSE_NS: u64 = 60_000_000_000;
const CREATION_PAUSE_MAX_NS: u64 = 3_600_000_000_000;

/// State of compactions, and of the volumes created ahead of need.
pub struct CompactionState {
    /// The clock.
    pub clock: Clock,
    /// Which photos that have expired may be left out.
    pub clock_guard: ClockGuard,
    /// Compactions as the control plane shows them.
    pub shown: Arc<Compactions>,
    /// Compactions that wait or run.
    pub queue: RefCell<CompactionQueue>,
    /// History of each volume.
    pub histories: RefCell<BTreeMap<VolumeId, VolumeHistory>>,
    /// Whether compactions are paused.
    pub is_paused: Cell<bool>,
    /// Held while the shards are paused or resumed, so that all of them get the same order last.
    pub pausing: KeyLocks<()>,
    /// Whether a look is under way.
    pub is_looking: Cell<bool>,
    /// Time of the next evaluation of the policy (CLOCK_MONOTONIC, ns); `None` before the first look.
    pub evaluate_at: Cell<Option<u64>>,
    /// Number of requests of operators that are being handled.
    pub requests: Cell<usize>,
    /// Pauses between volumes created ahead of need that could not be created.
    pub creation_pause: Backoff,
}

impl CompactionState {
    /// Creates the state of a manager that runs on `handle`; `shown` is what the control plane shows.
    pub fn new(handle: &Handle, clock: Clock, shown: Arc<Compactions>) -> Self {
        Self {
            clock_guard: ClockGuard::new(clock()),
            clock,
            shown,
            queue: RefCell::default(),
            histories: RefCell::default(),
            is_paused: Cell::new(false),
            pausing: KeyLocks::new(handle),
            is_looking: Cell::new(false),
            evaluate_at: Cell::new(None),
            requests: Cell::new(0),
            creation_pause: Backoff::new(CREATION_PAUSE_NS, CREATION_PAUSE_MAX_NS),
        }
    }

    /// Calls `act` with the history of a volume.
    pub fn with_history<T>(
        &self,
        id: VolumeId,
        now: u64,
        act: impl FnOnce(&mut VolumeHistory) -> T,
    ) -> T {
        let mut histories = self.histories.borrow_mut();
        act(histories.entry(id).or_insert_with(|| VolumeHistory::new(now)))
    }

    /// Removes a volume that was deleted.
    pub fn forget(&self, id: VolumeId) {
        self.queue.borrow_mut().remove(id);
        self.histories.borrow_mut().remove(&id);
        self.shown.forget(id);
    }
}
