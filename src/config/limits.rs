//! Section `[limits]`: bounds and deadlines that an operator may move.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::size::{ByteSize, GIB};

/// Bounds and deadlines. Beyond a bound requests are answered 503 (or 413); past a deadline 408, or the
/// connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections of the data API, for the whole daemon. 1 to 1,000,000.
    pub connections: u32,
    /// Buffer memory that each shard registers with its ring: a multiple of 1 MiB, 8 MiB to 1 GiB
    /// (what the kernel takes as one registered buffer).
    pub buffer_memory_per_shard: ByteSize,
    /// Operations in flight per device, shared by the shards with volumes on it. 1 to 1024.
    pub device_in_flight: u32,
    /// Seconds from the first byte of a request head to its last. 1 to 3600.
    pub head_timeout_seconds: u32,
    /// Seconds a connection may be idle between requests. 1 to 86,400; below 75 there is a warning.
    pub idle_timeout_seconds: u32,
    /// Seconds in which a client must take some bytes of an answer, and besides what its length allows at
    /// `body_min_bytes_per_second`, each 64 KiB of it. 1 to 3600.
    pub send_timeout_seconds: u32,
    /// Rate below which an upload is cut off, in bytes per second. 1 to 1,073,741,824.
    pub body_min_bytes_per_second: u32,
    /// Seconds that each 64 KiB of an upload may take besides what that rate gives it. 1 to 3600.
    pub body_grace_seconds: u32,
    /// Seconds that requests under way get to finish at shutdown. 0 to 3600.
    pub drain_timeout_seconds: u32,
    /// Largest body of a PUT or POST. 1 B to 1 GiB.
    pub largest_body: ByteSize,
    /// Largest body of a batch, which is committed in one piece. 1 B to 16 MiB; never more than a quarter
    /// of `buffer_memory_per_shard` ([`Self::batch_bytes`]).
    pub largest_batch: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            buffer_memory_per_shard: ByteSize::mib(64),
            device_in_flight: 96,
            head_timeout_seconds: 5,
            idle_timeout_seconds: 75,
            send_timeout_seconds: 10,
            body_min_bytes_per_second: 16_384,
            body_grace_seconds: 5,
            drain_timeout_seconds: 30,
            largest_body: ByteSize::mib(64),
            largest_batch: ByteSize::mib(8),
        }
    }
}

impl Limits {
    /// The largest value of `largest_body` that a configuration may have.
    pub const LARGEST_BODY_MAX: ByteSize = ByteSize(GIB);

    /// Largest body of a batch, in bytes: `largest_batch`, but never more than a quarter of
    /// `buffer_memory_per_shard`, so that the buffers hold it beside everything else.
    #[must_use]
    pub fn batch_bytes(&self) -> u64 {
        self.largest_batch.bytes().min(self.buffer_memory_per_shard.bytes() / 4)
    }

    /// `head_timeout_seconds` as a duration.
    #[must_use]
    pub fn head_timeout(&self) -> Duration {
        Duration::from_secs(self.head_timeout_seconds.into())
    }

    /// `idle_timeout_seconds` as a duration.
    #[must_use]
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_seconds.into())
    }

    /// `send_timeout_seconds` as a duration.
    #[must_use]
    pub fn send_timeout(&self) -> Duration {
        Duration::from_secs(self.send_timeout_seconds.into())
    }

    /// `body_grace_seconds` as a duration.
    #[must_use]
    pub fn body_grace(&self) -> Duration {
        Duration::from_secs(self.body_grace_seconds.into())
    }

    /// `drain_timeout_seconds` as a duration.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.drain_timeout_seconds.into())
    }
}
