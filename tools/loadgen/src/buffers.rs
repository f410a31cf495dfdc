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
    kept: RefCell<[Vec<Buf>; CLASSES]>,
}

impl Buffers {
    /// Takes them from `pool`.
    #[must_use]
    pub fn new(pool: &Pool) -> Self {
        Self { pool: pool.clone(), kept: RefCell::default() }
    }

    /// A buffer of `len` bytes, or of [`BUFFER_MAX`] if that is less, or a shorter one when memory is short.
    ///
    /// # Panics
    /// When not even a page is left, which a pool of two pages for each connection rules out.
    #[must_use]
    pub fn take(&self, len: usize) -> Buf {
        let wanted = class(len.min(BUFFER_MAX));
        for smaller in (0..=wanted).rev() {
            let kept = self.kept.borrow_mut()[smaller].pop();
            if let Some(buf) = kept.or_else(|| self.pool.alloc(PAGE << smaller)) {
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
        let buffers = Buffers::new(&pool);
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
        let pool = Pool::new(&Region::map(1, 20 * PAGE).unwrap(), 0);
        let buffers = Buffers::new(&pool);
        let first = buffers.take(BUFFER_MAX);
        assert_eq!(buffers.take(BUFFER_MAX).len(), 4 * PAGE);
        buffers.give_back(first);
        let pages: Vec<Buf> = (0..20).map(|_| buffers.take(1)).collect();
        assert!(pages.iter().all(|buf| buf.len() >= PAGE));
    }
}
