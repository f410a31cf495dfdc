//! Checkpoints: the index of a volume in a file, so that a start reads only the log written since.

pub(in crate::volume) mod load;
pub(in crate::volume) mod queue;
pub(in crate::volume) mod write;

pub use queue::CheckpointQueue;
pub use write::{CheckpointFigures, Checkpointing, NotWritten};
