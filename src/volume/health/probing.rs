//! The reads of random needles of a volume: what was asked for.

use std::cell::{Cell, RefCell};

use super::plan::ProbePlan;
use crate::runtime::Handle;
use crate::runtime::background::{BackgroundTask, Backoff};

/// The reads of random needles of a volume.
pub struct Probing {
    /// The task that reads them.
    pub(in crate::volume) task: BackgroundTask,
    /// How often; `None` before that is known.
    pub(super) plan: RefCell<Option<ProbePlan>>,
    /// Number of needles of the burst that was asked for; 0 for none.
    pub(super) burst: Cell<u32>,
}

impl Probing {
    /// No reads yet.
    #[must_use]
    pub(in crate::volume) fn new(handle: &Handle) -> Self {
        Self {
            task: BackgroundTask::new(handle, Backoff::new(0, 0)),
            plan: RefCell::default(),
            burst: Cell::new(0),
        }
    }
}
