//! The blocks of a file that are reserved in steps ahead of the log, instead of all at once. Such a file is
//! *partial* (`format::PARTIAL`) until the whole of it is reserved.
//!
//! - `step`: length of a step. `block_steps`: state of the steps of a volume.
//! - `first_step`: the step at opening. `reserve`: all others. `task`: takes a step when one is due, and
//!   declares the file whole at the end.

pub(in crate::volume) mod block_steps;
pub(in crate::volume) mod first_step;
mod reserve;
pub(in crate::volume) mod step;
pub(in crate::volume) mod task;
