//! The admin listener: health, readiness, metrics and status, on a thread of its own.
//!
//! It runs axum on a current-thread tokio runtime, apart from the shards, so that it answers while
//! they hang: what it tells, it reads from the shared counters of [`crate::metrics`] and never waits for
//! a shard. Changes it hands to the daemon's main thread, which talks to the shards.
//!
//! | file | holds |
//! | --- | --- |
//! | `server` | the thread, start and stop |
//! | `bounded` | the listener: how many connections, how long each may live |
//! | `routes` | which path leads where, and what holds for every request |
//! | `accept` | the format of `/metrics` |
//! | `health` | `/healthz`, `/readyz` |
//! | `status` | `/status` |
//! | `volumes` | `/volumes` |
//! | `change` | what the main thread is asked to change |
//! | `error` | errors as JSON |

mod accept;
mod bounded;
mod change;
mod error;
mod health;
mod routes;
mod server;
mod status;
mod volumes;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

pub use change::{Change, Creation, Creations, NewVolume, Refused, Request};
pub use error::ApiError;
pub use health::{Readiness, SilentShard};
pub use routes::router;
pub use server::{AdminHandle, spawn};
pub use status::{DiskStatus, LimitsStatus, ShardStatus, Status, VolumeStatus};

use crate::metrics::{Exporter, Metrics};

/// What bounds the admin listener.
#[derive(Debug, Clone, Copy)]
pub struct AdminLimits {
    /// A shard whose loop has not turned for this long hangs.
    pub hang_after: Duration,
    /// Connections at a time; beyond it, the oldest is cut for the newest.
    pub connections: usize,
    /// A handler that has not answered by then is given up with 503.
    pub answer_within: Duration,
    /// A connection, which carries one request, is cut after this long. Longer than
    /// `answer_within`, so that the 503 can still be sent.
    pub connection_lifetime: Duration,
    /// How long [`AdminHandle::shutdown`] waits for requests under way.
    pub shutdown_within: Duration,
}

impl Default for AdminLimits {
    fn default() -> Self {
        Self {
            hang_after: Duration::from_secs(5),
            connections: 64,
            answer_within: Duration::from_secs(5),
            connection_lifetime: Duration::from_secs(10),
            shutdown_within: Duration::from_secs(2),
        }
    }
}

/// What the handlers know. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AdminState {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) now_ns: fn() -> u64,
    pub(crate) limits: AdminLimits,
    pub(crate) exporter: Arc<Exporter>,
    pub(crate) requests: Sender<Request>,
    pub(crate) creations: Arc<Creations>,
}

impl AdminState {
    /// State over `metrics`. `now_ns` gives the clock in which shards note their turns,
    /// CLOCK_MONOTONIC in nanoseconds; a test passes a clock it can move. Changes are sent to
    /// `requests`; what they make shows in `creations`.
    #[must_use]
    pub fn new(
        metrics: Arc<Metrics>,
        now_ns: fn() -> u64,
        limits: AdminLimits,
        requests: Sender<Request>,
        creations: Arc<Creations>,
    ) -> Self {
        let exporter = Arc::new(Exporter::new(Arc::clone(&metrics), now_ns));
        Self { metrics, now_ns, limits, exporter, requests, creations }
    }
}
