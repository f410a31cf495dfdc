//! What the cluster of a volume says about it, while the volume is open.

use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::Volume;
use crate::volume::error::{Refusal, StateError};
use crate::volume::format::{ClusterProperties, ClusterSettings};

impl Volume {
    /// Returns what its cluster says about the volume; `None` if it belongs to none.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterProperties> {
        self.cluster.borrow().clone()
    }

    /// Whether the volume belongs to a cluster.
    #[must_use]
    pub fn is_of_cluster(&self) -> bool {
        self.cluster.borrow().is_some()
    }

    /// Whether there are copies of the volume on other nodes of its cluster.
    #[must_use]
    pub fn has_copies(&self) -> bool {
        self.cluster_settings().is_some_and(|settings| settings.placement.copies() > 1)
    }

    /// Returns the highest key of all needles and tombstones that the volume ever had, compactions included;
    /// 0 for none. `None` if the volume belongs to no cluster. A key of which damage left nothing is unknown.
    #[must_use]
    pub fn max_key(&self) -> Option<u64> {
        let key_floor = self.cluster.borrow().as_ref().map(|properties| properties.key_floor)?;
        Some(key_floor.max(self.contents.borrow().properties().key_max()))
    }

    /// Changes what the cluster may change about the volume. When this returns, the change is on stable
    /// media. When the volume became read-only, everything written before is on stable media, too, and
    /// nothing but deletes, if these are allowed, is appended any more.
    ///
    /// The caller must not run two changes at the same time.
    ///
    /// # Errors
    /// [`StateError::NotOfCluster`], [`StateError::Suspect`], [`StateError::Poisoned`],
    /// [`StateError::NoBuffer`], [`StateError::Failed`]. After a failed write nothing is written any more,
    /// and a restart shows which settings the volume has.
    pub async fn set_cluster_properties(
        &self,
        settings: ClusterSettings,
    ) -> Result<(), StateError> {
        let before = self.cluster_settings().ok_or(StateError::NotOfCluster)?;
        if self.is_suspect() {
            return Err(StateError::Suspect);
        }
        // In this order: who has been answered that the volume is read-only may copy it at once.
        if settings.is_read_only && !chosen(Sabotage::ClusterReadOnlyTooEarly) {
            let placement = before.placement;
            self.hold_settings(ClusterSettings { placement, ..settings });
            self.log.settle().await;
        }
        let written = self.change_superblock(|superblock| {
            if let Some(properties) = &mut superblock.cluster {
                properties.settings = settings;
            }
        });
        let written = written.await;
        match &written {
            // No blocks were reserved while the volume was closed.
            Ok(()) if !settings.is_read_only => self.note_demand(),
            Ok(()) => {}
            Err(_) => self.hold_settings(before),
        }
        written
    }

    /// Sets what counts from now on, whatever the superblock says.
    fn hold_settings(&self, settings: ClusterSettings) {
        if let Some(properties) = &mut *self.cluster.borrow_mut() {
            properties.settings = settings;
        }
    }

    fn cluster_settings(&self) -> Option<ClusterSettings> {
        self.cluster.borrow().as_ref().map(|properties| properties.settings)
    }

    /// Whether the cluster has closed the volume to writes, except perhaps for deletes.
    pub(in crate::volume) fn is_closed_by_cluster(&self) -> bool {
        self.cluster_settings().is_some_and(|settings| settings.is_read_only)
    }

    /// Whether the cluster has closed the volume to deletes.
    pub(in crate::volume) fn is_closed_to_deletes(&self) -> bool {
        let is_closed =
            |settings: ClusterSettings| settings.is_read_only && !settings.takes_deletes;
        self.cluster_settings().is_some_and(is_closed)
    }

    /// Checks whether a delete that arrives may go on.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub(in crate::volume) fn admit_delete(&self) -> Result<(), Refusal> {
        let is_closed = self.replica.get().is_some() || self.is_closed_to_deletes();
        match self.write_state.get().admit(self.superblock_state.get()) {
            Ok(()) if is_closed => Err(Refusal::ReadOnly),
            admitted => admitted,
        }
    }
}
