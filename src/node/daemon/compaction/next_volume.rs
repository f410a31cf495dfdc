//! Volumes that are created ahead of need.

use std::rc::Rc;

use super::now::Now;
use crate::base::size::rounded;
use crate::node::board::{VolumeBoard, VolumeState};
use crate::node::control::NewVolume;
use crate::node::daemon::manager::ManagerState;

/// Whether a volume takes photos of any size that one needle holds, from other clients than those of a
/// cluster.
fn takes_photos(volume: &VolumeBoard) -> bool {
    let is_of_cluster = volume.cluster.is_of_cluster.get() != 0;
    volume.state.get() == VolumeState::Writable && volume.full.get() == 0 && !is_of_cluster
}

impl ManagerState {
    /// Creates the next volume if the volumes that take photos have less room left than `auto_create` says.
    /// One creation at a time; after one that failed it waits, longer each time.
    pub(super) fn create_ahead(self: &Rc<Self>, now: Now) {
        let Some(least) = self.config.auto_create.when_room_below.value() else { return };
        let pause = &self.compaction.creation_pause;
        let is_creating = self.creations.all().iter().any(|(_, it)| it.failed.is_none());
        if is_creating || now.monotonic_ns < pause.not_before() {
            return;
        }
        let volumes = self.shared.board.volumes();
        // While volumes recover it is not known which of them take photos.
        if volumes.iter().any(|volume| volume.state.get() == VolumeState::Recovering) {
            return;
        }
        let room: u64 = volumes.iter().filter(|it| takes_photos(it)).map(|it| it.room()).sum();
        if room >= least.bytes() {
            return;
        }
        let size = self.config.auto_create.size.value();
        let plan = match self.plan(NewVolume { size, ..NewVolume::default() }) {
            Ok(plan) => plan,
            Err(refused) => {
                pause.failed(now.monotonic_ns);
                return tracing::warn!(
                    "{} of room are left for photos, but the next volume was not created: {refused}",
                    rounded(room)
                );
            }
        };
        let id = plan.volume();
        tracing::info!(volume = id.0, "is created, since {} of room are left", rounded(room));
        // On its own: a file that is filled with zeros takes minutes.
        let state = Rc::clone(self);
        self.handle.spawn(async move {
            state.create(plan).await;
            let pause = &state.compaction.creation_pause;
            match state.creations.get(id).and_then(|creation| creation.failed) {
                None => pause.succeeded(),
                Some(failed) => {
                    pause.failed((state.compaction.clock)().monotonic_ns);
                    tracing::warn!(volume = id.0, "the next volume was not created: {failed}");
                }
            }
        });
    }
}
