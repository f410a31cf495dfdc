//! Whether the name of an open file still leads to it.

use crate::runtime::op::Op;
use crate::volume::Volume;
use crate::volume::error::IoError;
use crate::volume::io::outcome;
use crate::volume::names::volume_name;

impl Volume {
    /// Returns whether the name of the file leads to the open file.
    ///
    /// # Errors
    /// The name could not be looked at.
    pub async fn has_its_name(&self) -> Result<bool, IoError> {
        let name = volume_name(self.superblock.volume, self.superblock.generation);
        let op = Op::IsNameOf { dir: self.dir, name, file: self.file.number() };
        Ok(outcome(&self.handle.submit(op).await)? == 1)
    }
}
