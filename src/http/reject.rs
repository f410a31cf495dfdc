//! Refusals of requests: a status and one line of text for the client.

use super::status::Status;

/// The refusal of a request. The caller adds the header fields that the status requires (`Allow`,
/// `Retry-After`), sends `reason` as the body and decides whether to close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The status of the reply.
    pub status: Status,
    /// What was wrong: one line, without a line end.
    pub reason: &'static str,
}

impl Reject {
    /// A refusal with `status` because of `reason`.
    #[must_use]
    pub const fn new(status: Status, reason: &'static str) -> Self {
        Self { status, reason }
    }

    /// A refusal with 400: the request is malformed.
    #[must_use]
    pub const fn bad(reason: &'static str) -> Self {
        Self::new(Status::BAD_REQUEST, reason)
    }
}
