//! The delete of many needles, with one commit: lock the ids, enter the gate, look up what is there, join a
//! commit, and wait for it outside the gate.

use super::slot::Slot;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::{Cookie, NeedleId};
use crate::runtime::join_all;
use crate::volume::Volume;
use crate::volume::error::Refusal;
use crate::volume::log::joined::Joined;
use crate::volume::log::pending::Pending;
use crate::volume::object::precondition::Check;
use crate::volume::object::write::{Batch, Superseded};

/// Maximum number of needles of one multi-delete that are looked up at a time, each with one read. A
/// compaction cannot exchange the generation meanwhile, so they do not wait for each other; but other
/// requests need the device as well.
const LOOK_UPS: usize = 16;

impl Slot {
    /// Deletes all of `needles` that exist with the given cookie, in one commit, or none of them. Their ids
    /// must differ. `check` must hold for each that exists. Returns which of them existed. When this
    /// returns, their tombstones are durable.
    ///
    /// # Errors
    /// See [`Refusal`]; never [`Refusal::NotFound`].
    ///
    /// # Panics
    /// If two needles have the same id, or if they are too many for one commit.
    pub async fn delete_all(
        &self,
        needles: &[(NeedleId, Cookie)],
        check: Check<'_>,
    ) -> Result<Vec<bool>, Refusal> {
        self.volume().admit_delete()?;
        let _held = self.lock_ids(needles.iter().map(|(id, _)| *id).collect()).await;
        let (joined, existed) = self.join_delete_all(needles, check).await?;
        if let Some(joined) = joined {
            joined.settled().await?;
        }
        Ok(existed)
    }

    async fn join_delete_all(
        &self,
        needles: &[(NeedleId, Cookie)],
        check: Check<'_>,
    ) -> Result<(Option<Joined>, Vec<bool>), Refusal> {
        let entered = self.enter().await;
        let volume = &entered.volume;
        let decisions = needles
            .iter()
            .map(|(id, cookie)| volume.decide_delete(*id, Some(*cookie), check, None));
        let found = found(join_all(decisions, LOOK_UPS).await)?;
        let existed = found.iter().map(Option::is_some).collect();
        let there = needles.iter().zip(found);
        let there: Vec<_> =
            there.filter_map(|((id, cookie), at)| Some((*id, *cookie, at?))).collect();
        if there.is_empty() {
            return Ok((None, existed));
        }
        let count = u16::try_from(there.len()).expect("a commit has at most 1000 needles");
        let batch = volume.handle.random().max(1);
        let mut tombstones = Vec::with_capacity(there.len());
        for (ordinal, (id, cookie, at)) in (0..count).zip(there) {
            let batch = match chosen(Sabotage::TombstonesOneByOne) {
                true => Batch::default(),
                false => Batch { id: batch, ordinal, count },
            };
            tombstones.push(volume.tombstone(id, cookie, (at, self.handle.wall()), batch)?);
        }
        Ok((Some(append(volume, tombstones).await?), existed))
    }
}

/// Returns where the needles are that a multi-delete removes, if all of the decisions permit that.
fn found(
    decisions: Vec<Result<(Superseded, Cookie), Refusal>>,
) -> Result<Vec<Option<Superseded>>, Refusal> {
    let mut found = Vec::with_capacity(decisions.len());
    let mut precondition = Ok(());
    for decision in decisions {
        match decision {
            Ok((at, _)) => found.push(Some(at)),
            Err(Refusal::NotFound) => found.push(None),
            // A needle that cannot be read takes precedence, wherever it is listed.
            Err(Refusal::Precondition) => precondition = Err(Refusal::Precondition),
            Err(refusal) => return Err(refusal),
        }
    }
    precondition.map(|()| found)
}

/// Adds the tombstones to one commit.
async fn append(volume: &Volume, mut tombstones: Vec<Pending>) -> Result<Joined, Refusal> {
    if tombstones.len() > 1 && chosen(Sabotage::SplitMultiDelete) {
        let rest = tombstones.split_off(tombstones.len() / 2);
        volume.append_with_blocks(rest).await?.settled().await?;
    }
    volume.append_with_blocks(tombstones).await
}
