//! Volumes of the cluster in which nothing lives any more, because their time to live is over.

use std::rc::Rc;

use crate::base::limits::PUBLISH_NS;
use crate::base::types::VolumeId;
use crate::node::board::{VolumeBoard, VolumeState};
use crate::node::control::Refused;
use crate::node::daemon::compaction::Now;
use crate::node::daemon::manager::{ManagerState, refused};
use crate::node::shard::SetReadOnly;

/// Longest time for which a volume is kept that the master is not told of any more (nanoseconds).
const KEPT_MAX_NS: u64 = 600_000_000_000;

/// Time within which a shard shows what it has stored (nanoseconds).
const SHOWN_WITHIN_NS: u64 = 10 * PUBLISH_NS;

impl ManagerState {
    /// Publishes which volumes hold only expired photos, which are not announced to the master any more, and
    /// deletes them some time later.
    pub(in crate::node::daemon) async fn delete_expired(self: Rc<Self>) {
        let now = (self.compaction.clock)();
        // A clock that jumps ahead must not destroy anything.
        if !self.config.cluster.is_on() || self.drop_expired_before(now) == 0 {
            return;
        }
        for volume in self.shared.board.volumes() {
            let over_ns = over_for(&volume, now);
            volume.cluster.is_over.set(u64::from(over_ns.is_some()));
            if !may_delete(&volume, now) || self.changing.borrow().contains(&volume.info.id) {
                continue;
            }
            if let Err(error) = self.delete_over(volume.info.id, &volume, now).await {
                tracing::warn!(volume = volume.info.id.0, "its time to live is over: {error}");
            }
        }
    }

    /// Deletes a volume whose time is over. It is made read-only first, so that nothing is stored in it
    /// between the look and the deletion.
    async fn delete_over(
        self: &Rc<Self>,
        id: VolumeId,
        board: &VolumeBoard,
        now: Now,
    ) -> Result<(), Refused> {
        let changing = self.begin(id)?;
        let shard = self.shard_of(id).ok_or(Refused::NoSuchVolume(id))?;
        let was_writable = board.state.get() == VolumeState::Writable;
        if was_writable {
            let closed = self.ask(shard, SetReadOnly { volume: id, read_only: true }).await;
            closed.map_err(|error| refused(id, "deleted", error))?;
            // What was stored until then is on the board.
            self.handle.sleep_until(self.handle.now().saturating_add(SHOWN_WITHIN_NS)).await;
            if !may_delete(board, now) {
                let opened = self.ask(shard, SetReadOnly { volume: id, read_only: false }).await;
                opened.map_err(|error| refused(id, "made writable again", error))?;
                return Ok(());
            }
        }
        tracing::info!(volume = id.0, "its time to live is over");
        self.delete_in_change(id, changing).await
    }
}

/// Returns for how long everything in an open volume has been expired (nanoseconds); `None` if it is not, or
/// is empty.
fn over_for(board: &VolumeBoard, now: Now) -> Option<u64> {
    board.cluster.collection().filter(|_| board.state.get().serves())?;
    let (ttl, newest) = (board.cluster.ttl()?, board.newest_ns.get());
    let over = now.wall_ns.checked_sub(newest.saturating_add(ttl.as_ns()));
    over.filter(|_| newest > 0)
}

fn may_delete(board: &VolumeBoard, now: Now) -> bool {
    let kept_ns = board.cluster.ttl().map_or(0, |ttl| (ttl.as_ns() / 10).min(KEPT_MAX_NS));
    over_for(board, now).is_some_and(|over_ns| over_ns > kept_ns)
}
