//! Who may take memory for a request: bodies on their way in, and transfers of large bodies, so
//! that neither can take what reads of photos need. What is refused is refused at once.
//!
//! Reads leave a sixteenth to the heads of requests: what cannot be read cannot be refused at once either.
//! Of a shard's buffers, five eighths may be taken by bodies of one needle and batches, a quarter is
//! what transfers of large bodies are sure of (each has room for one piece of a chunk), and an eighth
//! is left to reads at least, which may have whatever is free. What bodies leave is lent to the
//! transfers, up to another quarter, for longer pieces and for a second one at a time.

use std::cell::Cell;
use std::rc::Rc;

use super::Shard;
use crate::account::Account;
use crate::buffer::{Buf, PAGE};
use crate::limits::{CHUNK, NEEDLE_DATA_MAX};
use crate::sabotage::{Sabotage, chosen};

/// What a buffer takes besides its content at most (bytes): headers, checksums, alignment.
const AROUND: u64 = 2 * PAGE as u64;
/// Of what is left to be lent, nobody gets more than this part: the next ones get some too.
const LENT_AT_ONCE: u64 = 8;
/// Pause before a buffer is asked for again (nanoseconds).
pub const BUFFER_PAUSE_NS: u64 = 4_000_000;
/// A body waits so long before it is refused (nanoseconds): bursts of large photos pass by then.
const BODY_WAIT_NS: u64 = 100_000_000;
/// So many bodies may wait; what comes beyond is refused at once.
const BODIES_WAITING_MAX: u64 = 64;
/// How long a transfer that is under way waits for a buffer (nanoseconds).
pub const BUFFER_WAIT_NS: u64 = 5_000_000_000;

/// What has been admitted.
pub struct Admission {
    /// Buffers of bodies (bytes).
    bodies: Account,
    /// Large bodies under way, in either direction.
    large: Account,
    /// Lent to them (bytes).
    lent: Account,
    /// Bodies that wait for a moment.
    waiting: Account,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            bodies: Account::new("bytes for bodies"),
            large: Account::new("transfers of large bodies"),
            lent: Account::new("bytes lent to transfers"),
            waiting: Account::new("bodies that wait"),
        }
    }
}

impl Admission {
    /// Nobody is left who could hold anything.
    ///
    /// # Panics
    /// When something was not given back.
    pub fn expect_nothing(&self) {
        let Self { bodies, large, lent, waiting } = self;
        [bodies, large, lent, waiting].into_iter().for_each(|account| account.expect(0));
    }
}

impl Admission {
    /// Whether nobody holds or waits for anything.
    pub fn is_unused(&self) -> bool {
        [&self.bodies, &self.large, &self.lent, &self.waiting].iter().all(|it| it.held() == 0)
    }
}

/// The right to hold buffers for a body; ends when it is dropped.
pub struct BodyPermit {
    shard: Rc<Shard>,
    bytes: usize,
}

impl Drop for BodyPermit {
    fn drop(&mut self) {
        self.shard.admission.bodies.give_back(self.bytes as u64);
    }
}

/// The right to transfer a large body; ends when it is dropped.
pub struct LargePermit {
    shard: Rc<Shard>,
    /// Whether the piece that the transfer is sure of is in use.
    own_in_use: Cell<bool>,
}

impl Drop for LargePermit {
    fn drop(&mut self) {
        self.shard.admission.large.give_back(1);
    }
}

/// The right to hold a buffer for a piece of a large body; ends when it is dropped.
pub struct Grant {
    permit: Rc<LargePermit>,
    is_own: bool,
    lent: u64,
    /// How long the piece may be (bytes); a chunk at least.
    pub len: u64,
}

impl Drop for Grant {
    fn drop(&mut self) {
        if self.is_own {
            self.permit.own_in_use.set(false);
        }
        if !chosen(Sabotage::LeakLoan) {
            self.permit.shard.admission.lent.give_back(self.lent);
        }
    }
}

