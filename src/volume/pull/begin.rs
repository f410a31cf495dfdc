//! Becoming a copy of another volume; the begin and the end of its stream.

use super::not_pulled::NotPulled;
use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::error::StateError;
use crate::volume::format::{BadExchange, ExchangeStart, Replica};
use crate::volume::{Slot, Volume};

impl Slot {
    /// Makes the volume a copy of another one, which is named by the first stream. From now on it takes no
    /// writes but those of its source, until it is made writable. When this returns, that is durable.
    ///
    /// # Errors
    /// [`NotPulled::Refused`], [`NotPulled::State`], [`NotPulled::Closing`].
    pub async fn make_replica(&self) -> Result<(), NotPulled> {
        let _turn = self.pull.take().await?;
        let _change = self.changes.lock(()).await;
        let volume = self.volume();
        if volume.replica().is_some() {
            return Ok(());
        }
        volume.admit()?;
        volume.set_replica(Replica::default()).await?;
        // What has joined a commit before is counted when the first stream begins.
        volume.log.settle().await;
        Ok(())
    }

    /// Checks that a stream follows what was stored before, and notes what it begins.
    pub(super) async fn begin_stream(&self, start: &ExchangeStart) -> Result<(), NotPulled> {
        let _change = self.changes.lock(()).await;
        let volume = self.volume();
        let replica = volume.expect_replica()?;
        if start.lineage == volume.lineage() {
            return Err(NotPulled::Itself);
        }
        let lacks_deletions = !start.deletions && !chosen(Sabotage::PullForgetsSurplus);
        let next = if start.lineage == replica.source {
            if start.since != replica.position {
                return Err(NotPulled::Position(replica.position));
            }
            Replica { has_surplus: replica.has_surplus || lacks_deletions, ..replica }
        } else {
            if start.since != 0 {
                return Err(NotPulled::OtherSource);
            }
            let has_surplus = lacks_deletions || volume.figures().needles > 0;
            Replica { source: start.lineage, position: 0, has_surplus }
        };
        if next == replica { Ok(()) } else { Ok(volume.set_replica(next).await?) }
    }

    /// Notes that everything up to `position` of the source is here; if `is_complete`, nothing else any more.
    pub(super) async fn end_stream(
        &self,
        position: u64,
        is_complete: bool,
    ) -> Result<(), NotPulled> {
        let _change = self.changes.lock(()).await;
        let volume = self.volume();
        let replica = volume.expect_replica()?;
        if position < replica.position {
            return Err(NotPulled::Bad(BadExchange::Order));
        }
        let has_surplus = replica.has_surplus && !is_complete;
        let next = Replica { position, has_surplus, ..replica };
        if next == replica { Ok(()) } else { Ok(volume.set_replica(next).await?) }
    }
}

impl Volume {
    /// Returns whose copy the volume is, if it can be written.
    fn expect_replica(&self) -> Result<Replica, NotPulled> {
        let replica = self.replica().ok_or(NotPulled::NotReplica)?;
        self.write_state.get().admit(self.superblock_state.get())?;
        Ok(replica)
    }

    async fn set_replica(&self, replica: Replica) -> Result<(), StateError> {
        self.change_superblock(|superblock| superblock.replica = Some(replica)).await
    }
}
