//! Scrub: everything that lives in a volume is read and verified while it serves, so that damage is found
//! before somebody asks for the photo; and the index is compared with the log.
//!
//! - `flaw`: what can be wrong. `scrubbed`: the result of a pass. `plan`: when passes are due.
//! - `run`: the task of a volume: passes when they are due, and the neighbourhood of errors at once.
//!   `pass`: one pass, from the start of the log to its end.
//! - `walk`: commit by commit through the log, past damage. `needle`: verifying one needle. `parts`: the
//!   parts of multipart objects against their manifests. `staged`: what was read of the last commit, until
//!   the next one shows whether it was torn.
//! - `copies`: copies of needles that a walk makes.
//! - `steps`: pace, and what ends a scrub early. `walk_all`: a whole walk, in steps.
//! - `tally`: what the log says lives, as sums. `compare`: the index against it. `owners`: which live needles
//!   are in ranges that cannot be understood. `neighbourhood`: a range of the log, without its commits.

mod compare;
pub(in crate::volume) mod copies;
mod flaw;
pub(in crate::volume) mod needle;
mod neighbourhood;
mod owners;
pub(in crate::volume) mod parts;
mod pass;
mod plan;
mod run;
mod scrubbed;
pub(in crate::volume) mod staged;
pub(in crate::volume) mod steps;
mod tally;
#[cfg(test)]
mod tests;
pub(in crate::volume) mod walk;
mod walk_all;

pub use flaw::{Finding, Flaw};
pub use plan::ScrubPlan;
pub use scrubbed::Scrubbed;
