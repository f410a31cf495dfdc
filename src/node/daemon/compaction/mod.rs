//! Compactions of volumes: which are wanted, in which order they run, and whether disks have room for them.
//!
//! | file | holds |
//! | --- | --- |
//! | `now` | the times of one look at the volumes |
//! | `clock_guard` | which photos that have expired may be left out |
//! | `room` | the space that compactions need, and what is kept free for them |
//! | `policy` | which volumes to compact by themselves, and in which order. Pure |
//! | `job`, `queue` | compactions that wait or run: one at a time in each data directory |
//! | `history` | what happened to a volume so far: writes, failures, compactions |
//! | `state` | all of it, as the manager holds it |
//! | `request` | compactions that an operator requests or cancels; pausing |
//! | `begin` | the order to the shard, and the checks before it |
//! | `end` | compactions that have ended |
//! | `look` | the regular look: ends, begins, the policy |
//! | `next_volume` | volumes created ahead of need |

mod begin;
mod clock_guard;
mod end;
mod history;
mod job;
mod look;
mod next_volume;
mod now;
mod policy;
mod queue;
mod request;
mod room;
mod state;
#[cfg(test)]
mod tests;

pub use now::Now;
pub use state::CompactionState;
