//! How a volume is to be compacted.

use std::rc::Rc;

use crate::runtime::background::{Pace, SharedPace};
use crate::runtime::op::DirId;
use crate::volume::Preallocation;

/// How a volume is to be compacted.
#[derive(Clone)]
pub struct CompactionOrder {
    /// Data directory of the new generation.
    pub target: DirId,
    /// Id of the store to which that directory belongs; `None` for that of the old file.
    pub store: Option<[u8; 16]>,
    /// Length of the new file (bytes).
    pub size: u64,
    /// How its space is allocated.
    pub preallocation: Preallocation,
    /// Whether needles that the device cannot read may be given up. Otherwise they end the compaction.
    pub accept_losses: bool,
    /// Tombstones that are younger than this are kept (nanoseconds).
    pub tombstone_keep_ns: u64,
    /// Objects that expired before this are left out (nanoseconds since 1970); 0 to leave out none.
    pub drop_expired_before_ns: u64,
    /// Whether the new generation is read back from the device and verified before the old one is removed.
    pub verify: bool,
    /// Memory that the index of the new generation may take (bytes).
    pub index_memory_max: u64,
    /// How fast it is copied, beside the paces of the disks.
    pub pace: Pace,
    /// The pace of the disk of the new generation; `None` if it is on the disk of the old one.
    pub target_pace: Option<Rc<SharedPace>>,
}
