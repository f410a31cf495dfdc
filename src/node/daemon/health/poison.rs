//! Volumes of which a write failed: a restart may help once, and is no help if it fails again.

use std::sync::Arc;
use std::time::Duration;

use crate::node::board::{VolumeBoard, VolumeState};
use crate::node::daemon::manager::ManagerState;

/// Longest time for which the end of the daemon waits until it is recorded why.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

impl ManagerState {
    /// Records the volumes of which a write has failed since the start.
    pub(super) fn record_poison(&self, volumes: &[Arc<VolumeBoard>]) {
        let mut records = self.health.records.borrow_mut();
        for volume in poisoned(volumes) {
            records.change(volume.disk_position(), volume.info.id, |health| {
                if !health.poisoned {
                    health.poisoned = true;
                    health.poisoned_starts += 1;
                }
            });
        }
    }

    /// Returns whether the daemon is to end, now that no volume takes writes and at least one is poisoned:
    /// yes if no other volume serves reads, else once in each boot of the machine for each volume. Records
    /// that it ends.
    pub(in crate::node::daemon) fn ends_for_poison(&self) -> bool {
        let volumes = self.shared.board.volumes();
        self.record_poison(&volumes);
        let others_serve = volumes
            .iter()
            .any(|it| it.state.get().serves() && it.state.get() != VolumeState::Poisoned);
        let mut records = self.health.records.borrow_mut();
        let is_first = poisoned(&volumes).any(|volume| {
            let known = records.get(volume.disk_position(), volume.info.id);
            known.and_then(|health| health.ended_in_boot.as_ref()) != Some(&self.health.boot)
        });
        if others_serve && !is_first {
            return false;
        }
        for volume in poisoned(&volumes) {
            records.change(volume.disk_position(), volume.info.id, |health| {
                health.ended_in_boot = Some(self.health.boot.clone());
            });
        }
        records.flush(FLUSH_WITHIN);
        true
    }
}

fn poisoned(volumes: &[Arc<VolumeBoard>]) -> impl Iterator<Item = &Arc<VolumeBoard>> {
    volumes.iter().filter(|volume| volume.state.get() == VolumeState::Poisoned)
}