impl LargePermit {
    /// Room for a piece of at most `wanted` bytes; nothing while one is held already and there is
    /// none to be lent.
    pub fn grant(self: &Rc<Self>, wanted: u64) -> Option<Grant> {
        let lent = &self.shard.admission.lent;
        let left = (self.shard.handle.pool().capacity() as u64 / 4).saturating_sub(lent.held());
        let on_offer = left / LENT_AT_ONCE / CHUNK * CHUNK;
        let is_own = !self.own_in_use.get();
        let sure = if is_own { CHUNK } else { 0 };
        let len = (sure + on_offer).min(wanted.next_multiple_of(CHUNK)).min(NEEDLE_DATA_MAX);
        if len == 0 {
            return None;
        }
        let around = if is_own { 0 } else { AROUND };
        let borrowed = len - sure + around;
        self.own_in_use.set(true);
        lent.take(borrowed);
        Some(Grant { permit: Rc::clone(self), is_own, lent: borrowed, len })
    }
}

/// Whether requests can still be read when so much is in use.
fn leaves_heads(used: usize, capacity: usize) -> bool {
    used <= capacity / 16 * 15
}

impl Shard {
    /// Admits a body that will take so many bytes of buffers, if not now, then in a moment.
    pub async fn admit_body(self: &Rc<Self>, bytes: usize) -> Option<BodyPermit> {
        let waiting = &self.admission.waiting;
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

    /// One may have more than the share of bodies when it is alone; an eighth of all is left to reads
    /// in any case.
    fn try_admit_body(self: &Rc<Self>, bytes: usize) -> Option<BodyPermit> {
        let pool = self.handle.pool();
        let bodies =
            usize::try_from(self.admission.bodies.held()).expect("parts of a pool") + bytes;
        let eighth = pool.capacity() / 8;
        let alone = bodies == bytes;
        if (bodies > 5 * eighth && !alone) || pool.used() + bytes > 7 * eighth {
            return None;
        }
        self.admission.bodies.take(bytes as u64);
        Some(BodyPermit { shard: Rc::clone(self), bytes })
    }

    /// Admits a transfer of a large body.
    pub fn admit_large(self: &Rc<Self>) -> Option<Rc<LargePermit>> {
        let most = self.handle.pool().capacity() as u64 / 4 / (CHUNK + AROUND);
        if self.admission.large.held() >= most {
            return None;
        }
        self.admission.large.take(1);
        Some(Rc::new(LargePermit { shard: Rc::clone(self), own_in_use: Cell::new(false) }))
    }

    /// A buffer for a transfer under way, as `alloc` makes it, for `wanted` bytes of content or less,
    /// but for a chunk. It waits a little for one: its client is held up meanwhile, and nobody else.
    pub async fn buffer_of<T>(
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

    /// A buffer to read a photo to, without waiting.
    pub fn read_buffer(&self, len: usize) -> Option<Buf> {
        let pool = self.handle.pool();
        if leaves_heads(pool.used() + len, pool.capacity()) { pool.alloc(len) } else { None }
    }

    /// A buffer of this length (bytes), without waiting.
    pub fn buffer(&self, len: usize) -> Option<Buf> {
        self.handle.pool().alloc(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{HEAD_BUFFER, HEAD_BUFFERS};

    #[test]
    fn reads_leave_room_for_the_heads_of_as_many_requests_as_the_ring_holds() {
        let capacity = 64 << 20;
        let most = (0..capacity).step_by(PAGE).rev().find(|&used| leaves_heads(used, capacity));
        let left = capacity - most.unwrap();
        assert!(left >= usize::from(HEAD_BUFFERS) * HEAD_BUFFER, "{left}");
        assert!(
            leaves_heads(NEEDLE_DATA_MAX as usize * 2, 8 << 20),
            "a small pool serves the largest"
        );
    }
}
