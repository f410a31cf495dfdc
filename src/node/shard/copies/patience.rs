//! How long an exchange with another node may take.

use std::cell::Cell;
use std::sync::Arc;

use super::failure::ExchangeFailure;
use crate::node::board::VolumeCopy;
use crate::runtime::Handle;

/// Time after which an exchange is overdue (nanoseconds): the copy counts as behind.
const OVERDUE_NS: u64 = 500_000_000;
/// Time after which an exchange has failed (nanoseconds). A client waits no longer.
const DEADLINE_NS: u64 = 3_000_000_000;

/// How long an exchange may take. What is overdue is reported once.
pub struct Patience {
    overdue: u64,
    deadline: u64,
    /// The copy whose changes the exchange carries, if someone is to be told.
    copy: Option<Arc<VolumeCopy>>,
    is_reported: Cell<bool>,
}

impl Patience {
    /// The usual times from now on.
    pub fn new(handle: &Handle, copy: Option<Arc<VolumeCopy>>) -> Self {
        let now = handle.now();
        let (overdue, deadline) = (now + OVERDUE_NS, now + DEADLINE_NS);
        Self { overdue, deadline, copy, is_reported: Cell::new(false) }
    }

    /// Begins anew: the exchange goes on, and has made progress.
    pub fn renew(&mut self, handle: &Handle) {
        let now = handle.now();
        (self.overdue, self.deadline) = (now + OVERDUE_NS, now + DEADLINE_NS);
    }

    /// Time until which an operation may wait before [`Self::late`] is to be called (nanoseconds).
    pub fn until(&self) -> u64 {
        if self.is_reported.get() { self.deadline } else { self.overdue }
    }

    /// Takes note that [`Self::until`] is over.
    ///
    /// # Errors
    /// [`ExchangeFailure::TimedOut`] if the exchange has failed.
    pub fn late(&self, handle: &Handle) -> Result<(), ExchangeFailure> {
        self.report();
        if handle.now() >= self.deadline { Err(ExchangeFailure::TimedOut) } else { Ok(()) }
    }

    /// Reports that the copy may lack a change, unless that was reported before.
    pub fn report(&self) {
        if !self.is_reported.replace(true)
            && let Some(copy) = &self.copy
        {
            copy.failed();
        }
    }
}
