//! The damage that scrubs have found in a volume, and the request for it.

use tokio::sync::oneshot;

use super::refused::Refused;
use crate::base::types::{NeedleId, VolumeId};

/// A place that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedPlace {
    /// Offset in the volume file (bytes).
    pub offset: u64,
    /// Length (bytes).
    pub len: u64,
    /// The photo that it concerns, where that is known.
    pub id: Option<NeedleId>,
    /// What is wrong, as a name.
    pub what: &'static str,
    /// The same as a sentence.
    pub reason: String,
    /// Whether the device could not read the place.
    pub is_unreadable: bool,
    /// When it was found first (nanoseconds since 1970).
    pub found_ns: u64,
    /// When it was found last (nanoseconds since 1970).
    pub seen_ns: u64,
}

/// The damage of a volume, or why it is not known.
pub type DamageAnswer = Result<Vec<DamagedPlace>, Refused>;

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
