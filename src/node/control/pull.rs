//! The records of another volume that are to be stored, and the requests for the steps of that.

use tokio::sync::oneshot;

use super::refused::Refused;
use crate::base::types::VolumeId;

/// A step of a pull: records of another volume are stored in one that is its copy.
#[derive(Debug)]
pub enum PulledStep {
    /// Begin.
    Begin {
        /// Whether nothing but what the source has is here at the end.
        is_complete: bool,
    },
    /// Store the records that are complete with these bytes of the stream.
    Bytes {
        /// Number of the pull.
        pull: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// End: everything has arrived.
    Finish {
        /// Number of the pull.
        pull: u64,
    },
    /// End: nothing more arrives.
    Abandon {
        /// Number of the pull.
        pull: u64,
    },
}

/// What a step has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PulledFigures {
    /// Number of the pull.
    pub pull: u64,
    /// Number of objects that were stored.
    pub objects: u64,
    /// Length of their bodies (bytes).
    pub bytes: u64,
    /// Number of objects that were there already.
    pub known: u64,
    /// Number of objects that were deleted.
    pub deletions: u64,
    /// Number of objects that the source could not read.
    pub damaged: u64,
}

/// What a step has done, or why not.
pub type PullAnswer = Result<PulledFigures, Refused>;

/// A request for a step of a pull, sent to the main thread. Dropping it unanswered means that the daemon
/// stops.
#[derive(Debug)]
pub struct PullRequest {
    /// Volume id.
    pub id: VolumeId,
    /// The step.
    pub step: PulledStep,
    reply: oneshot::Sender<PullAnswer>,
}

impl PullRequest {
    /// Creates a request, and the receiver of its answer.
    pub(in crate::node::control) fn new(
        id: VolumeId,
        step: PulledStep,
    ) -> (Self, oneshot::Receiver<PullAnswer>) {
        let (reply, answer) = oneshot::channel();
        (Self { id, step, reply }, answer)
    }

    /// Takes the request apart.
    #[must_use]
    pub fn into_parts(self) -> (VolumeId, PulledStep, PullReply) {
        (self.id, self.step, PullReply(self.reply))
    }
}

/// Where the answer to a [`PullRequest`] goes.
#[derive(Debug)]
pub struct PullReply(oneshot::Sender<PullAnswer>);

impl PullReply {
    /// Sends the answer.
    pub fn answer(self, answer: PullAnswer) {
        if self.0.send(answer).is_err() {
            tracing::debug!("the client that sent the records of a volume has gone");
        }
    }
}
