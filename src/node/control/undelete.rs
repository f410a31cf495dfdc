//! Taking deleted photos back, and the requests for it.

use tokio::sync::oneshot;

use super::refused::Refused;
use crate::base::types::{Cookie, NeedleId, VolumeId};

/// How an order to take a photo back ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndeleteResult {
    /// The HTTP status that says so: 201 for a photo that is back.
    pub status: u16,
    /// The same as a sentence.
    pub sentence: String,
}

/// How far an order to take a photo back is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndeleteStatus {
    /// Random number of the order.
    pub operation: u64,
    /// The photo.
    pub id: NeedleId,
    /// Bytes of the log that were searched.
    pub done: u64,
    /// Bytes of the log that are searched at most.
    pub total: u64,
    /// The result; `None` while it is being done.
    pub result: Option<UndeleteResult>,
}

/// The state of the last order of a volume, or why it is not known.
pub type UndeleteAnswer = Result<UndeleteStatus, Refused>;

/// A request to take a photo back, or for the state of the last order, sent to the main thread. Dropping it
/// unanswered means that the daemon stops.
#[derive(Debug)]
pub struct UndeleteRequest {
    /// Volume id.
    pub id: VolumeId,
    /// The photo to take back; `None` for the state of the last order.
    pub photo: Option<(NeedleId, Cookie)>,
    reply: oneshot::Sender<UndeleteAnswer>,
}

impl UndeleteRequest {
    /// Creates a request, and the receiver of its answer.
    pub(in crate::node::control) fn new(
        id: VolumeId,
        photo: Option<(NeedleId, Cookie)>,
    ) -> (Self, oneshot::Receiver<UndeleteAnswer>) {
        let (reply, answer) = oneshot::channel();
        (Self { id, photo, reply }, answer)
    }

    /// Sends the answer.
    pub fn answer(self, answer: UndeleteAnswer) {
        if self.reply.send(answer).is_err() {
            tracing::debug!("the client that takes a photo back has gone");
        }
    }
}
