//! The request for a volume that the cluster wants.

use tokio::sync::oneshot;

use super::change::NewVolume;
use super::refused::Refused;

/// A request for a volume of the cluster, sent to the main thread. It is answered once the volume serves, or
/// nothing is left of it. Dropping it unanswered means that the daemon stops.
#[derive(Debug)]
pub struct AllocationRequest {
    /// The volume, with its id and what the cluster says about it.
    pub new: NewVolume,
    reply: oneshot::Sender<Result<(), Refused>>,
}

impl AllocationRequest {
    /// Creates a request, and the receiver of its answer.
    pub(in crate::node::control) fn new(
        new: NewVolume,
    ) -> (Self, oneshot::Receiver<Result<(), Refused>>) {
        let (reply, answer) = oneshot::channel();
        (Self { new, reply }, answer)
    }

    /// Takes the request apart.
    #[must_use]
    pub fn into_parts(self) -> (NewVolume, AllocationReply) {
        (self.new, AllocationReply(self.reply))
    }
}

/// Where the answer to an [`AllocationRequest`] goes.
#[derive(Debug)]
pub struct AllocationReply(oneshot::Sender<Result<(), Refused>>);

impl AllocationReply {
    /// Sends the answer.
    pub fn answer(self, answer: Result<(), Refused>) {
        if let Err(unsent) = self.0.send(answer) {
            tracing::debug!("the master that wanted a volume has gone: {unsent:?} is not sent");
        }
    }
}
