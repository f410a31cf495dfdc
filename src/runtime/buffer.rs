//! A page-aligned memory region for all I/O, allocated in runs of pages.
//!
//! The region is mapped once and registered once with the kernel. Every shard owns a part of it (a
//! [`Pool`]) and allocates from that part only. A [`Buf`] is a run of pages. It may be sent to another
//! shard or owned by an operation in flight; wherever it is dropped, it returns through its pool's queue of
//! returned runs, so that only the owning shard accesses the pool's bitmap of free pages. A part of a buffer
//! can be lent: a [`Lent`] reads it, and keeps the run from being returned.
#![expect(unsafe_code, reason = "maps the region and hands out disjoint slices of it")]

mod free_map;
mod lent;
mod region;
mod run;

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut, Range};
use std::rc::Rc;
use std::sync::Arc;

use crate::base::account::AUDITED;
use free_map::FreeMap;
pub use lent::Lent;
use lent::Loan;
use region::Pages;
pub use region::{PAGE, Region};
use run::Run;

/// A run of pages. The content of a new buffer is that of its previous use, or zeros.
pub struct Buf {
    run: Run,
    /// The loan of a part of it, which then owns the run: present once a part was lent.
    loan: Option<Arc<Loan>>,
}

impl Buf {
    /// Index of the fixed buffer (see [`Region::registrations`]) that contains this buffer.
    #[must_use]
    pub fn registration(&self) -> u16 {
        self.run.registration()
    }

    /// Address of byte `at`, for a kernel that reads from there.
    ///
    /// # Panics
    /// When `at` is above the length.
    #[must_use]
    pub fn address(&self, at: usize) -> *mut u8 {
        self.run.address(at)
    }

    /// Address of byte `at`, for a kernel that writes there.
    ///
    /// # Panics
    /// When `at` is above the length. While a part of the buffer is lent.
    #[must_use]
    pub fn address_mut(&mut self, at: usize) -> *mut u8 {
        self.expect_not_lent();
        self.run.address(at)
    }

    /// Lends a range (bytes). As long as the handle or a clone of it is alive, nothing writes to the range,
    /// and of the rest only [`Self::outside_mut`] and [`Self::split_mut`] give a part for writing. The run
    /// returns to its pool when the buffer and all handles were dropped.
    ///
    /// # Panics
    /// When the range ends beyond the buffer, or begins after its end. While another range is lent.
    #[must_use]
    pub fn lend(&mut self, range: Range<usize>) -> Lent {
        self.expect_not_lent();
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "bytes {range:?} of a buffer of {} bytes",
            self.len()
        );
        // Replaces what is left of an ended loan, so that the run keeps one owner.
        let loan = self.loan.get_or_insert_with(|| Arc::new(Loan::new(self.run.clone())));
        Arc::get_mut(loan).expect("no handle is alive").range = range;
        Lent::new(loan)
    }

    /// The lent range (bytes), if a handle on it is alive.
    fn lent_range(&mut self) -> Option<Range<usize>> {
        let loan = self.loan.as_mut()?;
        // Exclusive access shows that no handle is left, and that all reads through them have happened.
        match Arc::get_mut(loan) {
            Some(_) => None,
            None => Some(loan.range.clone()),
        }
    }

    fn expect_not_lent(&mut self) {
        let lent = self.lent_range();
        assert!(lent.is_none(), "bytes {lent:?} of the buffer are lent");
    }

    /// Returns a range (bytes) for writing that does not overlap what is lent.
    ///
    /// # Panics
    /// When it does, or ends beyond the buffer, or begins after its end.
    pub fn outside_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        let Range { start, end } = range;
        assert!(
            start <= end && end <= self.len(),
            "bytes {start}..{end} of a buffer of {} bytes",
            self.len()
        );
        if let Some(lent) = self.lent_range() {
            assert!(
                end <= lent.start || lent.end <= start,
                "bytes {start}..{end} for writing, of which {lent:?} are lent"
            );
        }
        // SAFETY: the run is mapped and initialised, and the range lies inside it, by the assertion. Nothing
        // else refers to the range: `&mut self` excludes other references through this `Buf`, and those of a
        // `Lent` are to its own range only, outside of this one.
        unsafe { std::slice::from_raw_parts_mut(self.run.address(start), end - start) }
    }

    /// Returns what is before byte `at` for writing, and the rest for reading.
    ///
    /// # Panics
    /// When a part of what is before `at` is lent. When `at` is above the length.
    pub fn split_mut(&mut self, at: usize) -> (&mut [u8], &[u8]) {
        let (rest, len) = (self.run.address(at), self.len() - at);
        let front = self.outside_mut(0..at);
        // SAFETY: the run is mapped and initialised, and `at..at + len` is its rest. It does not overlap
        // `front`; both end with the same exclusive borrow of `self`. A `Lent` only reads, too.
        let rest = unsafe { std::slice::from_raw_parts(rest, len) };
        (front, rest)
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the run is mapped (zeroed by the kernel at first, hence initialised), and only this `Buf`
        // and a `Lent` of it, which only reads, refer to it. While the kernel writes to it, it is owned by
        // the driver's entry for the operation and not dereferenced.
        unsafe { std::slice::from_raw_parts(self.run.address(0), self.run.len()) }
    }
}

