//! Configuration of a shard.

use crate::http::conn::Deadlines;
use crate::http::fid::TokenKey;
use crate::http::head::Dialects;
use crate::runtime::background::PaceLimits;

/// Configuration of a shard.
pub struct ShardConfig {
    /// Deadlines of connections.
    pub deadlines: Deadlines,
    /// Grammars of targets that connections serve.
    pub dialects: Dialects,
    /// Keys of the tokens that requests for fids need.
    pub keys: FidKeys,
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
    /// Limits of the pace of background work on each disk.
    pub background: PaceLimits,
    /// How often volumes are read for their own sake.
    pub reads: ReadPlans,
}

/// Keys of the tokens that requests for fids need; none is needed without a key.
#[derive(Clone, Debug, Default)]
pub struct FidKeys {
    /// For GET and HEAD.
    pub read: Option<TokenKey>,
    /// For PUT, POST and DELETE.
    pub write: Option<TokenKey>,
}

/// How often volumes are read for their own sake, and not for a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadPlans {
    /// Time from the begin of a scrub of a volume to the begin of the next one (nanoseconds); 0: only on
    /// request.
    pub scrub_interval_ns: u64,
    /// Mean time between two reads of random needles of a volume (nanoseconds); 0: only on request.
    pub probe_interval_ns: u64,
}
