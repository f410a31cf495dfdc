//! Section `[limits]`: bounds and deadlines that an operator may change.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::pool_shares::{BATCH, POOL_LEN_DEFAULT};
use crate::base::size::{ByteSize, GIB};

/// Bounds and deadlines. Requests beyond a bound are answered with 503 or 413; after a missed deadline with
/// 408, or the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest number of connections of the data API, for the whole daemon. 1 to 1,000,000.
    pub connections: u32,
    /// Buffer memory that each shard registers with its ring: a multiple of 1 MiB, 8 MiB to 1 GiB (the
    /// largest size of one registered buffer in the kernel).
    pub buffer_memory_per_shard: ByteSize,
    /// Largest number of operations in flight per device, divided among the shards with volumes on it.
    /// 1 to 1024.
    pub device_in_flight: u32,
    /// Seconds from the first byte of a request head to its last. 1 to 3600.
    pub head_timeout_seconds: u32,
    /// Seconds a connection may be idle between requests. 1 to 86,400; below 75 there is a warning.
    pub idle_timeout_seconds: u32,
    /// Seconds within which a client must receive some bytes of a response; also the seconds allowed for each
    /// 64 KiB of it, in addition to the time at `body_min_bytes_per_second`. 1 to 3600.
    pub send_timeout_seconds: u32,
    /// Minimum rate of an upload, in bytes per second. 1 to 1,073,741,824.
    pub body_min_bytes_per_second: u32,
    /// Seconds allowed for each 64 KiB of an upload, in addition to the time at that rate. 1 to 3600.
    pub body_grace_seconds: u32,
    /// Seconds within which requests under way must finish at shutdown. 0 to 3600.
    pub drain_timeout_seconds: u32,
    /// Largest body of a PUT or POST. 1 B to 1 GiB.
    pub largest_body: ByteSize,
    /// Largest body of a batch put, which is written in one commit. 1 B to 16 MiB; the effective limit is at
    /// most a quarter of `buffer_memory_per_shard` ([`Self::batch_bytes`]).
    pub largest_batch: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            buffer_memory_per_shard: ByteSize(POOL_LEN_DEFAULT),
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
    /// Upper end of the range of `largest_body`.
    pub const LARGEST_BODY_MAX: ByteSize = ByteSize(GIB);

    /// Effective limit of the body of a batch put (bytes): `largest_batch`, but at most a quarter of
    /// `buffer_memory_per_shard`, so that buffers are left for other requests.
    #[must_use]
    pub fn batch_bytes(&self) -> u64 {
        let pool = usize::try_from(self.buffer_memory_per_shard.bytes()).unwrap_or(usize::MAX);
        self.largest_batch.bytes().min(BATCH.of(pool) as u64)
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