impl DerefMut for Buf {
    /// # Panics
    /// While a part of the buffer is lent.
    fn deref_mut(&mut self) -> &mut [u8] {
        self.expect_not_lent();
        // SAFETY: as in `deref`, and the access is exclusive: `&mut self` excludes other references through
        // this `Buf`, and no `Lent` of it is alive.
        unsafe { std::slice::from_raw_parts_mut(self.run.address(0), self.run.len()) }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        // Otherwise the loan owns the run.
        if self.loan.is_none() {
            self.run.give_back();
        }
    }
}

impl std::fmt::Debug for Buf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buf({})", self.run)
    }
}

struct PoolState {
    region: Arc<Region>,
    index: u16,
    free: RefCell<FreeMap>,
    used_pages: Cell<u32>,
}

/// A shard's part of the region. A clone is another handle of the same pool. Stays on the thread that
/// created it.
#[derive(Clone)]
pub struct Pool(Rc<PoolState>);

impl Pool {
    /// Creates the allocator of pool `index` of `region`. Must be called at most once for each index.
    ///
    /// # Panics
    /// When the region has no such pool.
    #[must_use]
    pub fn new(region: &Arc<Region>, index: usize) -> Self {
        let pages = Pages::of(region, index).count;
        Self(Rc::new(PoolState {
            region: Arc::clone(region),
            index: u16::try_from(index).expect("fewer than 65535 pools"),
            free: RefCell::new(FreeMap::new(pages)),
            used_pages: Cell::new(0),
        }))
    }

    /// The pages of the region that belong to the pool.
    fn pages(&self) -> Pages {
        Pages::of(&self.0.region, usize::from(self.0.index))
    }

    fn take_returns(&self, free: &mut FreeMap) {
        let own = self.pages();
        while let Some(run) = Pages::returned(&self.0.region, usize::from(self.0.index)) {
            free.set(run.first - own.first, run.count, true);
            self.0.used_pages.set(self.0.used_pages.get() - run.count);
        }
    }

    /// Allocates a buffer of at least `len` bytes; `None` when no run of free pages is long enough.
    #[must_use]
    pub fn alloc(&self, len: usize) -> Option<Buf> {
        let count = u32::try_from(len.div_ceil(PAGE).max(1)).ok()?;
        let mut free = self.0.free.borrow_mut();
        self.take_returns(&mut free);
        let first = free.take(count)?;
        self.0.used_pages.set(self.0.used_pages.get() + count);
        let pages = Pages { first: self.pages().first + first, count };
        Some(Buf { run: Run::new(&self.0.region, self.0.index, pages), loan: None })
    }

    /// Size of the buffers in use (bytes).
    #[must_use]
    pub fn used(&self) -> usize {
        let mut free = self.0.free.borrow_mut();
        self.take_returns(&mut free);
        let used = self.0.used_pages.get();
        if AUDITED {
            assert_eq!(used + free.count(), free.pages(), "pages that are neither in use nor free");
        }
        used as usize * PAGE
    }

