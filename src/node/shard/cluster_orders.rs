//! What the cluster orders about volumes of a shard.

use super::order::{OrderError, SetClosedByCluster};
use super::volume_summary::VolumeSummary;
use super::volumes::Volumes;
use crate::volume::{ClusterSettings, StateError};

impl Volumes {
    /// Closes a volume of the cluster to writes, or opens it again. Returns a summary of it.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn set_closed_by_cluster(
        &self,
        order: SetClosedByCluster,
    ) -> Result<VolumeSummary, OrderError> {
        let SetClosedByCluster { volume, is_closed, takes_deletes } = order;
        let slot = self.slot_to_change(volume)?;
        let properties = slot.volume().cluster();
        let properties = properties.ok_or(OrderError::State(StateError::NotOfCluster))?;
        let settings = ClusterSettings {
            is_read_only: is_closed,
            takes_deletes: is_closed && takes_deletes,
            ..properties.settings
        };
        let result = slot.set_cluster_properties(settings).await.map_err(OrderError::State);
        self.publish();
        result.map(|()| VolumeSummary::of(&slot.volume()))
    }
}
