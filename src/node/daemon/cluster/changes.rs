//! Orders of the cluster about volumes that are there.

use std::rc::Rc;

use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::VolumeId;
use crate::node::board::VolumeState;
use crate::node::control::Refused;
use crate::node::daemon::manager::{ManagerState, refused};
use crate::node::shard::{SetCluster, SetReadOnly};
use crate::volume::{ClusterSettings, ReadOnlyReason, WriteState};

impl ManagerState {
    /// Deletes a volume if nothing lives in it. It is made read-only first, so that nothing is stored in it
    /// between the look and the deletion.
    ///
    /// # Errors
    /// [`Refused::Conflict`] if something lives in it: the volume is as before. Otherwise as for a deletion.
    pub(in crate::node::daemon) async fn delete_if_empty(
        self: &Rc<Self>,
        id: VolumeId,
    ) -> Result<(), Refused> {
        let changing = self.begin(id)?;
        let board = self.shared.board.volume(id).ok_or(Refused::NoSuchVolume(id))?;
        let not_empty = || Refused::Conflict(format!("Volume {id} is not empty."));
        if board.live_bytes.get() > 0 {
            return Err(not_empty());
        }
        let shard = self.shard_of(id).ok_or(Refused::NoSuchVolume(id))?;
        let was_writable = board.state.get() == VolumeState::Writable;
        if was_writable {
            let closed = self.ask(shard, SetReadOnly { volume: id, read_only: true }).await;
            let summary = closed.map_err(|error| refused(id, "deleted", error))?;
            if summary.needles > 0 && !chosen(Sabotage::DeleteUnseen) {
                let opened = self.ask(shard, SetReadOnly { volume: id, read_only: false }).await;
                opened.map_err(|error| refused(id, "made writable again", error))?;
                return Err(not_empty());
            }
        }
        self.delete_in_change(id, changing).await
    }

    /// Closes a volume of the cluster to writes, or opens it again.
    ///
    /// # Errors
    /// [`Refused`]: nothing was changed, or it is closed by its operator, too.
    pub(in crate::node::daemon) async fn set_closed_by_cluster(
        self: &Rc<Self>,
        id: VolumeId,
        is_closed: bool,
        takes_deletes: bool,
    ) -> Result<(), Refused> {
        let _changing = self.begin(id)?;
        let shard = self.shard_of(id).ok_or(Refused::NoSuchVolume(id))?;
        let what = if is_closed { "closed to writes" } else { "opened to writes" };
        let board = self.shared.board.volume(id).ok_or(Refused::NoSuchVolume(id))?;
        let settings = ClusterSettings {
            placement: board.cluster.placement(),
            is_read_only: is_closed,
            takes_deletes: is_closed && takes_deletes,
        };
        let done = self.ask(shard, SetCluster { volume: id, settings }).await;
        let summary = done.map_err(|error| refused(id, what, error))?;
        let state = summary.write_state;
        tracing::info!(volume = id.0, write_state = ?state, "{what} by order of the cluster");
        if !is_closed && state == WriteState::ReadOnly(ReadOnlyReason::Operator) {
            return Err(Refused::Conflict(format!(
                "Volume {id} was made read-only by its operator (hayloft volume writable {id})."
            )));
        }
        Ok(())
    }
}
