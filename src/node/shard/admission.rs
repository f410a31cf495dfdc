//! Admission: limits the buffer memory that incoming bodies and transfers of large bodies take, so that
//! neither uses up the memory that reads of photos need. Reads and large transfers that are not admitted
//! are refused at once; bodies after at most `BODY_WAIT_NS`.
//!
//! The shares of a shard's buffer pool are in [`crate::base::pool_shares`], with what they overlap.

use std::cell::Cell;
use std::rc::Rc;

use crate::base::account::Account;
use crate::base::limits::{CHUNK, NEEDLE_DATA_MAX};
use crate::base::pool_shares::{BODIES, HEADS, LARGE_TRANSFERS, LENT, POOL_LEN_MIN, READS};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::Handle;
use crate::runtime::buffer::{Buf, PAGE};

/// Maximum overhead of a buffer beyond its content (bytes): headers, checksums, alignment.
const OVERHEAD: u64 = 2 * PAGE as u64;
/// Divisor of the memory that can still be lent: one grant gets at most this fraction of it, so that
/// memory is left for the next grants.
const LENT_DIVISOR: u64 = 8;
/// Pause between two attempts to allocate a buffer (nanoseconds).
pub const BUFFER_PAUSE_NS: u64 = 4_000_000;
/// Maximum time that a body waits for admission (nanoseconds): bursts of large photos are over by then.
const BODY_WAIT_NS: u64 = 100_000_000;
/// Maximum number of bodies that wait for admission; further ones are refused at once.
const BODIES_WAITING_MAX: u64 = 64;
/// Maximum time that a transfer under way waits for a buffer (nanoseconds).
pub const BUFFER_WAIT_NS: u64 = 5_000_000_000;

/// Accounts of the admitted bodies and transfers, and the buffer pool whose memory they share.
pub struct Admission {
    handle: Handle,
    /// Buffers of bodies (bytes).
    bodies: Account,
    /// Transfers of large bodies under way, in either direction (count).
    large: Account,
    /// Memory lent to large transfers beyond their reserved share (bytes).
    lent: Account,
    /// Bodies that wait for admission (count).
    waiting: Account,
}

impl Admission {
    /// Creates the accounts of the buffer pool of this runtime.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        Self {
            handle: handle.clone(),
            bodies: Account::new("bytes for bodies"),
            large: Account::new("transfers of large bodies"),
            lent: Account::new("bytes lent to transfers"),
            waiting: Account::new("bodies that wait"),
        }
    }

    /// Asserts that nothing is admitted and no body waits.
    ///
    /// # Panics
    /// When something was not given back.
    pub fn expect_nothing(&self) {
        let Self { bodies, large, lent, waiting, handle: _ } = self;
        [bodies, large, lent, waiting].into_iter().for_each(|account| account.expect(0));
    }

    /// Whether nothing is admitted and no body waits.
    pub fn is_unused(&self) -> bool {
        [&self.bodies, &self.large, &self.lent, &self.waiting].iter().all(|it| it.held() == 0)
    }

    /// Admits a body that takes `bytes` of buffers. Waits up to `BODY_WAIT_NS`; returns `None` after that,
    /// or at once when `BODIES_WAITING_MAX` bodies wait already.
    pub async fn admit_body(self: &Rc<Self>, bytes: usize) -> Option<BodyPermit> {
        let waiting = &self.waiting;
        let deadline = self.handle.now() + BODY_WAIT_NS;
        loop {
            let permit = self.try_admit_body(bytes);
            let may_wait = waiting.held() < BODIES_WAITING_MAX && self.handle.now() < deadline;
            if permit.is_some() || !may_wait {
                return permit;
            }
            waiting.take(1);
            self.handle.sleep_until(self.handle.now() + BUFFER_PAUSE_NS).await;
            waiting.give_back(1);
        }
    }

    /// Admits a body if there is memory now. A body may exceed the share of bodies when it is the only one;
    /// the share of reads is left to them in any case.
    fn try_admit_body(self: &Rc<Self>, bytes: usize) -> Option<BodyPermit> {
        let pool = self.handle.pool();
        let bodies = usize::try_from(self.bodies.held()).expect("a pool is at most 1 GiB") + bytes;
        let alone = bodies == bytes;
        if (bodies > BODIES.of(pool.capacity()) && !alone)
            || pool.used() + bytes > READS.rest().of(pool.capacity())
        {
            return None;
        }
        self.bodies.take(bytes as u64);
        Some(BodyPermit { admission: Rc::clone(self), bytes })
    }

    /// Admits a transfer of a large body; `None` when their share of the pool is used up.
    pub fn admit_large_transfer(self: &Rc<Self>) -> Option<Rc<TransferPermit>> {
        let share = LARGE_TRANSFERS.of(self.handle.pool().capacity()) as u64;
        let limit = share / (CHUNK + OVERHEAD);
        if self.large.held() >= limit {
            return None;
        }
        self.large.take(1);
        Some(Rc::new(TransferPermit { admission: Rc::clone(self), own_in_use: Cell::new(false) }))
    }

    /// Allocates a buffer for a transfer under way with `alloc`, for `wanted` bytes of content, or fewer
    /// down to one chunk. When there is no buffer for one chunk either, it waits up to `BUFFER_WAIT_NS`,
    /// which holds up only the client of this transfer, and then returns `None`.
    pub async fn wait_for_buffer<T>(
        &self,
        mut wanted: u64,
        mut alloc: impl FnMut(u64) -> Option<T>,
    ) -> Option<T> {
        let deadline = self.handle.now() + BUFFER_WAIT_NS;
        loop {
            if let Some(found) = alloc(wanted) {
                return Some(found);
            }
            if wanted > CHUNK {
                wanted = (wanted / 2 / CHUNK * CHUNK).max(CHUNK);
            } else if self.handle.now() < deadline {
                self.handle.sleep_until(self.handle.now() + BUFFER_PAUSE_NS).await;
            } else {
                return None;
            }
        }
    }

    /// Allocates a buffer of `len` bytes for reading a photo, without waiting. `None` when memory for request
    /// heads would become short.
    pub fn read_buffer(&self, len: usize) -> Option<Buf> {
        let pool = self.handle.pool();
        if leaves_heads(pool.used() + len, pool.capacity()) { pool.alloc(len) } else { None }
    }

    /// Allocates a buffer of `len` bytes, without waiting.
    pub fn buffer(&self, len: usize) -> Option<Buf> {
        self.handle.pool().alloc(len)
    }
}

