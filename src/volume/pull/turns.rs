//! The pull in progress of a volume.

use std::cell::{RefCell, RefMut};

use super::large::LargePull;
use super::not_pulled::NotPulled;
use super::parser::ExchangeParser;
use crate::runtime::Handle;
use crate::volume::stream::turns::StreamTurns;

/// A pull in progress: between two of its steps nothing runs.
pub(super) struct OpenPull {
    /// Random number of the pull.
    number: u64,
    /// Whether nothing else is here when it has ended.
    pub(super) is_complete: bool,
    /// The bytes that have arrived.
    pub(super) parser: ExchangeParser,
    /// The large object whose pieces are arriving.
    pub(super) large: Option<LargePull>,
}

/// The pull in progress of a volume, if there is one; and the turns of its steps.
pub struct PullTurns {
    turns: StreamTurns,
    open: RefCell<Option<OpenPull>>,
}

impl PullTurns {
    /// No pull yet.
    pub fn new(handle: &Handle) -> Self {
        Self { turns: StreamTurns::new(handle), open: RefCell::default() }
    }

    /// Waits for the turn of a step, which ends when the result is dropped.
    ///
    /// # Errors
    /// [`NotPulled::Closing`].
    pub(super) async fn take(&self) -> Result<impl Drop, NotPulled> {
        self.turns.take().await.map_err(|_| NotPulled::Closing)
    }

    /// Begins a pull. One that was in progress ends, and what it has not completed is abandoned.
    pub(super) fn begin(&self, number: u64, is_complete: bool) {
        let parser = ExchangeParser::default();
        self.replace(Some(OpenPull { number, is_complete, parser, large: None }));
    }

    /// Returns a pull.
    ///
    /// # Errors
    /// [`NotPulled::Superseded`].
    pub(super) fn get(&self, number: u64) -> Result<RefMut<'_, OpenPull>, NotPulled> {
        let open = RefMut::filter_map(self.open.borrow_mut(), Option::as_mut);
        open.ok().filter(|open| open.number == number).ok_or(NotPulled::Superseded)
    }

    /// Returns whether a pull is in progress.
    pub fn is_open(&self) -> bool {
        self.open.borrow().is_some()
    }

    /// Ends a pull, if it is in progress.
    pub(super) fn end(&self, number: u64) {
        let is_open = self.get(number).is_ok();
        if is_open {
            self.replace(None);
        }
    }

    fn replace(&self, open: Option<OpenPull>) {
        // Dropped after the borrow: an upload looks at its volume.
        let before = self.open.replace(open);
        drop(before);
    }

    /// Asks the pull to end as soon as possible. None begins any more.
    pub fn begin_to_stop(&self) {
        self.turns.begin_to_stop();
    }

    /// Waits until no step runs, and abandons what the pull in progress has not completed.
    pub async fn stop(&self) {
        self.turns.stop().await;
        self.replace(None);
    }

    /// Lets pulls begin again.
    pub fn resume(&self) {
        self.turns.resume();
    }
}
