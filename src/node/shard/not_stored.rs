//! The ways in which the body of a request ends other than stored.

use super::answered::Answered;
use super::plain_reply::PlainReply;
use crate::volume::Refusal;

/// Why a body was not stored.
pub enum NotStored {
    /// Refused before the body was received completely.
    Refused(PlainReply),
    /// Refused after the body was received completely, so that the connection can stay open.
    RefusedAfterBody(PlainReply),
    /// The body was not received completely, and what could be answered to that was answered.
    Answered(Answered),
}

impl From<PlainReply> for NotStored {
    fn from(plain: PlainReply) -> Self {
        Self::Refused(plain)
    }
}

impl From<Refusal> for NotStored {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<Answered> for NotStored {
    fn from(answered: Answered) -> Self {
        Self::Answered(answered)
    }
}
