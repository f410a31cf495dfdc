//! Configuration of a shard.

use crate::http::conn::Deadlines;

/// Configuration of a shard.
pub struct ShardConfig {
    /// Deadlines of connections.
    pub deadlines: Deadlines,
    /// `Cache-Control` of objects.
    pub cache_control: String,
    /// Maximum length of the body of a photo (bytes).
    pub body_max: u64,
    /// Maximum length of a batch (bytes).
    pub batch_max: u64,
    /// Maximum number of connections of the whole daemon.
    pub connections_max: u64,
    /// Maximum number of connections beyond that limit that this shard refuses with a 503 at the same time;
    /// further ones are closed without a reply.
    pub refusals_max: u64,
    /// Maximum time that requests under way may take while the shard drains (nanoseconds).
    pub drain_ns: u64,
    /// Whether a configured data directory is missing, so that an unknown volume may be in it.
    pub disk_missing: bool,
    /// Whether deletes and failed writes are logged.
    pub audit_log: bool,
    /// Pace of compactions.
    pub background: BackgroundRates,
}

/// Bytes per second that background work makes at least, and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackgroundRates {
    /// However busy the shard is.
    pub min: u64,
    /// However idle the shard is.
    pub max: u64,
}

impl Default for BackgroundRates {
    fn default() -> Self {
        Self { min: 4 << 20, max: 256 << 20 }
    }
}
