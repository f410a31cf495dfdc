//! A list of what a volume holds, and the requests for pieces of it.

use tokio::sync::oneshot;

use super::refused::Refused;
use crate::base::stream_position::StreamPosition;
use crate::base::types::{NeedleId, VolumeId};

/// State of a listed object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedState {
    /// It lives.
    Live,
    /// It lives and cannot be read; what is not known of it is missing.
    Damaged,
    /// It was deleted.
    Deleted,
}

/// A listed object, without its cookie. Its digest depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// State of the object.
    pub state: ListedState,
    /// Its id.
    pub id: NeedleId,
    /// Its version; 0 if it is not known.
    pub version: u64,
    /// Time of modification, or of the deletion (nanoseconds since 1970).
    pub modified_ns: Option<u64>,
    /// Time at which it expires (nanoseconds since 1970); `None` for never.
    pub expires_ns: Option<u64>,
    /// Length of the body (bytes).
    pub size: Option<u64>,
    /// Content type as it was stored.
    pub content_type: Option<Vec<u8>>,
    /// Whether the body is stored in parts.
    pub is_large: bool,
    /// Digest of everything but the version and the place; `None` for a deletion.
    pub digest: Option<u64>,
}

/// A piece of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPiece {
    /// Its objects, oldest version first.
    pub objects: Vec<ListedObject>,
    /// Where the list goes on.
    pub next: StreamPosition,
    /// Whether nothing more is in the volume now.
    pub is_end: bool,
}

/// A piece, or why there is none.
pub type ListAnswer = Result<ListedPiece, Refused>;

/// A request for the next piece of a list, sent to the main thread. Dropping it unanswered means that the
/// daemon stops.
#[derive(Debug)]
pub struct ListRequest {
    /// Volume id.
    pub id: VolumeId,
    /// Where the piece begins.
    pub from: StreamPosition,
    /// Whether deletions are listed.
    pub deletions: bool,
    /// Number of objects at most; fewer are possible at any time.
    pub objects_max: usize,
    reply: oneshot::Sender<ListAnswer>,
}

impl ListRequest {
    /// Creates a request, and the receiver of its answer.
    pub(in crate::node::control) fn new(
        id: VolumeId,
        from: StreamPosition,
        deletions: bool,
        objects_max: usize,
    ) -> (Self, oneshot::Receiver<ListAnswer>) {
        let (reply, answer) = oneshot::channel();
        (Self { id, from, deletions, objects_max, reply }, answer)
    }

    /// Sends the answer.
    pub fn answer(self, answer: ListAnswer) {
        if self.reply.send(answer).is_err() {
            tracing::debug!("the client that listed a volume has gone");
        }
    }
}
