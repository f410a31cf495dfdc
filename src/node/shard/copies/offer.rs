//! Offers the changes of a volume to another node, in the order of its log.

use crate::node::shard::order::{OfferChanges, OfferedChanges, OrderError};
use crate::node::shard::shard::Shard;

impl Shard {
    /// Sends a piece of the changes of a volume to another node.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub(in crate::node::shard) async fn offer_changes(
        &self,
        order: OfferChanges,
    ) -> Result<OfferedChanges, OrderError> {
        let OfferChanges { volume, peer, from } = order;
        self.volumes.slot_to_change(volume)?;
        Err(OrderError::NotOffered(format!("{peer}: {from:?}")))
    }
}