/// Permit to hold buffers for a body; returned when dropped.
pub struct BodyPermit {
    admission: Rc<Admission>,
    bytes: usize,
}

impl Drop for BodyPermit {
    fn drop(&mut self) {
        self.admission.bodies.give_back(self.bytes as u64);
    }
}

/// Permit to transfer a large body; returned when dropped.
pub struct TransferPermit {
    admission: Rc<Admission>,
    /// Whether the piece that is reserved for this transfer is in use.
    own_in_use: Cell<bool>,
}

impl Drop for TransferPermit {
    fn drop(&mut self) {
        self.admission.large.give_back(1);
    }
}

/// Permit to hold a buffer for one piece of a large body; returned when dropped.
pub struct Grant {
    permit: Rc<TransferPermit>,
    is_own: bool,
    lent: u64,
    /// Maximum length of the piece (bytes), at least one chunk.
    pub len: u64,
}

impl Drop for Grant {
    fn drop(&mut self) {
        if self.is_own {
            self.permit.own_in_use.set(false);
        }
        if !chosen(Sabotage::LeakLoan) {
            self.permit.admission.lent.give_back(self.lent);
        }
    }
}

impl TransferPermit {
    /// Grants memory for a piece of at most `wanted` bytes, rounded up to whole chunks. Returns `None` while
    /// the reserved piece is in use and no memory can be lent.
    pub fn grant(self: &Rc<Self>, wanted: u64) -> Option<Grant> {
        let lent = &self.admission.lent;
        let share = LENT.of(self.admission.handle.pool().capacity()) as u64;
        let left = share.saturating_sub(lent.held());
        let lendable = left / LENT_DIVISOR / CHUNK * CHUNK;
        let is_own = !self.own_in_use.get();
        let sure = if is_own { CHUNK } else { 0 };
        let len = (sure + lendable).min(wanted.next_multiple_of(CHUNK)).min(NEEDLE_DATA_MAX);
        if len == 0 {
            return None;
        }
        let overhead = if is_own { 0 } else { OVERHEAD };
        let borrowed = len - sure + overhead;
        self.own_in_use.set(true);
        lent.take(borrowed);
        Some(Grant { permit: Rc::clone(self), is_own, lent: borrowed, len })
    }
}

// In the smallest pool there is a transfer, and a loan of at least one chunk if nothing else is lent.
const _: () = assert!(CHUNK + OVERHEAD <= LARGE_TRANSFERS.of(POOL_LEN_MIN as usize) as u64);
const _: () = assert!(CHUNK <= LENT.of(POOL_LEN_MIN as usize) as u64 / LENT_DIVISOR);

/// Whether enough memory stays free to receive request heads when `used` of `capacity` bytes are in use.
fn leaves_heads(used: usize, capacity: usize) -> bool {
    used <= HEADS.rest().of(capacity)
}

#[cfg(test)]
mod tests;
