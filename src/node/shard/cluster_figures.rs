//! What its cluster says about a volume, on the board.

use crate::node::board::ClusterBoard;
use crate::volume::{ClusterSettings, Volume};

/// Shows what its cluster says about a volume on the board.
pub fn show(volume: &Volume, board: &ClusterBoard) {
    let Some(properties) = volume.cluster() else { return };
    let ClusterSettings { placement, is_read_only, takes_deletes } = properties.settings;
    board.placement.set(placement.0.into());
    board.set_ttl(properties.ttl);
    board.is_read_only.set(is_read_only.into());
    board.takes_deletes.set(takes_deletes.into());
    board.max_key.set(volume.max_key().unwrap_or(0));
    board.collection.get_or_init(|| properties.collection);
    board.is_of_cluster.set(1);
}
