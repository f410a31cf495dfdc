//! What its cluster says about a volume, as JSON.

use serde::Serialize;

use crate::node::board::ClusterBoard;

/// What its cluster says about a volume.
#[derive(Debug, Serialize)]
pub struct ClusterStatus {
    /// Its collection; empty for the default collection.
    pub collection: String,
    /// Number of further copies in other data centers, in other racks and on other nodes: three digits.
    pub placement: String,
    /// How long its photos live, such as `5m`; null for ever.
    pub ttl: Option<String>,
    /// True if the cluster has closed it to writes.
    pub read_only: bool,
    /// True if it takes deletes while it is read-only.
    pub takes_deletes: bool,
    /// Highest key of all photos that it ever had; `0` for none. It is text because it may have more digits
    /// than some readers of JSON keep of a number.
    pub max_key: String,
}

impl ClusterStatus {
    pub(super) fn of(board: &ClusterBoard) -> Option<Self> {
        Some(Self {
            collection: board.collection()?.to_string(),
            placement: board.placement().to_string(),
            ttl: board.ttl().map(|ttl| ttl.to_string()),
            read_only: board.is_read_only.get() != 0,
            takes_deletes: board.takes_deletes.get() != 0,
            max_key: board.max_key.get().to_string(),
        })
    }
}
