//! Changes of volumes that the cluster orders, as requests to the main thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use crate::base::stream_position::StreamPosition;
use crate::base::types::VolumeId;
use crate::node::control::{
    AllocationRequest, ChangeRequest, Compactions, ControlRequest, FidDeleted, FidDeletion,
    FidDeletionRequest, NewVolume, OfferRequest, OfferedPiece, Refused, VolumeChange,
};

/// Sends orders of the cluster to the main thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Orders {
    requests: Sender<ControlRequest>,
    compactions: Arc<Compactions>,
}

impl Orders {
    /// Creates the orders over the requests to the main thread; `compactions` has those under way.
    #[must_use]
    pub fn new(requests: Sender<ControlRequest>, compactions: Arc<Compactions>) -> Self {
        Self { requests, compactions }
    }

    /// The compactions that wait or run.
    pub(super) fn compactions(&self) -> Arc<Compactions> {
        Arc::clone(&self.compactions)
    }

    /// Creates a volume, and waits until it serves.
    ///
    /// # Errors
    /// [`Refused`]: nothing is left of it.
    pub(super) async fn allocate(&self, new: NewVolume) -> Result<(), Refused> {
        let (request, answer) = AllocationRequest::new(new);
        self.requests.send(ControlRequest::Allocate(request)).map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Changes a volume.
    ///
    /// # Errors
    /// [`Refused`]: nothing was changed.
    pub(super) async fn change(&self, change: VolumeChange) -> Result<VolumeId, Refused> {
        let (request, answer) = ChangeRequest::new(change);
        self.requests.send(ControlRequest::Change(request)).map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

impl Orders {
    /// Deletes photos. Returns one result for each.
    ///
    /// # Errors
    /// [`Refused`]: the daemon stops.
    pub(super) async fn delete_fids(
        &self,
        photos: Vec<FidDeletion>,
    ) -> Result<Vec<FidDeleted>, Refused> {
        let (request, answer) = FidDeletionRequest::new(photos);
        self.requests.send(ControlRequest::DeleteFids(request)).map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    /// Offers a piece of the changes of a volume to another node.
    ///
    /// # Errors
    /// [`Refused`]: nothing is known of what has arrived there.
    pub(super) async fn offer(
        &self,
        volume: VolumeId,
        peer: SocketAddr,
        from: StreamPosition,
    ) -> Result<OfferedPiece, Refused> {
        let (request, answer) = OfferRequest::new(volume, peer, from);
        self.requests.send(ControlRequest::Offer(request)).map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

fn stopping() -> Refused {
    Refused::Unavailable("The daemon is stopping.".to_owned())
}
