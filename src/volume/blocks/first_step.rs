//! The step of a partial file at its opening.

use crate::base::limits::BLOCK;
use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::error::IoError;
use crate::volume::io::VolumeFile;
use crate::volume::log::append_log::AppendLog;

/// Reserves the first step behind the recovered end of the log; `seals` says whether a seal is written there.
/// If the file system does not have all of it, reserves a part. The blocks that an earlier process reserved
/// are there already, so that a seal and deletes find their space also on a full disk. Returns the error of
/// the whole step, if that failed.
///
/// # Errors
/// The error of the sync of the file. The error of the step if there is no block for the seal.
pub async fn reserve_first(
    log: &AppendLog,
    file: &VolumeFile,
    step: u64,
    seals: bool,
) -> Result<Option<IoError>, IoError> {
    let (from, whole) = (log.tail(), step.min(log.unreserved()));
    if whole == 0 {
        return Ok(None);
    }
    let failed = file.allocate(from, whole).await.err();
    let len = if failed.is_some() { reserve_part(log, file, whole).await } else { whole };
    if len > 0 {
        if !chosen(Sabotage::SkipStepSync) {
            file.sync().await?;
        }
        log.extend_reserved(from + len);
    }
    match failed {
        Some(error) if seals && len == 0 => Err(error),
        failed => Ok(failed),
    }
}

/// Reserves what there is of a step of `whole` bytes that failed, by halves, until there is enough for a seal
/// and for deletes: others need space on the disk, too. Returns the length (bytes).
async fn reserve_part(log: &AppendLog, file: &VolumeFile, whole: u64) -> u64 {
    let (from, enough) = (log.tail(), log.end_with(0, true));
    let (mut end, mut len) = (from, half(whole));
    while len > 0 && end < enough {
        if file.allocate(end, len).await.is_ok() {
            end += len;
        }
        len = half(len);
    }
    end - from
}

/// Half of a length, in whole blocks (bytes).
fn half(len: u64) -> u64 {
    len / 2 / BLOCK * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::tests::rig::{FILE, Rig, draft, superblock};
    use crate::volume::{Preallocation, Refusal, Slot, Superblock};

    fn reserved_end(slot: &Slot) -> u64 {
        slot.volume().log.reserved_end()
    }

    #[test]
    fn blocks_that_are_reserved_at_a_start_survive_a_power_cut() {
        let small = Superblock { size: 1 << 20, ..superblock() };
        let (mut rig, slot) = Rig::preallocated(small, Preallocation::InSteps);
        rig.world.set_capacity(0);
        let mut stored = (0..100).map(|n| {
            let draft = draft(&rig.pool, n, 700, None);
            rig.try_store(&slot, n, draft)
        });
        assert_eq!(stored.find(Result::is_err), Some(Err(Refusal::Full)), "the disk is full");
        let before = reserved_end(&slot);
        let mut rig = Rig::new(&rig.image());
        let slot = rig.open();
        assert!(reserved_end(&slot) > before, "there is space again");
        let left = rig.world.look(|snapshot| snapshot.wreck().image(|_| false, 0));
        let blocks = usize::try_from(reserved_end(&slot) / BLOCK).unwrap();
        assert_eq!(left.files[FILE].allocated().missing(&(0..blocks)), 0);
    }
}
