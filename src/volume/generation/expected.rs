//! What a volume file must be to be opened, and how it is opened.

use crate::base::types::VolumeId;
use crate::volume::checkpoint::Checkpointing;

/// Properties that a file must have according to its name and directory.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Number of the volume, from the file name.
    pub volume: VolumeId,
    /// Generation, from the file name.
    pub generation: u64,
    /// Id of the store to which the data directory belongs.
    pub store: [u8; 16],
    /// Number of bits of the index hash that are used, so that collisions happen; for tests.
    pub hash_bits: Option<u32>,
    /// Maximum number of segments of the index; for tests of memory shortage.
    pub segments_max: Option<usize>,
    /// When and how fast checkpoints are written. `None`: they are neither written nor read.
    pub checkpoints: Option<Checkpointing>,
}
