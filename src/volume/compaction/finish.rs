//! The end of a compaction, after the exchange: the last commits are read back, and the old file is removed.

use std::rc::Rc;

use super::compacted::Compacted;
use super::not_compacted::NotCompacted;
use super::target::generation_file;
use super::work::Work;
use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::generation::remove::remove_others;
use crate::volume::slot::compaction_progress::CompactionPhase;
use crate::volume::{GenerationFile, Slot};

/// Pause before the removal of the old file is tried again (nanoseconds).
const PAUSE_NS: u64 = 1_000_000_000;
/// Times that the removal of the old file is tried.
const REMOVALS_MAX: u32 = 10;

/// Reads the last commits back, and removes the old file. The new one counts already, so that this is not
/// cancelled: what is left to read back is short. If the old file stays, the slot knows of it.
pub async fn finish(mut work: Work<'_>) -> Compacted {
    work.enter_phase(CompactionPhase::Removing);
    let (slot, old, new) = (work.slot, Rc::clone(&work.old), Rc::clone(&work.new));
    let superseded = generation_file(old.id(), old.generation(), old.dir(), old.superblock.store);
    slot.add_other_file(superseded);
    old.checkpoints.stop().await;
    old.steps.stop().await;
    let verified = work.read_rest_back().await;
    let result = work.result();
    drop(work);
    old.free_index().await;
    let removed = match verified {
        Ok(()) => remove_old(slot, superseded).await,
        failed => failed,
    };
    match removed {
        Ok(()) => {
            slot.forget_other_file(superseded.generation());
            // Reads in flight keep the file, and with it the space, until they end.
            if !chosen(Sabotage::KeepOldFileOpen)
                && let Some(file) = Rc::into_inner(old).and_then(|old| Rc::into_inner(old.file))
            {
                file.close().await;
            }
            // There may have been no space for the next step of the new file.
            new.retry_step().await;
        }
        Err(why) => tracing::error!(
            volume = slot.id().0,
            "the volume was compacted, but the file of generation {} is kept: {why}; the next start \
             removes it, and until then the volume is not compacted again",
            superseded.generation()
        ),
    }
    new.count_extents().await;
    result
}

/// Removes the file of the old generation. Until that is durable, no other compaction of the volume may
/// begin. A cancellation ends only the pauses between attempts.
async fn remove_old(slot: &Slot, old: GenerationFile) -> Result<(), NotCompacted> {
    let handle = slot.handle();
    let mut tries = 0;
    loop {
        // An earlier attempt may have removed the name, and failed to make that durable.
        let Err(error) = remove_others(handle, &mut vec![old]).await else { return Ok(()) };
        tries += 1;
        let pause = handle.sleep_until(handle.now() + PAUSE_NS);
        let is_last = tries == REMOVALS_MAX;
        if is_last || slot.compaction_task().unless_stopped(pause).await.is_err() {
            return Err(NotCompacted::Io("remove the old file", error));
        }
    }
}
