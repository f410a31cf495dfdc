//! The frame for background work: work that takes seconds to hours while its shard serves requests.
//!
//! A user owns a [`BackgroundTask`] for each piece of work and supplies the steps. The frame starts and
//! stops the task, paces its steps, spaces out attempts that fail, and provides a buffer. It does not know
//! what the work is.
//!
//! - `task`: start, stop, and the loop that attempts the work whenever it is due. `backoff`: pauses after
//!   failures.
//! - `run`: one attempt: its steps, their pace, and its buffer. `progress`: how far it is. `stopped`: the
//!   request to stop.
//! - `pace`, `rate`: rates. `shared_pace`: the pace that all work of a shard on one disk shares, and that
//!   yields to requests. `disk_load`: how long these wait for the disk. `quantile`: estimates of that.
//! - `queue`: what the tasks of a shard share: turns by data directory, and a reserved buffer
//!   (`reserved_buffer`). `work_buffer`: the buffer of one attempt.

mod backoff;
mod disk_load;
mod pace;
mod progress;
mod quantile;
mod queue;
mod rate;
mod reserved_buffer;
mod run;
mod shared_pace;
mod stopped;
mod task;
#[cfg(test)]
mod tests;
mod work_buffer;

pub use backoff::Backoff;
pub use disk_load::{DiskLoad, Waited};
pub use pace::Pace;
pub use progress::BackgroundProgress;
pub use queue::BackgroundQueue;
pub use run::BackgroundRun;
pub use shared_pace::{PaceLimits, SharedPace};
pub use stopped::Stopped;
pub use task::BackgroundTask;
pub use work_buffer::{NoWorkBuffer, WorkBuffer};