    /// Size of the pool (bytes).
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.pages().count as usize * PAGE
    }

    /// Region that contains the pool.
    #[must_use]
    pub fn region(&self) -> &Arc<Region> {
        &self.0.region
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(pages: usize) -> Pool {
        Pool::new(&Region::map(1, pages * PAGE).unwrap(), 0)
    }

    #[test]
    fn buffers_do_not_overlap_and_are_returned() {
        let pool = pool(100);
        let mut held = Vec::new();
        for n in 0..10u8 {
            let mut buf = pool.alloc(usize::from(n) * 3000 + 1).unwrap();
            buf.fill(n);
            held.push(buf);
        }
        for (n, buf) in held.iter().enumerate() {
            assert!(buf.iter().all(|&b| usize::from(b) == n));
        }
        assert!(pool.used() > 0);
        drop(held);
        assert_eq!(pool.used(), 0);
        assert_eq!(pool.alloc(100 * PAGE).unwrap().len(), 100 * PAGE);
    }

    #[test]
    fn exhausted_pool_refuses_until_a_buffer_is_dropped() {
        let pool = pool(8);
        let all = pool.alloc(8 * PAGE).unwrap();
        assert!(pool.alloc(1).is_none());
        drop(all);
        assert!(pool.alloc(8 * PAGE).is_some());
        assert!(pool.alloc(8 * PAGE + 1).is_none());
    }

    #[test]
    fn buffer_dropped_on_another_thread_is_returned() {
        let pool = pool(4);
        let buf = pool.alloc(4 * PAGE).unwrap();
        std::thread::spawn(move || drop(buf)).join().unwrap();
        assert!(pool.alloc(4 * PAGE).is_some());
    }

    #[test]
    fn pool_accounts_in_whole_pages() {
        let region = Region::map(2, 5 * PAGE - 1).unwrap();
        let pool = Pool::new(&region, 1);
        assert_eq!((region.len(), pool.capacity(), pool.used()), (10 * PAGE, 5 * PAGE, 0));
        assert!(!region.is_empty());
        let first = pool.alloc(0).unwrap();
        assert_eq!((first.len(), pool.used()), (PAGE, PAGE), "a buffer has at least a page");
        let second = pool.alloc(PAGE + 1).unwrap();
        assert_eq!((second.len(), pool.used()), (2 * PAGE, 3 * PAGE));
        drop(first);
        assert_eq!(pool.used(), 2 * PAGE);
        let start = pool.region().registrations()[0].0 as usize;
        let at = second.address(0) as usize - start;
        assert!((5 * PAGE..9 * PAGE).contains(&at), "in the second half: {at}");
        assert_eq!(second.address(2 * PAGE) as usize - start, at + 2 * PAGE);
    }

    #[test]
    #[should_panic = "at <= self.len()"]
    fn address_past_the_end_of_a_buffer_panics() {
        let _ = pool(4).alloc(PAGE).unwrap().address(PAGE + 1);
    }

    #[test]
    fn regions_of_invalid_size_are_refused() {
        for (pools, len) in [(0, PAGE), (1, 0), (usize::from(u16::MAX), PAGE), (1, (1 << 30) + 1)] {
            let mapped = std::panic::catch_unwind(|| Region::map(pools, len).map(|_| ()));
            assert!(mapped.is_err(), "{pools} pools of {len} bytes");
        }
        assert_eq!(Region::map(1, 1 << 30).unwrap().registrations().len(), 1);
        assert_eq!(Region::map(usize::from(u16::MAX) - 1, PAGE).unwrap().registrations().len(), 1);
    }

    #[test]
    fn each_pool_lies_within_one_registration() {
        let region = Region::map(5, 300 << 20).unwrap();
        let lens: Vec<_> = region.registrations().iter().map(|part| part.1 >> 20).collect();
        assert_eq!(lens, [900, 600]);
        for (index, registration) in [0, 0, 0, 1, 1].into_iter().enumerate() {
            let buf = Pool::new(&region, index).alloc(1).unwrap();
            assert_eq!(buf.registration(), registration, "of pool {index}");
        }
    }

    #[test]
    fn populated_memory_causes_few_page_faults() {
        use nix::sys::resource::{UsageWho, getrusage};
        let faults = || getrusage(UsageWho::RUSAGE_THREAD).unwrap().minor_page_faults();
        let len = 32 << 20;
        let touch = |region: &Arc<Region>| {
            let mut all = Pool::new(region, 0).alloc(len).unwrap();
            let before = faults();
            all.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
            faults() - before
        };
        let untouched = touch(&Region::map(1, len).unwrap());
        let region = Region::map(1, len).unwrap();
        region.populate().unwrap();
        let populated = touch(&region);
        assert!(populated < untouched / 8, "{untouched} and {populated} faults");
    }

    #[test]
    fn registrations_cover_the_region_and_each_buffer() {
        let region = Region::map(3, 600 << 20).unwrap();
        let parts = region.registrations();
        assert_eq!(parts.len(), 3, "600 MiB pools do not share a 1 GiB registration");
        assert_eq!(parts.iter().map(|p| p.1).sum::<usize>(), region.len());
        for index in 0..3 {
            let buf = Pool::new(&region, index).alloc(10).unwrap();
            let (start, len) = parts[usize::from(buf.registration())];
            let at = buf.address(0) as usize;
            assert!(at >= start as usize && at + buf.len() <= start as usize + len);
        }
    }

    #[test]
    fn long_runs_are_allocated_from_the_high_end() {
        let pool = pool(64);
        let start = pool.region().registrations()[0].0 as usize;
        let page = |buf: &Buf| (buf.address(0) as usize - start) / PAGE;
        let (long, short) = (pool.alloc(10 * PAGE).unwrap(), pool.alloc(2 * PAGE).unwrap());
        assert_eq!((page(&long), page(&short)), (54, 0));
        drop(short);
        let long = pool.alloc(10 * PAGE).unwrap();
        assert_eq!((page(&long), page(&pool.alloc(1).unwrap())), (44, 0));
    }
}
