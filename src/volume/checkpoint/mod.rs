//! Checkpoints: the index of a volume in a file, so that a start reads only the log written since.
//!
//! - `checkpoints`: state of the checkpoints of a volume. `checkpointing`: settings. `figures`: figures.
//! - `task`: writes a checkpoint when one is due. `write`: writes one. `piece_writer`: its pieces.
//!   `not_written`: why there is none. `distrust`: removes one that must not be used. `queue`: what the
//!   volumes of a shard share. The frame is [`crate::runtime::background`].
//! - `load`: reads one at a start. `reader`, `restoring`: its bytes, and the state that is restored from
//!   them. `convert`: positions, damage and properties as they are saved.

pub(in crate::volume) mod checkpointing;
pub(in crate::volume) mod checkpoints;
mod convert;
mod distrust;
pub(in crate::volume) mod figures;
pub(in crate::volume) mod load;
mod not_written;
mod piece_writer;
mod queue;
mod reader;
mod restoring;
pub(in crate::volume) mod task;
mod write;

pub use checkpointing::Checkpointing;
pub use figures::CheckpointFigures;
pub use not_written::NotWritten;
pub use queue::checkpoint_queue;
