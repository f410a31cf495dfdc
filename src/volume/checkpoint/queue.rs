//! The queue of checkpoint writers.

use crate::base::pool_shares::BACKGROUND_BUFFER;
use crate::runtime::Handle;
use crate::runtime::background::BackgroundQueue;
use crate::volume::format::PIECE_LEN_MAX;

const _: () = assert!(PIECE_LEN_MAX == BACKGROUND_BUFFER);

/// Creates the queue that the checkpoint writers of all volumes of a shard share: at most one checkpoint at
/// a time is written to each data directory, and one writer always gets a buffer. Otherwise the log that a
/// start has to read would be unbounded.
#[must_use]
pub fn checkpoint_queue(handle: &Handle) -> BackgroundQueue {
    BackgroundQueue::new(handle, PIECE_LEN_MAX)
}
