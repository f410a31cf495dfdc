//! The health of the volumes and disks: which are suspect, and what is remembered of that across starts.
//!
//! - `errors`: the errors of a volume or a disk within ten minutes, and how many are too many.
//! - `records`: what is known, and the threads that write it to the data directories.
//! - `state`: the state of it all. `look`: the regular look, which decides. `act`: orders to the shards, and
//!   the end of a suspicion. `poison`: failed writes, and whether the daemon ends because of them.
//! - `disk_speed`: how long the reads of a disk take. `slow`: disks whose reads take too long.

mod act;
mod disk_speed;
mod errors;
mod look;
mod poison;
mod records;
mod slow;
mod state;
#[cfg(test)]
mod tests;

pub(in crate::node::daemon) use records::Records;
pub(in crate::node::daemon) use state::HealthState;
