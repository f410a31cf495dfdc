//! Taking deleted photos back, and the requests for it.

use tokio::sync::oneshot;

use super::refused::Refused;
use crate::base::types::{Cookie, NeedleId, VolumeId};

/// Whether a photo was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndeleteResult {
    /// The HTTP status that says so: 201 for a photo that is back.
    pub status: u16,
    /// The same as a sentence.
    pub sentence: String,
}

/// How far an order to take photos back is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndeleteStatus {
    /// Random number of the order.
    pub operation: u64,
    /// The photos in the order in which they were named, with the results of those that are done.
    pub photos: Vec<(NeedleId, Option<UndeleteResult>)>,
    /// Bytes of the log that were searched.
    pub done: u64,
    /// Bytes of the log that are searched at most.
    pub total: u64,
}

/// The state of the last order of a volume, or why it is not known.
pub type UndeleteAnswer = Result<UndeleteStatus, Refused>;

/// A request to take photos back, or for the state of the last order, sent to the main thread. Dropping it
/// unanswered means that the daemon stops.
#[derive(Debug)]
pub struct UndeleteRequest {
    /// Volume id.
    pub id: VolumeId,
    /// The photos to take back, each of them once; `None` for the state of the last order.
    pub photos: Option<Vec<(NeedleId, Cookie)>>,
    reply: oneshot::Sender<UndeleteAnswer>,
}

impl UndeleteRequest {
    /// Creates a request, and the receiver of its answer.
    pub(in crate::node::control) fn new(
        id: VolumeId,
        photos: Option<Vec<(NeedleId, Cookie)>>,
    ) -> (Self, oneshot::Receiver<UndeleteAnswer>) {
        let (reply, answer) = oneshot::channel();
        (Self { id, photos, reply }, answer)
    }

    /// Sends the answer.
    pub fn answer(self, answer: UndeleteAnswer) {
        if self.reply.send(answer).is_err() {
            tracing::debug!("the client that takes photos back has gone");
        }
    }
}
