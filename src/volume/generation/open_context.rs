//! What a volume that is being opened gets from its shard.

use std::rc::Rc;

use crate::runtime::background::{BackgroundQueue, SharedPace};
use crate::runtime::op::DirId;
use crate::volume::log::Progress;

/// Context in which a volume is opened.
#[derive(Clone, Copy)]
pub struct OpenContext<'a> {
    /// Called from time to time with the progress of recovery.
    pub progress: &'a dyn Fn(Progress),
    /// Queue for checkpoint writers that the volumes of the shard share.
    pub checkpoint_queue: Option<&'a Rc<BackgroundQueue>>,
    /// Returns the pace of background work on the disk of a directory; `None` for a volume whose background
    /// work shares its pace with nothing.
    pub pace: Option<&'a dyn Fn(DirId) -> Rc<SharedPace>>,
    /// Whether all configured data directories are in use. One that is not may hold a file of the volume.
    pub all_directories: bool,
}
