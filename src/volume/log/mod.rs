//! The log: needles are appended in commits, and found again after a restart.

pub(in crate::volume) mod append;
pub(in crate::volume) mod contents;
pub(in crate::volume) mod recover;
pub(in crate::volume) mod scan;

pub use append::Log;
pub use recover::{DamagedPlace, Ending, LogEnd, Progress};
