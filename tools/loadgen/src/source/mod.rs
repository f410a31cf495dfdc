//! Sources of operations, one per command.

pub mod fill;
pub mod mixed;
pub mod replay;
pub mod versions;
