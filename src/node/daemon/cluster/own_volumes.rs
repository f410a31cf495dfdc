//! Volumes that belong to no cluster, on a node that belongs to one.

use super::own_ids::FIRST_OWN_ID;
use crate::node::board::{VolumeBoard, VolumeState};
use crate::node::daemon::manager::ManagerState;

impl ManagerState {
    /// Says once, when all volumes are open, which ids the cluster cannot use.
    pub(super) fn name_own_volumes(&self) {
        let volumes = self.shared.board.volumes();
        let is_recovering = |volume: &VolumeBoard| volume.state.get() == VolumeState::Recovering;
        if self.own_ids_named.get() || volumes.iter().any(|volume| is_recovering(volume)) {
            return;
        }
        self.own_ids_named.set(true);
        let is_in_the_way = |volume: &VolumeBoard| {
            volume.cluster.is_of_cluster.get() == 0 && volume.info.id.0 < FIRST_OWN_ID
        };
        let ids = volumes.iter().filter(|volume| is_in_the_way(volume));
        let ids: Vec<String> = ids.map(|volume| volume.info.id.to_string()).collect();
        if !ids.is_empty() {
            tracing::info!(
                "volumes that belong to no cluster: {}. The cluster does not see them, and cannot make \
                 volumes with these ids here",
                ids.join(", ")
            );
        }
    }
}
