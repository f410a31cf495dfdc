//! What is to be taken back.

use crate::base::types::{Cookie, NeedleId};

/// A photo that is to be taken back.
#[derive(Clone, Copy, Debug)]
pub struct UndeleteOrder {
    /// Its id.
    pub id: NeedleId,
    /// The cookie that it had.
    pub cookie: Cookie,
    /// Age up to which a deletion is undone (nanoseconds).
    pub within_ns: u64,
}
