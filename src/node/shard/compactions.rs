//! Compactions of the volumes of a shard: begun and cancelled by orders, and shown on the board.

use std::rc::Rc;
use std::sync::Arc;

use super::order::{CompactionRequest, OrderError, TargetDir};
use super::volumes::Volumes;
use crate::base::types::VolumeId;
use crate::node::board::{CompactionEnd, CompactionOutcome};
use crate::node::metrics::VolumeMetrics;
use crate::runtime::Handle;
use crate::runtime::background::Pace;
use crate::volume::{
    Compacted, CompactionOrder, CompactionPhase, CompactionProgress, IoError, NotCompacted, Preallocation,
    Slot, Volume,
};

/// Called when the new file of a volume counts: monitors it in the place of the old one. Returns why it
/// cannot.
type Monitoring = Box<dyn Fn(&Volume) -> Result<(), IoError>>;
/// Publishes the metrics of a volume.
type Publisher = Box<dyn Fn()>;

impl Volumes {
    /// Begins to compact a volume.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn begin_compaction(
        &self,
        handle: &Handle,
        id: VolumeId,
        request: CompactionRequest,
    ) -> Result<(), OrderError> {
        let (slot, metrics) = self.slot_to_compact(id)?;
        let volume = slot.volume();
        let disk = request.target.as_ref().map(|target| target.disk);
        let (target, store, target_pace) = match &request.target {
            None => (volume.dir(), None, None),
            Some(TargetDir { path, disk, store }) => {
                let dir = self.files().open_dir(handle, path, *disk).await.ok_or_else(|| {
                    OrderError::NotCompacted(format!("{} cannot be opened", path.display()))
                })?;
                (dir, Some(*store), Some(self.paces().of(handle, *disk)))
            }
        };
        let order = CompactionOrder {
            target,
            store,
            size: request.size.unwrap_or(volume.figures().size),
            preallocation: Preallocation::InSteps,
            accept_losses: request.accept_losses,
            tombstone_keep_ns: request.tombstone_keep_ns,
            drop_expired_before_ns: request.drop_expired_before_ns,
            verify: request.verify,
            index_memory_max: request.index_memory_max,
            pace: Pace::UNLIMITED.with_pauses(),
            target_pace,
        };
        let monitoring = self.files().replacement(target);
        let publish = self.publisher(id);
        let work = compact(Rc::clone(&slot), order, metrics, disk, monitoring, publish);
        if slot.compaction_task().start(work) { Ok(()) } else { Err(OrderError::Compacting) }
    }

    /// Cancels the compaction of a volume, and waits for its end.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn cancel_compaction(&self, id: VolumeId) -> Result<(), OrderError> {
        let slot = self.slot_to_change(id)?;
        if slot.compaction_progress().phase == CompactionPhase::None {
            return Err(OrderError::NotCompacting);
        }
        slot.compaction_task().stop().await;
        Ok(())
    }
}

/// Compacts a volume, and shows how that ended. `disk` is the position of the data directory that it moves
/// to, if it moves.
async fn compact(
    slot: Rc<Slot>,
    order: CompactionOrder,
    metrics: Arc<VolumeMetrics>,
    disk: Option<u32>,
    monitoring: Monitoring,
    publish: Publisher,
) {
    let handle = slot.handle().clone();
    let (board, began) = (&metrics.board.compaction, handle.now());
    board.begin(handle.wall(), slot.volume().figures().used);
    let result = slot.compact(&order, &monitoring).await;
    slot.compaction_task().finish();
    // What the compaction changed is on the board before its end is, which the main thread logs.
    if let (Ok(_), Some(disk)) = (&result, disk) {
        metrics.board.disk.set(disk.into());
    }
    publish();
    board.end(end_of(&result, slot.compaction_progress(), handle.now() - began));
}

/// Describes how a compaction ended; `progress` is how far it had come.
fn end_of(
    result: &Result<Compacted, NotCompacted>,
    progress: CompactionProgress,
    duration_ns: u64,
) -> CompactionEnd {
    let (outcome, reason) = match result {
        Ok(_) => (CompactionOutcome::Done, String::new()),
        Err(NotCompacted::Stopped) => {
            (CompactionOutcome::Cancelled, NotCompacted::Stopped.to_string())
        }
        Err(why) => (CompactionOutcome::Failed, why.to_string()),
    };
    let (read, written, gained) = match result {
        Ok(done) => (done.read, done.written, done.used_before.saturating_sub(done.used_after)),
        Err(_) => (progress.read, progress.written, 0),
    };
    CompactionEnd {
        outcome,
        reason,
        read_bytes: read,
        written_bytes: written,
        gained_bytes: gained,
        duration_ns,
        gate_closed_ns: progress.gate.total_ns,
        gate_closed_max_ns: progress.gate.longest_ns,
    }
}
