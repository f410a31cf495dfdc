//! Where a volume file is.

use crate::node::datadir::FoundVolume;
use crate::runtime::op::DirId;
use crate::volume::Expected;

/// A volume file, with its directory and store.
#[derive(Clone)]
pub struct VolumeLocation {
    /// The file.
    pub file: FoundVolume,
    /// Its directory, as the driver numbers it.
    pub dir: DirId,
    /// Id of the store that the directory belongs to.
    pub store: [u8; 16],
}

impl VolumeLocation {
    /// Identity that the file must have, from its name and directory.
    pub fn expected(&self) -> Expected {
        Expected {
            volume: self.file.id,
            generation: self.file.generation,
            store: self.store,
            hash_bits: None,
            segments_max: None,
            checkpoints: None,
        }
    }
}
