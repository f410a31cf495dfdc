//! A request for the damage that scrubs have found in a volume.

use tokio::sync::oneshot;

use super::refused::Refused;
use crate::base::types::VolumeId;
use crate::volume::FoundDamage;

/// The damage of a volume, or why it is not known.
pub type DamageAnswer = Result<Vec<FoundDamage>, Refused>;

/// A request for the damage of a volume, sent to the main thread. Dropping it unanswered means that the
/// daemon stops.
#[derive(Debug)]
pub struct DamageRequest {
    /// Volume id.
    pub id: VolumeId,
    reply: oneshot::Sender<DamageAnswer>,
}

impl DamageRequest {
    /// Creates a request, and the receiver of its answer.
    pub(in crate::node::control) fn new(id: VolumeId) -> (Self, oneshot::Receiver<DamageAnswer>) {
        let (reply, answer) = oneshot::channel();
        (Self { id, reply }, answer)
    }

    /// Sends the answer.
    pub fn answer(self, answer: DamageAnswer) {
        if self.reply.send(answer).is_err() {
            tracing::debug!("the client that asked for the damage of a volume has gone");
        }
    }
}
