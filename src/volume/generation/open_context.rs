//! What a volume that is being opened gets from its shard.

use std::rc::Rc;

use crate::runtime::background::BackgroundQueue;
use crate::volume::log::Progress;

/// Context in which a volume is opened.
#[derive(Clone, Copy)]
pub struct OpenContext<'a> {
    /// Called from time to time with the progress of recovery.
    pub progress: &'a dyn Fn(Progress),
    /// Queue for checkpoint writers that the volumes of the shard share.
    pub checkpoint_queue: Option<&'a Rc<BackgroundQueue>>,
    /// Whether all configured data directories are in use. One that is not may hold a file of the volume.
    pub all_directories: bool,
}
