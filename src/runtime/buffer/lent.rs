//! A part of a buffer that others read while its owner has it.

use std::ops::{Deref, Range};
use std::sync::Arc;

use super::run::Run;

/// The loan of a part of a run. It owns the run: that is returned to its pool when the buffer and all handles
/// were dropped.
pub struct Loan {
    run: Run,
    /// What is lent (bytes of the run); inside the run.
    pub range: Range<usize>,
}

impl Loan {
    /// Takes over a run. Nothing of it is lent yet.
    pub fn new(run: Run) -> Self {
        Self { run, range: 0..0 }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.run.give_back();
    }
}

/// Handle with which a lent part of a [`Buf`](super::Buf) is read. A clone is another handle on the same
/// bytes. The bytes do not change as long as a handle is alive, on whichever thread, also if the buffer was
/// dropped.
#[derive(Clone)]
pub struct Lent(Arc<Loan>);

impl Lent {
    /// Creates a handle on what `loan` lends.
    pub fn new(loan: &Arc<Loan>) -> Self {
        Self(Arc::clone(loan))
    }

    /// Address of byte `at` of the lent part, for a kernel that reads from there.
    ///
    /// # Panics
    /// When `at` is above the length.
    #[must_use]
    pub fn address(&self, at: usize) -> *const u8 {
        assert!(at <= self.len());
        self.0.run.address(self.0.range.start + at)
    }
}

impl Deref for Lent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Range { start, end } = self.0.range;
        // SAFETY: the run is mapped and initialised, the loan keeps it from being returned, and the range
        // lies inside it. Nothing writes to the range: as long as a handle is alive, its `Buf` gives `&mut`
        // only to what is outside of the range, and no address for a kernel that writes.
        unsafe { std::slice::from_raw_parts(self.0.run.address(start), end - start) }
    }
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lent(bytes {:?} of {})", self.0.range, self.0.run)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::runtime::buffer::{Buf, PAGE, Pool, Region};

    /// A pool, and a buffer of two pages in it with a part that is lent.
    fn lent(range: Range<usize>) -> (Pool, Buf, Lent) {
        let pool = Pool::new(&Region::map(1, 8 * PAGE).unwrap(), 0);
        let mut buf = pool.alloc(2 * PAGE).unwrap();
        buf.fill(1);
        buf[range.clone()].fill(2);
        let lent = buf.lend(range);
        (pool, buf, lent)
    }

    fn panics<T>(call: impl FnOnce() -> T) -> bool {
        catch_unwind(AssertUnwindSafe(|| drop(call()))).is_err()
    }

    #[test]
    fn pages_return_when_the_buffer_and_all_handles_were_dropped() {
        let (pool, buf, first) = lent(10..20);
        let second = first.clone();
        drop(buf);
        assert_eq!(pool.used(), 2 * PAGE);
        drop(first);
        assert_eq!((pool.used(), &second[..]), (2 * PAGE, &[2; 10][..]), "still readable");
        drop(second);
        assert_eq!(pool.used(), 0);

        let (pool, buf, lent) = lent(10..20);
        drop(lent);
        assert_eq!(pool.used(), 2 * PAGE);
        drop(buf);
        assert_eq!(pool.used(), 0);
        assert!(pool.alloc(8 * PAGE).is_some());
    }

    #[test]
    fn handle_is_read_and_dropped_on_another_thread() {
        let (pool, buf, lent) = lent(PAGE - 1..PAGE + 1);
        let read = std::thread::spawn(move || lent.to_vec()).join().unwrap();
        assert_eq!(read, [2, 2]);
        drop(buf);
        assert_eq!(pool.used(), 0);
        let (pool, buf, lent) = self::lent(0..1);
        drop(buf);
        std::thread::spawn(move || drop(lent)).join().unwrap();
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn handle_has_exactly_the_range() {
        let (_pool, buf, lent) = lent(10..20);
        assert_eq!((lent.len(), lent.is_empty(), lent.as_ref()), (10, false, &buf[10..20]));
        assert_eq!(lent.address(3), buf.address(13).cast_const());
        assert_eq!(lent.address(10), buf.address(20).cast_const());
        assert!(panics(|| lent.address(11)));
        assert_eq!(format!("{lent:?}"), "Lent(bytes 10..20 of 2 pages at 0 of pool 0)");
        let empty = self::lent(7..7).2;
        assert!(empty.is_empty());
    }

    #[test]
    fn buffer_gives_nothing_for_writing_while_a_part_of_it_is_lent() {
        let (_pool, mut buf, lent) = lent(10..20);
        let other = lent.clone();
        assert!(panics(|| buf[30] = 3), "even outside of the range");
        assert!(panics(|| buf.address_mut(30)));
        assert!(panics(|| buf.lend(0..1)), "one range at a time");
        drop(lent);
        assert!(panics(|| buf[30] = 3), "another handle is alive");
        assert_eq!((buf[30], buf[15]), (1, 2), "reading is possible");
        drop(other);
        buf[15] = 3;
        assert_eq!(buf.address_mut(15).cast_const(), buf.address(15).cast_const());
        assert_eq!(buf[15], 3);
    }

    #[test]
    fn what_is_outside_of_the_range_is_written_while_it_is_lent() {
        let (_pool, mut buf, lent) = lent(10..20);
        buf.outside_mut(0..10).fill(3);
        buf.outside_mut(20..2 * PAGE).fill(4);
        assert_eq!((buf[9], &lent[..], buf[20], buf[2 * PAGE - 1]), (3, &[2; 10][..], 4, 4));
        for (start, end) in [(9, 11), (0, 11), (19, 21), (12, 13), (10, 20), (0, 2 * PAGE)] {
            assert!(panics(|| buf.outside_mut(start..end).len()), "{start}..{end} is lent");
        }
        drop(lent);
        buf.outside_mut(0..2 * PAGE).fill(5);
        assert!(buf.iter().all(|&byte| byte == 5));
        for (start, end) in [(0, 2 * PAGE + 1), (2 * PAGE + 1, 2 * PAGE + 1), (2, 1)] {
            assert!(panics(|| buf.outside_mut(start..end).len()), "{start}..{end}");
        }
    }

    #[test]
    fn buffer_is_split_into_a_front_for_writing_and_the_lent_rest() {
        let (_pool, mut buf, lent) = lent(10..20);
        let (front, rest) = buf.split_mut(10);
        front.copy_from_slice(&rest[..10]);
        assert_eq!((front.len(), rest.len()), (10, 2 * PAGE - 10));
        assert_eq!((&buf[..20], buf[20]), (&[2; 20][..], 1));
        assert!(panics(|| buf.split_mut(11).0.len()), "a part of the front is lent");
        drop(lent);
        assert_eq!(buf.split_mut(2 * PAGE).1.len(), 0);
        assert!(panics(|| buf.split_mut(2 * PAGE + 1).0.len()));
    }

    #[test]
    fn buffer_is_lent_again_after_all_handles_were_dropped() {
        let (pool, mut buf, lent) = lent(10..20);
        drop(lent);
        let again = buf.lend(0..PAGE);
        assert_eq!((again.len(), again[0], again[10]), (PAGE, 1, 2));
        assert!(
            panics(|| buf.outside_mut(0..1).len()) && !panics(|| buf.outside_mut(PAGE..PAGE).len())
        );
        drop(again);
        assert!(panics(|| buf.lend(0..2 * PAGE + 1)));
        let (start, end) = (2, 1);
        assert!(panics(|| buf.lend(start..end)));
        drop(buf);
        assert_eq!(pool.used(), 0);
    }
}
