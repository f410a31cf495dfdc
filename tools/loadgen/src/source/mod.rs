//! Where the operations of each command come from.

pub mod fill;
pub mod mixed;
pub mod replay;
pub mod versions;
