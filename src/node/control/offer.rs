//! Changes that are offered to the copies of a volume on other nodes, and the requests for that.

use std::net::SocketAddr;

use tokio::sync::oneshot;

use super::refused::Refused;
use crate::base::stream_position::StreamPosition;
use crate::base::types::VolumeId;

/// What was offered. The other node has everything up to `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferedPiece {
    /// Where the next piece begins.
    pub next: StreamPosition,
    /// Whether nothing was left to be offered.
    pub is_end: bool,
    /// Number of objects that were sent.
    pub objects: u64,
    /// Number of deletions that were sent.
    pub deletions: u64,
}

/// A piece, or why none was offered.
pub type OfferAnswer = Result<OfferedPiece, Refused>;

/// A request to offer a piece of the changes of a volume to another node, sent to the main thread. Dropping
/// it unanswered means that the daemon stops.
#[derive(Debug)]
pub struct OfferRequest {
    /// Volume id.
    pub id: VolumeId,
    /// Address of the other node's data API.
    pub peer: SocketAddr,
    /// Where the piece begins.
    pub from: StreamPosition,
    reply: oneshot::Sender<OfferAnswer>,
}

impl OfferRequest {
    /// Creates a request, and the receiver of its answer.
    pub(in crate::node::control) fn new(
        id: VolumeId,
        peer: SocketAddr,
        from: StreamPosition,
    ) -> (Self, oneshot::Receiver<OfferAnswer>) {
        let (reply, answer) = oneshot::channel();
        (Self { id, peer, from, reply }, answer)
    }

    /// Sends the answer.
    pub fn answer(self, answer: OfferAnswer) {
        if self.reply.send(answer).is_err() {
            tracing::debug!("nobody waits any more for an offer to the copy of a volume");
        }
    }
}
