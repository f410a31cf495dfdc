//! Send buffers of a thread, cached so that the next request does not search the pool.

use std::cell::RefCell;

use hayloft::runtime::buffer::{Buf, PAGE, Pool};

/// Maximum length of a buffer (bytes); larger bodies are sent and received in pieces.
pub const BUFFER_MAX: usize = 64 << 10;
/// Number of size classes: powers of two of a page.
const CLASSES: usize = (BUFFER_MAX / PAGE).ilog2() as usize + 1;

/// Cache of buffers by size class.
pub struct Buffers {
    pool: Pool,
    /// Pool bytes reserved for one-page buffers, so that every connection gets its two.
    reserve: usize,
    kept: RefCell<[Vec<Buf>; CLASSES]>,
}

impl Buffers {
    /// Creates a cache on `pool`, which must have at least [`reserve`] bytes.
    #[must_use]
    pub fn new(pool: &Pool, connections: usize) -> Self {
        Self { pool: pool.clone(), reserve: reserve(connections), kept: RefCell::default() }
    }

    fn alloc(&self, len: usize) -> Option<Buf> {
        let left = self.pool.capacity().saturating_sub(self.pool.used());
        let possible = len == PAGE || left >= self.reserve + len;
        possible.then(|| self.pool.alloc(len)).flatten()
    }

    /// Takes a buffer of at least `len` bytes, at most [`BUFFER_MAX`]; shorter when the pool is nearly used
    /// up.
    ///
    /// # Panics
    /// When not even a page is left: a connection holds more than one buffer per direction.
    #[must_use]
    pub fn take(&self, len: usize) -> Buf {
        let wanted = class(len.min(BUFFER_MAX));
        for smaller in (0..=wanted).rev() {
            let kept = self.kept.borrow_mut()[smaller].pop();
            if let Some(buf) = kept.or_else(|| self.alloc(PAGE << smaller)) {
                return buf;
            }
        }
        // The free memory is all in cached larger buffers: return them to the pool.
        for kept in self.kept.borrow_mut().iter_mut() {
            kept.clear();
        }
        self.pool.alloc(PAGE).expect("the reserve has a page for each buffer in use")
    }

    /// Returns a buffer to the cache.
    pub fn give_back(&self, buf: Buf) {
        let class = class(buf.len());
        self.kept.borrow_mut()[class].push(buf);
    }
}

/// Pool memory that guarantees every connection a page per direction (bytes).
#[must_use]
pub const fn reserve(connections: usize) -> usize {
    2 * PAGE * connections
}

fn class(len: usize) -> usize {
    len.div_ceil(PAGE).max(1).next_power_of_two().ilog2() as usize
}

#[cfg(test)]
mod tests {
    use hayloft::runtime::buffer::Region;

    use super::*;

    #[test]
    fn buffers_are_long_enough_and_used_again() {
        let pool = Pool::new(&Region::map(1, 64 * PAGE).unwrap(), 0);
        let buffers = Buffers::new(&pool, 1);
        for (len, expected) in
            [(1, PAGE), (PAGE + 1, 2 * PAGE), (9000, 4 * PAGE), (1 << 30, BUFFER_MAX)]
        {
            let buf = buffers.take(len);
            assert_eq!(buf.len(), expected);
            let address = buf.address(0);
            buffers.give_back(buf);
            assert_eq!(buffers.take(len).address(0), address);
        }
    }

    #[test]
    fn a_nearly_used_up_pool_gives_shorter_buffers() {
        let pool = Pool::new(&Region::map(1, 22 * PAGE).unwrap(), 0);
        let buffers = Buffers::new(&pool, 1);
        let first = buffers.take(BUFFER_MAX);
        assert_eq!(buffers.take(BUFFER_MAX).len(), 4 * PAGE);
        buffers.give_back(first);
        let pages: Vec<Buf> = (0..20).map(|_| buffers.take(1)).collect();
        assert!(pages.iter().all(|buf| buf.len() >= PAGE));
    }

    #[test]
    fn every_connection_gets_a_page_per_direction() {
        let connections = 100;
        let pool = Pool::new(&Region::map(1, reserve(connections) + 4 * BUFFER_MAX).unwrap(), 0);
        let buffers = Buffers::new(&pool, connections);
        let taken: Vec<Buf> = (0..2 * connections).map(|_| buffers.take(BUFFER_MAX)).collect();
        assert!(taken.iter().filter(|buf| buf.len() == BUFFER_MAX).count() >= 3);
        assert!(taken.iter().all(|buf| buf.len() >= PAGE));
    }
}
