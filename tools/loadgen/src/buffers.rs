//! Buffers of a thread, kept for the next request: one is at hand without looking for free pages.

use std::cell::RefCell;

use hayloft::buffer::{Buf, PAGE, Pool};

/// The largest is this long (bytes): larger bodies come and go in pieces.
pub const BUFFER_MAX: usize = 64 << 10;
/// Sizes are powers of two of pages.
const CLASSES: usize = (BUFFER_MAX / PAGE).ilog2() as usize + 1;

/// The buffers.
pub struct Buffers {
    pool: Pool,
    /// Bytes that are left to buffers of a page: so many that each connection has its two.
    reserve: usize,
    kept: RefCell<[Vec<Buf>; CLASSES]>,
}

impl Buffers {
    /// Takes them from `pool`, which must have [`reserve`] bytes at least.
    #[must_use]
    pub fn new(pool: &Pool, connections: usize) -> Self {
        Self { pool: pool.clone(), reserve: reserve(connections), kept: RefCell::default() }
    }

    fn alloc(&self, len: usize) -> Option<Buf> {
        let left = self.pool.capacity().saturating_sub(self.pool.used());
        let possible = len == PAGE || left >= self.reserve + len;
        possible.then(|| self.pool.alloc(len)).flatten()
    }

    /// A buffer of `len` bytes, or of [`BUFFER_MAX`] if that is less, or a shorter one when memory is short.
    ///
    /// # Panics
    /// When not even a page is left: a connection took more than one buffer in each direction.
    #[must_use]
    pub fn take(&self, len: usize) -> Buf {
        let wanted = class(len.min(BUFFER_MAX));
        for smaller in (0..=wanted).rev() {
            let kept = self.kept.borrow_mut()[smaller].pop();
            if let Some(buf) = kept.or_else(|| self.alloc(PAGE << smaller)) {
                return buf;
            }
        }
        // All that is left is kept in larger pieces.
        for kept in self.kept.borrow_mut().iter_mut() {
            kept.clear();
        }
        self.pool.alloc(PAGE).expect("a page for each buffer in use")
    }

    /// Keeps it for the next one.
    pub fn give_back(&self, buf: Buf) {
        let class = class(buf.len());
        self.kept.borrow_mut()[class].push(buf);
    }
}

/// What a pool must have for so many connections, whatever they want (bytes): a page for each direction.
#[must_use]
pub const fn reserve(connections: usize) -> usize {
    2 * PAGE * connections
}

fn class(len: usize) -> usize {
    len.div_ceil(PAGE).max(1).next_power_of_two().ilog2() as usize
}

#[cfg(test)]
mod tests {
    use hayloft::buffer::Region;

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
    fn short_memory_gives_short_buffers() {
        let pool = Pool::new(&Region::map(1, 22 * PAGE).unwrap(), 0);
        let buffers = Buffers::new(&pool, 1);
        let first = buffers.take(BUFFER_MAX);
        assert_eq!(buffers.take(BUFFER_MAX).len(), 4 * PAGE);
        buffers.give_back(first);
        let pages: Vec<Buf> = (0..20).map(|_| buffers.take(1)).collect();
        assert!(pages.iter().all(|buf| buf.len() >= PAGE));
    }

    #[test]
    fn those_who_come_first_leave_a_page_for_each_direction_to_the_others() {
        let connections = 100;
        let pool = Pool::new(&Region::map(1, reserve(connections) + 4 * BUFFER_MAX).unwrap(), 0);
        let buffers = Buffers::new(&pool, connections);
        let taken: Vec<Buf> = (0..2 * connections).map(|_| buffers.take(BUFFER_MAX)).collect();
        assert!(taken.iter().filter(|buf| buf.len() == BUFFER_MAX).count() >= 3);
        assert!(taken.iter().all(|buf| buf.len() >= PAGE));
    }
}
