//! The mark of a volume that moves to another data directory.
//!
//! Two generations in different directories are on different disks, and one of them may be missing at a
//! start. Without a mark a start that finds the older one only would serve it, with what was stored in the
//! newer one absent, and would write to it: later, with both, the newer one would count, and those writes
//! would be lost. So the older file says durably that a newer one may count elsewhere, before that can be
//! true. A start that serves it all the same, because all data directories are in use and none has a newer
//! one that counts, removes the mark, and from then on no file elsewhere counts as made from it.

use crate::volume::Volume;
use crate::volume::error::StateError;
use crate::volume::format::Superblock;

impl Volume {
    /// Marks the file as moving. When this returns, the mark is on stable media, and a generation in another
    /// data directory may be finished. Called before the superblock of that generation is written with
    /// another state than *building*.
    ///
    /// # Errors
    /// See [`StateError`]. After a failed write the volume is poisoned.
    pub async fn begin_move(&self) -> Result<(), StateError> {
        let change =
            |superblock: &mut Superblock| *superblock = superblock.clone().with_moving(true);
        self.change_superblock(change).await
    }

    /// Returns whether the file is marked as moving.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.current_superblock().is_moving()
    }
}
