//! Limits of the admin listener.

use std::time::Duration;

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
    /// Time that the stop of the service gives requests under way.
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
