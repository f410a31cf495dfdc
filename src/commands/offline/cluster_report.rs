//! What its cluster says about a volume, in the report of a check.

use serde::Serialize;

use crate::volume::{ClusterProperties, Volume};

/// What its cluster says about a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterReport {
    /// Its collection; empty for the default collection.
    pub collection: String,
    /// Number of further copies in other data centers, in other racks and on other nodes: three digits.
    pub placement: String,
    /// How long its photos live, such as `5m`; null for ever.
    pub ttl: Option<String>,
    /// Whether the cluster has closed it to writes.
    pub read_only: bool,
    /// Whether it takes deletes while it is read-only.
    pub takes_deletes: bool,
    /// Highest key of all photos that it ever had; 0 for none.
    pub max_key: u64,
}

impl ClusterReport {
    pub(super) fn of(volume: &Volume) -> Option<Self> {
        let ClusterProperties { settings, ttl, collection, .. } = volume.cluster()?;
        Some(Self {
            collection: collection.to_string(),
            placement: settings.placement.to_string(),
            ttl: ttl.map(|ttl| ttl.to_string()),
            read_only: settings.is_read_only,
            takes_deletes: settings.takes_deletes,
            max_key: volume.max_key().unwrap_or(0),
        })
    }
}
