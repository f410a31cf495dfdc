//! Where a volume file is.

use crate::node::datadir::FoundVolume;
use crate::runtime::op::DirId;

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
