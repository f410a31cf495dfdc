//! Pulls of the records of other volumes into those of a shard.

use super::order::{FindAbsent, OrderError, Pull, PullOutcome, PullStep};
use super::volumes::Volumes;
use crate::base::types::NeedleId;
use crate::node::board::ReplicaBoard;
use crate::volume::{NotPulled, Slot};

impl Volumes {
    /// Returns which objects are certainly not in a volume.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn absent(&self, order: FindAbsent) -> Result<Vec<NeedleId>, OrderError> {
        let slot = self.slot_to_change(order.volume)?;
        let absent = slot.absent(&order.ids).await;
        absent.map_err(|refusal| OrderError::NotPulled(NotPulled::Refused(refusal)))
    }

    /// Makes a step of a pull.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn pull(&self, order: Pull) -> Result<PullOutcome, OrderError> {
        let slot = self.slot_to_change(order.volume)?;
        let outcome = match order.step {
            PullStep::Become => slot.make_replica().await.map(|()| PullOutcome::default()),
            PullStep::Begin { is_complete } => begun(slot.begin_pull(is_complete).await),
            PullStep::Bytes { pull, bytes } => {
                let pulled = slot.pull(pull, &bytes).await;
                pulled.map(|pulled| PullOutcome { pull, pulled })
            }
            PullStep::Finish { pull } => begun(slot.finish_pull(pull).await.map(|_| pull)),
            PullStep::Abandon { pull } => {
                slot.abandon_pull(pull).await;
                Ok(PullOutcome::default())
            }
        };
        self.publish();
        outcome.map_err(OrderError::NotPulled)
    }
}

fn begun(pull: Result<u64, NotPulled>) -> Result<PullOutcome, NotPulled> {
    pull.map(|pull| PullOutcome { pull, ..PullOutcome::default() })
}

/// Shows whose copy a volume is on the board.
pub fn show(slot: &Slot, board: &ReplicaBoard) {
    let replica = slot.volume().replica();
    board.is_replica.set(u64::from(replica.is_some()));
    let replica = replica.unwrap_or_default();
    board.source.set(replica.source);
    board.position.set(replica.position);
    board.has_surplus.set(u64::from(replica.has_surplus));
}
