//! Why a request is refused: a status and one line of text for the client.

use super::status::Status;

/// A refused request. The caller adds what the status needs (`Allow`, `Retry-After`), sends
/// `reason` as the body and decides what becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The status to answer with.
    pub status: Status,
    /// What was wrong, in one line without the line's end.
    pub reason: &'static str,
}

impl Reject {
    /// Refuses with `status` because of `reason`.
    #[must_use]
    pub const fn new(status: Status, reason: &'static str) -> Self {
        Self { status, reason }
    }

    /// 400: the request breaks a rule of the grammar.
    #[must_use]
    pub const fn bad(reason: &'static str) -> Self {
        Self::new(Status::BAD_REQUEST, reason)
    }
}
