//! Changes of the state of a volume, and its end.

use std::rc::Rc;

use super::slot::Slot;
use crate::volume::Volume;
use crate::volume::error::StateError;
use crate::volume::format::ClusterSettings;

impl Slot {
    /// Makes the volume read-only or writable, as [`Volume::set_read_only`] does for a generation.
    ///
    /// # Errors
    /// See [`StateError`].
    ///
    /// [`Volume::set_read_only`]: crate::volume::Volume::set_read_only
    pub async fn set_read_only(&self, read_only: bool) -> Result<(), StateError> {
        let _change = self.changes.lock(()).await;
        self.volume().set_read_only(read_only).await
    }

    /// Changes what the cluster may change about the volume, as [`Volume::set_cluster_properties`] does for a
    /// generation.
    ///
    /// # Errors
    /// As there.
    ///
    /// [`Volume::set_cluster_properties`]: crate::volume::Volume::set_cluster_properties
    pub async fn set_cluster_properties(
        &self,
        settings: ClusterSettings,
    ) -> Result<(), StateError> {
        let _change = self.changes.lock(()).await;
        self.volume().set_cluster_properties(settings).await
    }

    /// Records that everything in a generation was verified by a scrub that began at `began` (nanoseconds
    /// since 1970), unless another one has taken its place.
    ///
    /// # Errors
    /// As [`Self::set_read_only`], except [`StateError::Sealed`].
    pub(in crate::volume) async fn record_verified(
        &self,
        volume: &Rc<Volume>,
        began: u64,
    ) -> Result<(), StateError> {
        let _change = self.changes.lock(()).await;
        if !self.is_current(volume) {
            return Ok(());
        }
        volume.record_verified(began).await
    }

    /// Closes the volume: see [`Volume::close`](crate::volume::Volume::close).
    pub async fn close(&self) {
        self.compaction_task().stop().await;
        self.scrub.task.stop().await;
        self.probing.task.stop().await;
        self.undelete.stop().await;
        self.streams.stop().await;
        self.pull.stop().await;
        let _change = self.changes.lock(()).await;
        self.volume().close().await;
    }

    /// Asks the background work of the volume to stop. [`Self::close`] waits for it.
    pub fn begin_to_close(&self) {
        self.compaction_task().begin_to_stop();
        self.scrub.task.begin_to_stop();
        self.probing.task.begin_to_stop();
        self.undelete.begin_to_stop();
        self.streams.begin_to_stop();
        self.pull.begin_to_stop();
        self.volume().begin_to_close();
    }

    /// Stops the background work of the volume, until [`Self::resume_background`].
    pub async fn stop_background(&self) {
        self.compaction_task().stop().await;
        self.scrub.task.stop().await;
        self.probing.task.stop().await;
        self.undelete.stop().await;
        self.streams.stop().await;
        self.pull.stop().await;
        self.volume().stop_checkpoints().await;
    }

    /// Resumes the background work after an attempt to remove the file failed. The checkpoint may have been
    /// removed by that attempt.
    pub fn resume_background(self: &Rc<Self>) {
        self.volume().resume_checkpoints();
        self.streams.resume();
        self.pull.resume();
        self.undelete.resume();
        self.restart_scrubs();
        self.restart_probes();
    }

    /// Ends the append side of a volume whose file was removed: see
    /// [`Volume::retire`](crate::volume::Volume::retire).
    pub async fn retire(self: &Rc<Self>) {
        self.volume().retire().await;
    }
}
