//! Who may take memory for a request: bodies on their way in, and transfers of large bodies, so
//! that neither can take what reads of photos need. What is refused is refused at once.

use std::cell::Cell;
use std::rc::Rc;

use super::Shard;
use crate::buffer::Buf;
use crate::limits::{CHUNK, NEEDLE_DATA_MAX};

/// Pause before a buffer is asked for again (nanoseconds).
const BUFFER_PAUSE_NS: u64 = 4_000_000;
/// How long a transfer that is under way waits for a buffer (nanoseconds).
const BUFFER_WAIT_NS: u64 = 5_000_000_000;

/// What has been admitted.
#[derive(Default)]
pub struct Admission {
    /// Buffers of bodies (bytes).
    bodies: Cell<usize>,
    /// Large bodies under way, in either direction.
    large: Cell<usize>,
}

/// The right to hold buffers for a body; ends when it is dropped.
pub struct BodyPermit {
    shard: Rc<Shard>,
    bytes: usize,
}

impl Drop for BodyPermit {
    fn drop(&mut self) {
        let bodies = &self.shard.admission.bodies;
        bodies.set(bodies.get() - self.bytes);
    }
}

/// The right to transfer a large body; ends when it is dropped.
pub struct LargePermit {
    shard: Rc<Shard>,
}

impl Drop for LargePermit {
    fn drop(&mut self) {
        let large = &self.shard.admission.large;
        large.set(large.get() - 1);
    }
}

impl LargePermit {
    /// How many bytes a piece of the transfer may have: its share of half of the buffers, two
    /// pieces at a time, in whole chunks from 64 KiB to 1 MiB.
    pub fn piece_len(&self) -> u64 {
        let shard = &self.shard;
        let half = shard.handle.pool().capacity() as u64 / 2;
        let share = half / (2 * shard.admission.large.get() as u64);
        (share / CHUNK * CHUNK).clamp(CHUNK, NEEDLE_DATA_MAX)
    }
}

impl Shard {
    /// Admits a body that will take so many bytes of buffers: at most three eighths of all are for
    /// bodies (but one may always have more), and an eighth is always left to reads.
    pub fn admit_body(self: &Rc<Self>, bytes: usize) -> Option<BodyPermit> {
        let pool = self.handle.pool();
        let bodies = self.admission.bodies.get() + bytes;
        let eighth = pool.capacity() / 8;
        let alone = bodies == bytes;
        if (bodies > 3 * eighth && !alone) || pool.used() + bytes > 7 * eighth {
            return None;
        }
        self.admission.bodies.set(bodies);
        Some(BodyPermit { shard: Rc::clone(self), bytes })
    }

    /// Admits a transfer of a large body, if its share would be at least a chunk.
    pub fn admit_large(self: &Rc<Self>) -> Option<LargePermit> {
        let most = self.handle.pool().capacity() as u64 / 2 / (2 * CHUNK);
        let large = self.admission.large.get() + 1;
        if large as u64 > most {
            return None;
        }
        self.admission.large.set(large);
        Some(LargePermit { shard: Rc::clone(self) })
    }

    /// A buffer for a transfer under way, of about `wanted` bytes of content or less, as `alloc`
    /// makes it. It waits a little for one: its client is held up meanwhile, and nobody else.
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

    /// A buffer of this length (bytes), without waiting.
    pub fn buffer(&self, len: usize) -> Option<Buf> {
        self.handle.pool().alloc(len)
    }
}
