//! Pulls of the records of other volumes into those of a shard.

use super::order::{FindAbsent, OrderError, PullOrder, PullOutcome, PullStep};
use super::volumes::Volumes;
use crate::base::types::{NeedleId, VolumeId};
use crate::volume::{NotPulled, Pulled};

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
    pub async fn pull(&self, order: PullOrder) -> Result<PullOutcome, OrderError> {
        let PullOrder { volume, step } = order;
        let outcome = match step {
            PullStep::Become => {
                let slot = self.slot_to_change(volume)?;
                slot.make_replica().await.map(|()| PullOutcome::default())
            }
            PullStep::Begin { is_complete } => {
                let slot = self.slot_to_change(volume)?;
                let begun = slot.begin_pull(is_complete).await;
                begun.map(|begun| {
                    let pull = slot.handle().random();
                    self.pulls().add(volume, pull, begun);
                    PullOutcome { pull, ..PullOutcome::default() }
                })
            }
            PullStep::Bytes { pull, bytes } => self.take_bytes(volume, pull, &bytes).await,
            PullStep::Finish { pull } => {
                let taken = self.pulls().take(volume, pull);
                self.pulls().remove(volume, pull);
                match taken {
                    Some(taken) => {
                        let finished = taken.finish().await;
                        finished.map(|_| {
                            self.show_pulled(volume);
                            PullOutcome::default()
                        })
                    }
                    None => Err(NotPulled::Superseded),
                }
            }
            PullStep::Abandon { pull } => {
                self.pulls().remove(volume, pull);
                Ok(PullOutcome::default())
            }
        };
        self.publish();
        outcome.map_err(OrderError::NotPulled)
    }

    /// Passes bytes to a pull. It is abandoned if that fails.
    async fn take_bytes(
        &self,
        volume: VolumeId,
        number: u64,
        bytes: &[u8],
    ) -> Result<PullOutcome, NotPulled> {
        let taken = self.pulls().take(volume, number);
        let mut pull = taken.ok_or(NotPulled::Superseded)?;
        let stored: Result<Pulled, NotPulled> = pull.take(bytes).await;
        match stored {
            Ok(pulled) => {
                self.pulls().put_back(volume, number, pull);
                Ok(PullOutcome { pull: number, pulled })
            }
            Err(error) => {
                drop(pull);
                self.pulls().remove(volume, number);
                Err(error)
            }
        }
    }
}
