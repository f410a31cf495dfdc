//! Whether a copy has a change.

use super::failure::ExchangeFailure;
use super::patience::Patience;
use crate::base::sabotage::{Sabotage, chosen};
use crate::http::status::Status;
use crate::node::board::VolumeCopy;
use crate::node::shard::plain_reply::PlainReply;

/// A change that a node did not confirm. It may have made it, and is offered it again.
#[derive(Debug)]
pub struct NotCopied(String);

impl From<NotCopied> for PlainReply {
    fn from(NotCopied(reason): NotCopied) -> Self {
        Self { reason: reason.into(), ..Self::error(Status::INTERNAL_SERVER_ERROR, "") }
    }
}

/// Has a change that a node did not confirm offered again.
pub fn failed(copy: &VolumeCopy, failure: &ExchangeFailure, patience: &Patience) -> NotCopied {
    patience.report();
    let name = &copy.peer.name;
    tracing::debug!("{name} did not confirm a change: {failure}");
    NotCopied(format!(
        "{name} did not confirm the change, which may be made all the same: {failure}"
    ))
}

/// Returns whether a node has confirmed a change; has it offered again if not.
///
/// # Errors
/// [`NotCopied`].
pub fn confirmed(
    copy: &VolumeCopy,
    sent: Result<(), ExchangeFailure>,
    patience: &Patience,
) -> Result<(), NotCopied> {
    sent.map_err(|failure| failed(copy, &failure, patience))
}

/// Returns whether all nodes have confirmed a change.
///
/// # Errors
/// [`NotCopied`] of the first that has not.
pub fn all_confirmed(sent: Vec<Result<(), NotCopied>>) -> Result<(), NotCopied> {
    let all = sent.into_iter().collect();
    if chosen(Sabotage::AckWithoutCopies) { Ok(()) } else { all }
}
