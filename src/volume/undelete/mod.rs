//! Taking a deleted photo back: its deletion is looked for from the end of the log back, its old bytes are
//! verified where they are, and appended as a new needle.
//!
//! - `order`: what is taken back. `not_undeleted`: why it is not. `ended_early`: the same, or that the file
//!   was exchanged, so that it begins anew.
//! - `sought`: what is looked for. `search`: the walk, section by section from the end of the log.
//! - `deleted`: the deleted needle and its parts, verified.
//! - `run`: the task. The last step, inside the gate, is in [`Slot`](crate::volume::Slot).

mod deleted;
mod ended_early;
mod not_undeleted;
mod order;
mod run;
mod search;
mod sought;
#[cfg(test)]
mod tests;

pub(in crate::volume) use ended_early::EndedEarly;
pub use not_undeleted::NotUndeleted;
pub use order::UndeleteOrder;
