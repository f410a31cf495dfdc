//! The question which objects a volume certainly has not.

use tokio::sync::oneshot;

use super::refused::Refused;
use crate::base::types::{NeedleId, VolumeId};

/// Those of the ids that are certainly absent, or why that is not known.
pub type AbsenceAnswer = Result<Vec<NeedleId>, Refused>;

/// A request for those of some ids that a volume certainly has not, sent to the main thread. Dropping it
/// unanswered means that the daemon stops.
#[derive(Debug)]
pub struct AbsenceRequest {
    /// Volume id.
    pub id: VolumeId,
    /// Ids of objects.
    pub ids: Vec<NeedleId>,
    reply: oneshot::Sender<AbsenceAnswer>,
}

impl AbsenceRequest {
    /// Creates a request, and the receiver of its answer.
    pub(in crate::node::control) fn new(
        id: VolumeId,
        ids: Vec<NeedleId>,
    ) -> (Self, oneshot::Receiver<AbsenceAnswer>) {
        let (reply, answer) = oneshot::channel();
        (Self { id, ids, reply }, answer)
    }

    /// Sends the answer.
    pub fn answer(self, answer: AbsenceAnswer) {
        if self.reply.send(answer).is_err() {
            tracing::debug!("the client that asked for absent objects has gone");
        }
    }
}
