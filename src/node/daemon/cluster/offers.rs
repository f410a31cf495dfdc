//! Changes that are offered to the copies of volumes on other nodes.

use std::rc::Rc;

use crate::node::control::{OfferAnswer, OfferRequest, OfferedPiece, Refused};
use crate::node::daemon::manager::{ManagerState, refused};
use crate::node::shard::{OfferChanges, OfferedChanges};

impl ManagerState {
    /// Answers a request to offer a piece of the changes of a volume.
    pub(in crate::node::daemon) async fn offer(self: Rc<Self>, request: OfferRequest) {
        let offered = self.offer_changes(&request).await;
        request.answer(offered);
    }

    async fn offer_changes(&self, request: &OfferRequest) -> OfferAnswer {
        let OfferRequest { id, peer, from, .. } = *request;
        let shard = self.shard_of(id).ok_or(Refused::NoSuchVolume(id))?;
        let offered = self.ask(shard, OfferChanges { volume: id, peer, from }).await;
        let offered = offered.map_err(|error| refused(id, "offered to its copy", error))?;
        let OfferedChanges { next, is_end, objects, deletions } = offered;
        Ok(OfferedPiece { next, is_end, objects, deletions })
    }
}
