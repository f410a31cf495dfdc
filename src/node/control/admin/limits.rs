//! Limits of the admin listener.

use std::time::Duration;

use crate::base::limits::STREAMS_MAX;

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
    /// Largest number of lists that are sent at the same time.
    pub streams: usize,
    /// Time after which a connection is closed whose client takes nothing more of a list.
    pub stream_silence: Duration,
    /// Number of times that a piece of a list is asked for again while its shard has no buffer.
    pub stream_attempts: u32,
    /// Pause before each of them.
    pub stream_pause: Duration,
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
            streams: STREAMS_MAX,
            stream_silence: Duration::from_secs(60),
            stream_attempts: 60,
            stream_pause: Duration::from_millis(500),
            shutdown_within: Duration::from_secs(2),
        }
    }
}
