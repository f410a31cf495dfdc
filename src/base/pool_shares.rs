//! The shares of a shard's buffer pool: one table, checked at compile time.
//!
//! Three shares divide the pool:
//!
//! - [`BODIES`] (10 of 16): bodies of one needle, batches, and multi-deletes with their tombstones, on their
//!   way in. An account limits them; beyond it a body waits, and then gets 503.
//! - [`LARGE_TRANSFERS`] (4 of 16): one chunk for each transfer of a large body. Their number is limited;
//!   beyond it 503.
//! - [`READS`] (2 of 16): what the other two leave free. A body that would use it is not admitted.
//!
//! The others overlap them:
//!
//! - [`LENT`] lies in [`BODIES`]: memory that bodies do not use is lent to large transfers, for longer pieces
//!   and for a second piece at a time, so that these have up to half of the pool. While it is lent, bodies
//!   find less free memory than their share and wait: a loan is not called back, but ends with its piece,
//!   within a deadline.
//! - [`BATCH`] lies in [`BODIES`]: the longest batch put leaves room for other bodies.
//! - [`HEADS`] lies in [`READS`]: what reads leave free for request heads, since a request whose head cannot
//!   be received cannot be refused either. Apart from it, reads use whatever is free, in any share.
//! - [`IN_USE_FOR_BACKGROUND`] is a level of use: above it, background work takes no buffer from the pool and
//!   has only its reserved one ([`BACKGROUND_BUFFER`]).
//!
//! One body alone may exceed [`BODIES`], as long as [`READS`] stays free: in the smallest pool a long one
//! could not be stored otherwise.
//!
//! Some buffers have no share, because nothing is served without them. They count as used memory, so that
//! bodies leave room for them: a block for the log of each open volume, blocks for superblocks, tombstones of
//! single deletes and look-ups, and the windows of volumes that are being opened.

use crate::base::limits::{
    BLOCK, CHUNK, DELETE_BODY_MAX, DELETES_MAX, HEAD_BUFFER, HEAD_BUFFERS, NEEDLE_DATA_MAX,
    NEEDLE_LEN_MAX,
};

/// Smallest buffer pool that an operator may configure (bytes).
pub const POOL_LEN_MIN: u64 = 8 << 20;
/// Default size of a buffer pool (bytes).
pub const POOL_LEN_DEFAULT: u64 = 64 << 20;
/// Largest buffer pool (bytes): the largest registered buffer of the kernel.
pub const POOL_LEN_MAX: u64 = 1 << 30;

/// Length of the buffer that is reserved for one kind of background work in a shard (bytes).
pub const BACKGROUND_BUFFER: usize = 256 << 10;
/// Number of kinds of background work with a reserved buffer: checkpoints.
const BACKGROUND_KINDS: usize = 1;

/// A part of a buffer pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShare {
    sixteenths: usize,
}

impl PoolShare {
    const fn new(sixteenths: usize) -> Self {
        assert!(sixteenths <= 16, "a share is at most the whole pool");
        Self { sixteenths }
    }

    /// Size of the share in a pool of `capacity` bytes.
    #[must_use]
    pub const fn of(self, capacity: usize) -> usize {
        capacity / 16 * self.sixteenths
    }

    /// The rest of the pool.
    #[must_use]
    pub const fn rest(self) -> Self {
        Self::new(16 - self.sixteenths)
    }
}

/// Bodies of one needle, batches, and multi-deletes with their tombstones, on their way in.
pub const BODIES: PoolShare = PoolShare::new(10);
/// Transfers of large bodies, each of which has room for one piece of one chunk.
pub const LARGE_TRANSFERS: PoolShare = PoolShare::new(4);
/// What bodies and large transfers leave to reads, request heads and everything else.
pub const READS: PoolShare = PoolShare::new(2);
/// Part of [`BODIES`] that can be lent to large transfers.
pub const LENT: PoolShare = PoolShare::new(4);
/// Part of [`BODIES`] that one batch put may take.
pub const BATCH: PoolShare = PoolShare::new(4);
/// Part of [`READS`] that reads leave free for request heads.
pub const HEADS: PoolShare = PoolShare::new(1);
/// Memory that may be in use, with the new buffer, when background work takes one from the pool.
pub const IN_USE_FOR_BACKGROUND: PoolShare = PoolShare::new(8);

// The table adds up: three shares are the whole pool, and each of the others lies in one of them.
const _: () = assert!(BODIES.sixteenths + LARGE_TRANSFERS.sixteenths + READS.sixteenths == 16);
const _: () = assert!(LENT.sixteenths <= BODIES.sixteenths);
const _: () = assert!(BATCH.sixteenths <= BODIES.sixteenths);
const _: () = assert!(HEADS.sixteenths < READS.sixteenths);
const _: () = assert!(IN_USE_FOR_BACKGROUND.sixteenths < READS.rest().sixteenths);

const SMALLEST: usize = POOL_LEN_MIN as usize;
const DEFAULT: usize = POOL_LEN_DEFAULT as usize;
const NEEDLE: usize = NEEDLE_LEN_MAX as usize;

// Shares are exact in every pool: pools are multiples of 1 MiB.
const _: () = assert!(SMALLEST.is_multiple_of(16 * BLOCK as usize));
const _: () = assert!(POOL_LEN_MIN <= POOL_LEN_DEFAULT && POOL_LEN_DEFAULT <= POOL_LEN_MAX);
// Even the smallest pool takes the largest needle, in and out; the largest multi-delete; transfers of large
// bodies; and, while bodies and transfers use up their shares, request heads and the reserved buffers of
// background work.
const _: () = assert!(NEEDLE <= BODIES.of(SMALLEST));
const _: () =
    assert!(DELETES_MAX * BLOCK as usize + DELETE_BODY_MAX as usize <= BODIES.of(SMALLEST));
const _: () = assert!(2 * NEEDLE_DATA_MAX as usize <= HEADS.rest().of(SMALLEST));
const _: () = assert!(2 * CHUNK as usize <= LARGE_TRANSFERS.of(SMALLEST));
const _: () =
    assert!(HEADS.of(SMALLEST) + BACKGROUND_KINDS * BACKGROUND_BUFFER < READS.of(SMALLEST));
// In a pool of the default size, reads leave as many head buffers as the ring holds, and bodies and transfers
// leave the largest needle to reads as well.
const _: () = assert!(HEAD_BUFFERS as usize * HEAD_BUFFER <= HEADS.of(DEFAULT));
const _: () =
    assert!(HEADS.of(DEFAULT) + BACKGROUND_KINDS * BACKGROUND_BUFFER + NEEDLE <= READS.of(DEFAULT));
