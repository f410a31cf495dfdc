//! A commit while it forms.

use std::rc::Rc;

use super::joined::Outcome;
use super::pending::Pending;
use crate::base::limits::{BLOCK, UNIT};
use crate::runtime::Event;

/// Maximum number of bytes that a commit adds to its needles: record and padding.
pub const COMMIT_OVERHEAD: u64 = UNIT + BLOCK;

/// A commit that has not been written yet.
pub struct Forming {
    pub needles: Vec<Pending>,
    pub len: u64,
    pub outcome: Rc<Event<Outcome>>,
}

impl Forming {
    /// Space claimed for the commit (bytes).
    pub fn claim(&self) -> u64 {
        self.len + COMMIT_OVERHEAD
    }
}
