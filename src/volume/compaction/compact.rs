//! A compaction from beginning to end.

use std::rc::Rc;

use super::compacted::Compacted;
use super::finish::finish;
use super::not_compacted::NotCompacted;
use super::order::CompactionOrder;
use super::swap::{OnSwap, expect_compactable};
use super::target::{close_target, create_target, discard_target, generation_file};
use super::work::Work;
use crate::base::limits::{LOG_START, TOMBSTONE_RESERVE, TRAILER};
use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::slot::compaction_progress::{CompactionPhase, CompactionProgress};
use crate::volume::{GenerationFile, Slot, Volume};

impl Slot {
    /// Copies what lives in the volume to its next generation, which then takes the place of the current one.
    /// Reads and writes go on meanwhile. To be run by the task of [`Self::compaction_task`], one at a time.
    /// The progress keeps its figures when this ends.
    ///
    /// # Errors
    /// See [`NotCompacted`].
    pub async fn compact(
        self: &Rc<Self>,
        order: &CompactionOrder,
        on_swap: OnSwap<'_>,
    ) -> Result<Compacted, NotCompacted> {
        let phase = CompactionPhase::Copying;
        self.set_compaction_progress(CompactionProgress { phase, ..Default::default() });
        let done = self.compact_generation(order, on_swap).await;
        let (phase, progress) = (CompactionPhase::None, self.compaction_progress());
        self.set_compaction_progress(CompactionProgress { phase, ..progress });
        done
    }

    async fn compact_generation(
        self: &Rc<Self>,
        order: &CompactionOrder,
        on_swap: OnSwap<'_>,
    ) -> Result<Compacted, NotCompacted> {
        let old = self.volume();
        expect_compactable(&old)?;
        expect_room(&old, order)?;
        let store = order.store.unwrap_or(old.superblock.store);
        let target = generation_file(old.id(), old.generation() + 1, order.target, store);
        let new = match create_target(&old, order).await {
            Ok(new) => new,
            Err(NotCompacted::InTheWay) => return Err(NotCompacted::InTheWay),
            Err(error) => {
                self.discard(target).await;
                return Err(error);
            }
        };
        let built = match Work::begin(self, old, &new, order).await {
            Ok(work) => work.build(on_swap).await,
            Err(error) => Err(error),
        };
        self.slow_writes(0);
        match built {
            Ok(work) => Ok(finish(work).await),
            // A restart decides which of the two counts.
            Err(error @ NotCompacted::Undecided(_)) => {
                self.add_other_file(target);
                Err(error)
            }
            Err(error) => {
                close_target(new).await;
                self.discard(target).await;
                Err(error)
            }
        }
    }

    /// Removes the file of a generation that was not finished.
    async fn discard(&self, target: GenerationFile) {
        if !discard_target(&self.handle, target).await {
            self.add_other_file(target);
        }
    }
}

/// Checks that what lives fits into the new file, and that there is memory for a second index.
fn expect_room(old: &Volume, order: &CompactionOrder) -> Result<(), NotCompacted> {
    let figures = old.figures();
    let room = order.size.saturating_sub(LOG_START + TRAILER + 2 * TOMBSTONE_RESERVE);
    if figures.live > room && !chosen(Sabotage::IgnoreRoom) {
        return Err(NotCompacted::TooSmall { needed: figures.live, room });
    }
    expect_index_memory(figures.index, order.index_memory_max)
}

fn expect_index_memory(needed: u64, available: u64) -> Result<(), NotCompacted> {
    if needed > available && !chosen(Sabotage::IgnoreIndexMemory) {
        return Err(NotCompacted::IndexMemory { needed, available });
    }
    Ok(())
}
