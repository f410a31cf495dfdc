//! Reading the tail hints.

use super::read_block::read_block;
use crate::base::limits::BLOCK;
use crate::runtime::Handle;
use crate::volume::error::OpenError;
use crate::volume::format::{HINT_OFFSETS, Superblock, TailHint};
use crate::volume::io::VolumeFile;

/// Content of the blocks of the tail hints.
pub struct Hints {
    /// The newest valid hint.
    pub newest: Option<TailHint>,
    /// Whether one of the hints is damaged.
    pub damaged: bool,
    /// Number of sectors that the device could not read.
    pub unread: usize,
}

/// Reads both blocks.
pub async fn read_hints(
    handle: &Handle,
    file: &VolumeFile,
    superblock: &Superblock,
) -> Result<Hints, OpenError> {
    let mut newest: Option<TailHint> = None;
    let (mut damaged, mut missing, mut unread) = (false, false, 0);
    for offset in HINT_OFFSETS {
        let (block, lost) = read_block(handle, file, offset).await?;
        unread += lost;
        let (incarnation, log_end) = (superblock.incarnation, superblock.log_end());
        let hint = TailHint::decode(&block, incarnation, offset, log_end);
        missing |= hint.is_none();
        damaged |= hint.is_none() && block[..BLOCK as usize].iter().any(|byte| *byte != 0);
        newest = newest.into_iter().chain(hint).max_by_key(|hint| hint.number);
    }
    // From the second hint on, both blocks have been written.
    damaged |= missing && newest.is_some_and(|hint| hint.number > 1);
    // The clean flag counts only when this is certainly the last hint.
    let newest = newest.map(|hint| TailHint { clean: hint.clean && !damaged, ..hint });
    Ok(Hints { newest, damaged, unread })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::tests::rig::Rig;

    #[test]
    fn hint_that_was_never_written_is_not_damaged() {
        let (rig, slot) = Rig::with_volume();
        assert!(!slot.volume().open_report().hint_damaged, "there are none");
        let mut rig = Rig::new(&rig.image());
        let slot = rig.open();
        assert!(!slot.volume().open_report().hint_damaged, "there is one");
        // Either is damaged, or not there although the other one is not the first.
        for at in HINT_OFFSETS {
            let mut damaged = Rig::new(&rig.image());
            damaged.rot(at + 20);
            assert!(damaged.open().volume().open_report().hint_damaged, "at byte {at}");
        }
        let mut rig = Rig::new(&rig.image());
        assert!(!rig.open().volume().open_report().hint_damaged, "there are both");
    }
}
