//! What every part uses: types, limits, time, threads, the log, system calls.

pub mod accept;
pub mod access_trace;
pub mod account;
pub mod buckets;
pub mod calendar;
pub mod cluster;
pub mod host_port;
pub mod limits;
pub mod logging;
pub mod new_name;
pub mod pool_shares;
pub mod sabotage;
pub mod size;
pub mod stream_position;
pub mod sys;
pub mod threads;
pub mod throttle;
pub mod types;

#[cfg(test)]
pub(crate) mod panicking_subscriber;
