//! Lost data directories and volume files: what becomes of their volumes.

use std::rc::Rc;

use super::disks::Lost;
use super::manager::ManagerState;
use crate::base::types::VolumeId;
use crate::node::shard::FenceVolume;

impl ManagerState {
    /// Fences the volumes whose files were lost: they take no more writes. Forgets a volume without a file.
    pub async fn handle_lost(self: Rc<Self>, lost: Lost) {
        match lost {
            Lost::Disk(files) => {
                for (volume, generation) in files {
                    self.fence(volume, generation).await;
                }
            }
            Lost::Volume(volume, generation) => self.fence(volume, generation).await,
            Lost::LastFile(volume) => {
                self.forget(volume).await;
                tracing::info!(
                    volume = volume.0,
                    "removed: its only file was not finished. A deletion of the volume was interrupted"
                );
            }
        }
    }

    async fn fence(&self, volume: VolumeId, generation: u64) {
        let Some(shard) = self.shard_of(volume) else { return };
        match self.ask(shard, FenceVolume { volume, generation }).await {
            Ok(Some(summary)) => {
                tracing::info!(volume = volume.0, write_state = ?summary.write_state, "fenced");
            }
            Ok(None) => {
                tracing::info!(
                    volume = volume.0,
                    "not fenced: generation {generation}, whose file was lost, is no longer in use"
                );
            }
            // A volume that refuses the order takes no writes anyway.
            Err(error) => tracing::info!(volume = volume.0, "{error}"),
        }
    }
}
