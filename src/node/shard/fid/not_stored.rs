//! The ways in which an upload ends other than stored.

use super::fid_reply::FidReply;
use crate::http::body_reader::NotReceived;
use crate::http::conn::PeerError;
use crate::http::reject::Reject;
use crate::node::shard::answered::Answered;
use crate::node::shard::plain_reply::PlainReply;
use crate::volume::Refusal;

/// Why a file was not stored.
pub enum NotStored {
    /// Refused before the body was received completely.
    Refused(FidReply),
    /// Refused after the body was received completely, so that the connection can stay open.
    RefusedAfterBody(FidReply),
    /// The client did not send the body.
    Missing(PeerError),
    /// What could be answered was answered.
    Answered(Answered),
}

impl From<NotReceived> for NotStored {
    fn from(error: NotReceived) -> Self {
        match error {
            NotReceived::Peer(error) => Self::Missing(error),
            NotReceived::Malformed(reject) => reject.into(),
        }
    }
}

impl From<Reject> for NotStored {
    fn from(reject: Reject) -> Self {
        Self::Refused(reject.into())
    }
}

impl From<PlainReply> for NotStored {
    fn from(plain: PlainReply) -> Self {
        Self::Refused(FidReply::of_change(plain))
    }
}

impl From<Refusal> for NotStored {
    fn from(refusal: Refusal) -> Self {
        PlainReply::from(refusal).into()
    }
}

impl From<Answered> for NotStored {
    fn from(answered: Answered) -> Self {
        Self::Answered(answered)
    }
}

impl NotStored {
    /// The same refusal after the body was received completely.
    pub fn after_body(self) -> Self {
        match self {
            Self::Refused(reply) => Self::RefusedAfterBody(reply),
            other => other,
        }
    }
}
