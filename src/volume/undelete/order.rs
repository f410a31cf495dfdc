//! What is to be taken back.

use crate::base::types::{Cookie, NeedleId};

/// Photos that are to be taken back, found in one walk over the log.
#[derive(Clone, Debug)]
pub struct UndeleteOrder {
    /// Their ids, each of them once, and the cookies that they had.
    pub photos: Vec<(NeedleId, Cookie)>,
    /// Age up to which a deletion is undone (nanoseconds).
    pub within_ns: u64,
}
