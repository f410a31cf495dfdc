//! Deletion of photos that a cluster names by fid.

use tokio::sync::oneshot;

use crate::base::types::VolumeId;

/// A photo that is to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FidDeletion {
    /// Volume id.
    pub volume: VolumeId,
    /// Key.
    pub key: u64,
    /// Cookie; `None` if the sender need not know it.
    pub cookie: Option<u32>,
}

/// How a photo was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FidDeleted {
    /// It is deleted; its size as SeaweedFS counts it (bytes).
    Deleted(u64),
    /// There is none.
    Absent,
    /// It has another cookie.
    OtherCookie,
    /// The cluster has no such volume here.
    NoVolume,
    /// It may be there: the reason.
    Failed(String),
}

/// A request to delete photos, sent to the main thread. Each is durable when it is answered. Dropping it
/// unanswered means that the daemon stops.
#[derive(Debug)]
pub struct FidDeletionRequest {
    /// The photos.
    pub photos: Vec<FidDeletion>,
    reply: oneshot::Sender<Vec<FidDeleted>>,
}

impl FidDeletionRequest {
    /// Creates a request, and the receiver of its answer: one result for each photo, in their order.
    pub(in crate::node::control) fn new(
        photos: Vec<FidDeletion>,
    ) -> (Self, oneshot::Receiver<Vec<FidDeleted>>) {
        let (reply, answer) = oneshot::channel();
        (Self { photos, reply }, answer)
    }

    /// Sends the answer.
    pub fn answer(self, answer: Vec<FidDeleted>) {
        if self.reply.send(answer).is_err() {
            tracing::debug!("the client that deleted photos has gone");
        }
    }
}
