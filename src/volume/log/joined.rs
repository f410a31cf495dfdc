//! What a writer waits for.

use std::rc::Rc;

use crate::runtime::Event;
use crate::volume::error::{IoError, Refusal};

/// Outcome of a commit, shared by all its writers: the offset of the commit (bytes), or the error.
pub type Outcome = Result<u64, IoError>;

/// Needles that have joined a commit.
#[derive(Clone)]
pub struct Joined {
    pub(super) outcome: Rc<Event<Outcome>>,
    pub(super) within: u64,
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

    /// Returns the same if the commit has ended.
    pub fn outcome(&self) -> Option<Result<u64, Refusal>> {
        let outcome = self.outcome.get()?;
        Some(outcome.map(|commit| commit + self.within).map_err(Refusal::Failed))
    }
}
