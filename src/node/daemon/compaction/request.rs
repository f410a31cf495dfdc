//! Compactions that an operator requests or cancels; pausing.

use std::rc::Rc;

use crate::base::limits::CHANGES_MAX;
use crate::base::types::{ShardId, VolumeId};
use crate::node::board::CompactionOutcome;
use crate::node::control::{CompactionOrigin, NotBegun, PauseRequest, Refused, WantedCompaction};
use crate::node::daemon::manager::{ManagerState, refused};
use crate::node::shard::{CancelCompaction, OrderError, PauseBackground};

/// Permit to handle a request, until dropped. Their number is bounded, and so is that of the orders to the
/// shards.
struct Permit(Rc<ManagerState>);

impl Permit {
    fn of(state: &Rc<ManagerState>) -> Result<Self, Refused> {
        let requests = &state.compaction.requests;
        if requests.get() >= CHANGES_MAX {
            return Err(Refused::Busy);
        }
        requests.set(requests.get() + 1);
        Ok(Self(Rc::clone(state)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let requests = &self.0.compaction.requests;
        requests.set(requests.get() - 1);
    }
}

impl ManagerState {
    /// Begins to compact a volume, or queues that behind the compaction that blocks it.
    ///
    /// # Errors
    /// [`Refused`]: it is being compacted already, it cannot be compacted, or the disk has no room for it.
    pub(in crate::node::daemon) async fn compact(
        self: &Rc<Self>,
        id: VolumeId,
        wanted: WantedCompaction,
    ) -> Result<(), Refused> {
        let _permit = Permit::of(self)?;
        self.collect_ends().await;
        let job = self.compaction_job(id, wanted, CompactionOrigin::Operator)?;
        if let Some(sentence) = self.is_compacting(id) {
            return Err(Refused::Conflict(sentence));
        }
        self.check_compaction(&job)?;
        let queue = &self.compaction.queue;
        queue.borrow_mut().add(job);
        self.show_compaction(&job, false);
        let blocker = queue.borrow().blocker(&job);
        if self.compaction.is_paused.get() || blocker.is_some() {
            let behind = blocker.map(|id| format!(" for that of volume {id}")).unwrap_or_default();
            tracing::info!(volume = id.0, "its compaction waits{behind}");
            return Ok(());
        }
        self.begin_compaction(id).await
    }

    fn is_compacting(&self, id: VolumeId) -> Option<String> {
        let queue = self.compaction.queue.borrow();
        let job = queue.waiting(id);
        if queue.running(id).is_some() {
            return Some(format!(
                "Volume {id} is being compacted already; wait for the end, or cancel it."
            ));
        }
        let why = match queue.blocker(job?) {
            Some(other) => {
                format!(
                    "that of volume {other}, which uses the same data directory, has to end first"
                )
            }
            None => "background work is paused".to_owned(),
        };
        Some(format!("A compaction of volume {id} waits already: {why}."))
    }

    /// Cancels the compaction of a volume, and waits until it has ended.
    ///
    /// # Errors
    /// [`Refused`]: there is none.
    pub(in crate::node::daemon) async fn cancel_compaction(
        self: &Rc<Self>,
        id: VolumeId,
    ) -> Result<(), Refused> {
        let _permit = Permit::of(self)?;
        self.shard_of(id).ok_or(Refused::NoSuchVolume(id))?;
        self.collect_ends().await;
        let none = || Refused::Conflict(format!("Volume {id} is not being compacted."));
        if self.drop_waiting(id, "It was cancelled before it began") {
            let now = (self.compaction.clock)().monotonic_ns;
            self.compaction.with_history(id, now, |history| history.cancelled(now));
            return Ok(());
        }
        if self.compaction.queue.borrow().running(id).is_none() {
            return Err(none());
        }
        match self.order_cancel(id).await {
            Ok(()) => Ok(()),
            Err(OrderError::NotCompacting) => Err(none()),
            Err(error) => Err(refused(id, "cancelled", error)),
        }
    }

    /// Ends the compaction of a volume that is about to be deleted, if there is one. It is not begun anew
    /// while the volume is being changed.
    pub(in crate::node::daemon) async fn end_compaction_of(self: &Rc<Self>, id: VolumeId) {
        if self.drop_waiting(id, "The volume is being deleted") {
            return;
        }
        if self.compaction.queue.borrow().running(id).is_some()
            && let Err(error) = self.order_cancel(id).await
        {
            // The shard decides whether the volume can be deleted.
            tracing::info!(volume = id.0, "its compaction was not cancelled: {error}");
        }
    }

    async fn order_cancel(self: &Rc<Self>, id: VolumeId) -> Result<(), OrderError> {
        let shard = self.shard_of(id).ok_or(OrderError::NoVolume)?;
        let cancelled = self.ask(shard, CancelCompaction { volume: id }).await;
        self.collect_ends().await;
        cancelled
    }

    /// Removes the compaction of a volume if it waits. Returns whether it did.
    fn drop_waiting(&self, id: VolumeId, reason: &str) -> bool {
        let is_waiting = self.compaction.queue.borrow().waiting(id).is_some();
        if is_waiting {
            self.compaction.queue.borrow_mut().remove(id);
            self.end_unbegun(id, CompactionOutcome::Cancelled, format!("{reason}."));
        }
        is_waiting
    }

    /// Records the end of a compaction that waited, and that did not begin.
    pub(super) fn end_unbegun(&self, id: VolumeId, outcome: CompactionOutcome, reason: String) {
        let board = self.shared.board.volume(id);
        let after = board.map_or(0, |board| board.compaction.ended());
        self.compaction.shown.end_unbegun(id, NotBegun { outcome, reason, after });
    }

    /// Pauses or resumes the compactions of all shards, and answers the request.
    pub(in crate::node::daemon) async fn pause(self: Rc<Self>, request: PauseRequest) {
        self.set_paused(request.paused).await;
        request.answer();
    }

    /// Pauses or resumes the compactions of all shards. Those that wait begin at the next look.
    pub(super) async fn set_paused(&self, paused: bool) {
        let pausing = self.compaction.pausing.lock(()).await;
        self.compaction.is_paused.set(paused);
        for shard in ShardId::all(self.shared.shards()) {
            self.ask(shard, PauseBackground { paused }).await;
        }
        drop(pausing);
        tracing::info!("compactions are {}", if paused { "paused" } else { "resumed" });
    }
}
