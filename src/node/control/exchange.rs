//! The records of a volume in the exchange format, and the requests for pieces of them.

use tokio::sync::oneshot;

use super::refused::Refused;
use crate::base::stream_position::ExchangeState;
use crate::base::types::VolumeId;

/// A piece of a stream in the exchange format.
#[derive(Debug)]
pub struct ExchangedPiece {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where the stream goes on.
    pub next: ExchangeState,
    /// Whether the stream is complete.
    pub is_end: bool,
}

/// A piece, or why there is none.
pub type ExchangeAnswer = Result<ExchangedPiece, Refused>;

/// A request for the next piece of a stream, sent to the main thread. Dropping it unanswered means that the
/// daemon stops.
#[derive(Debug)]
pub struct ExchangeRequest {
    /// Volume id.
    pub id: VolumeId,
    /// Where the piece begins.
    pub from: ExchangeState,
    /// Whether the stream has deletions.
    pub deletions: bool,
    reply: oneshot::Sender<ExchangeAnswer>,
}

impl ExchangeRequest {
    /// Creates a request, and the receiver of its answer.
    pub(in crate::node::control) fn new(
        id: VolumeId,
        from: ExchangeState,
        deletions: bool,
    ) -> (Self, oneshot::Receiver<ExchangeAnswer>) {
        let (reply, answer) = oneshot::channel();
        (Self { id, from, deletions, reply }, answer)
    }

    /// Sends the answer.
    pub fn answer(self, answer: ExchangeAnswer) {
        if self.reply.send(answer).is_err() {
            tracing::debug!("the client that read the records of a volume has gone");
        }
    }
}
