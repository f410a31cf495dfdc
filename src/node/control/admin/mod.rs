//! The admin listener: health, readiness, metrics and status, on a thread of its own.
//!
//! It runs axum on a current-thread tokio runtime, apart from the shards, so that it answers while
//! they hang: it reads the shared counters of [`crate::node::metrics`] and never waits for a shard. Changes
//! to volumes are sent to the daemon's main thread, which sends orders to the shards.
//!
//! | file | holds |
//! | --- | --- |
//! | `server` | start and stop of the admin thread |
//! | `bounded` | the listener: bounds on the number and the lifetime of connections |
//! | `routes` | routes, and the handling common to all requests |
//! | `accept` | content negotiation of `/metrics` |
//! | `health` | `/healthz`, `/readyz` |
//! | `status` | `/status` |
//! | `volumes` | `/volumes` |
//! | `change` | requests for changes, sent to the main thread |
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

use crate::node::metrics::{Exporter, Metrics};

/// Limits of the admin listener.
#[derive(Debug, Clone, Copy)]
pub struct AdminLimits {
    /// Time without an event loop iteration after which a shard counts as hung.
    pub hang_after: Duration,
    /// Largest number of connections; beyond it the oldest is closed for a new one.
    pub connections: usize,
    /// Deadline of a handler; after it the response is 503.
    pub answer_within: Duration,
    /// Lifetime of a connection, which carries one request. Longer than `answer_within`, so that the 503 can
    /// still be sent.
    pub connection_lifetime: Duration,
    /// Time that [`AdminHandle::shutdown`] gives requests under way.
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

/// State shared by the handlers. Cheap to clone.
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
    /// Creates the state. `now_ns` is the clock with which shards record their event loop iterations:
    /// CLOCK_MONOTONIC in nanoseconds, or a clock that a test controls. Changes are sent to `requests`;
    /// `creations` holds the volumes that they create.
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
