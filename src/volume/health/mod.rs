//! Whether the disk of a volume works: where reads failed, and reads of random needles that find out.
//!
//! - `read_errors`: the places of a file at which reads failed, each counted once.
//!   `recall`: those that are known from earlier starts.
//! - `plan`: how often random needles are read. `probing`: the state of that. `probe`: the task of a volume.
//! - `random_needle`: one of these reads.

mod plan;
mod probe;
mod probing;
mod random_needle;
mod read_errors;
mod recall;

pub use plan::ProbePlan;
pub use probing::Probing;
pub use read_errors::{ReadErrors, Severity};
