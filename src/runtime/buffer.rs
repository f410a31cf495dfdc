//! A page-aligned memory region for all I/O, allocated in runs of pages.
//!
//! The region is mapped once and registered once with the kernel. Every shard owns a part of it (a
//! [`Pool`]) and allocates from that part only. A [`Buf`] is a run of pages. It may be sent to another
//! shard or owned by an operation in flight; wherever it is dropped, it returns through its pool's queue of
//! returned runs, so that only the owning shard accesses the pool's bitmap of free pages.
#![expect(unsafe_code, reason = "maps the region and hands out disjoint slices of it")]

mod free_map;

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::base::account::AUDITED;
use free_map::FreeMap;

/// Granularity of allocation (bytes).
pub const PAGE: usize = 4096;
/// Maximum length of a fixed buffer that the kernel registers (bytes; `io_uring_register(2)`).
const REGISTERED_MAX: usize = 1 << 30;

struct PageRun {
    first: u32,
    count: u32,
}

struct PoolShared {
    first_page: u32,
    pages: u32,
    returns: ArrayQueue<PageRun>,
}

/// The memory behind all pools.
pub struct Region {
    base: NonNull<u8>,
    len: usize,
    pool_len: usize,
    pools: Vec<PoolShared>,
}

// SAFETY: the region is plain memory. Every byte of it belongs to at most one `Buf`, and a `Buf` gives
// access through `&self`/`&mut self` only.
unsafe impl Send for Region {}
// SAFETY: as above; the queues of returns are themselves safe to share.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `pool_len` bytes (rounded up to whole pages, at most 1 GiB) for each of `pools` pools.
    ///
    /// # Errors
    /// The kernel's, when the memory cannot be mapped.
    ///
    /// # Panics
    /// When `pools` is 0 or above 65534, or `pool_len` is 0 or above 1 GiB.
    pub fn map(pools: usize, pool_len: usize) -> std::io::Result<Arc<Self>> {
        assert!(pools > 0 && pools < usize::from(u16::MAX));
        assert!(pool_len > 0 && pool_len <= REGISTERED_MAX);
        let pool_len = pool_len.next_multiple_of(PAGE);
        let len = pool_len * pools;
        let size = NonZeroUsize::new(len).expect("a pool has at least a page");
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice aliases nothing.
        let base = unsafe {
            mmap_anonymous(
                None,
                size,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE,
            )
        }?;
        // Huge pages save TLB misses; the region works without them too.
        // SAFETY: advice on the whole mapping, which this struct owns; does not change its content.
        let _ = unsafe { madvise(base, len, MmapAdvise::MADV_HUGEPAGE) };
        let pages = u32::try_from(pool_len / PAGE).expect("a pool is at most 1 GiB");
        let pools = (0..pools)
            .map(|pool| PoolShared {
                first_page: u32::try_from(pool).expect("fewer than 65535 pools") * pages,
                pages,
                returns: ArrayQueue::new(pages as usize),
            })
            .collect();
        Ok(Arc::new(Self { base: base.cast(), len, pool_len, pools }))
    }

    /// Number of whole pools per fixed buffer, so that no pool spans two fixed buffers.
    fn pools_per_registration(&self) -> usize {
        REGISTERED_MAX / self.pool_len
    }

    /// Address and length (bytes) of each fixed buffer to register with a ring, in order.
    #[must_use]
    pub fn registrations(&self) -> Vec<(*mut u8, usize)> {
        let step = self.pools_per_registration() * self.pool_len;
        (0..self.len)
            .step_by(step)
            .map(|at| {
                // SAFETY: `at` is below the length of the mapping.
                let start = unsafe { self.base.as_ptr().add(at) };
                (start, step.min(self.len - at))
            })
            .collect()
    }

    /// Populates the whole mapping with memory. Otherwise the first access to each huge page clears 2 MiB,
    /// which takes milliseconds in a virtual machine. Registering the region with a ring has the same effect.
    ///
    /// # Errors
    /// The kernel's, when there is not enough memory (`MADV_POPULATE_WRITE` in `madvise(2)`).
    pub fn populate(&self) -> std::io::Result<()> {
        // SAFETY: the whole mapping, which this struct owns; populating it does not change its content.
        unsafe { madvise(self.base.cast(), self.len, MmapAdvise::MADV_POPULATE_WRITE) }?;
        Ok(())
    }

    /// Length of the region (bytes).
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Always false: a region has at least one page.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: this struct owns the mapping, and no `Buf` is left (each keeps the region alive).
        unsafe { munmap(self.base.cast(), self.len) }.expect("unmapping an owned mapping succeeds");
    }
}

/// A run of pages. The content of a new buffer is that of its previous use, or zeros.
pub struct Buf {
    region: Arc<Region>,
    pool: u16,
    pages: u32,
    first: u32,
}

impl Buf {
    fn ptr(&self) -> *mut u8 {
        // SAFETY: every run lies inside the mapping.
        unsafe { self.region.base.as_ptr().add(self.first as usize * PAGE) }
    }

    /// Index of the fixed buffer (see [`Region::registrations`]) that contains this buffer.
    #[must_use]
    pub fn registration(&self) -> u16 {
        let index = usize::from(self.pool) / self.region.pools_per_registration();
        u16::try_from(index).expect("no more registrations than pools")
    }

    /// Address of byte `at`, for the kernel.
    ///
    /// # Panics
    /// When `at` is above the length.
    #[must_use]
    pub fn address(&self, at: usize) -> *mut u8 {
        assert!(at <= self.len());
        // SAFETY: the assertion keeps `at` inside the run or at its end.
        unsafe { self.ptr().add(at) }
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the run is mapped (zeroed by the kernel at first, hence initialised) and only
        // this `Buf` refers to it. While the kernel writes to it, it is owned by the driver's
        // entry for the operation and not dereferenced.
        unsafe { std::slice::from_raw_parts(self.ptr(), self.pages as usize * PAGE) }
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr(), self.pages as usize * PAGE) }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        let run = PageRun { first: self.first, count: self.pages };
        let returns = &self.region.pools[usize::from(self.pool)].returns;
        assert!(returns.push(run).is_ok(), "more runs were returned than the pool has pages");
    }
}

impl std::fmt::Debug for Buf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buf({} pages at {} of pool {})", self.pages, self.first, self.pool)
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
        let pages = region.pools[index].pages;
        Self(Rc::new(PoolState {
            region: Arc::clone(region),
            index: u16::try_from(index).expect("fewer than 65535 pools"),
            free: RefCell::new(FreeMap::new(pages)),
            used_pages: Cell::new(0),
        }))
    }

    fn shared(&self) -> &PoolShared {
        &self.0.region.pools[usize::from(self.0.index)]
    }

    fn take_returns(&self, free: &mut FreeMap) {
        let shared = self.shared();
        while let Some(run) = shared.returns.pop() {
            free.set(run.first - shared.first_page, run.count, true);
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
        Some(Buf {
            region: Arc::clone(&self.0.region),
            pool: self.0.index,
            pages: count,
            first: self.shared().first_page + first,
        })
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
        self.shared().pages as usize * PAGE
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
        let (long, short) = (pool.alloc(10 * PAGE).unwrap(), pool.alloc(2 * PAGE).unwrap());
        assert_eq!((long.first, short.first), (54, 0));
        drop(short);
        let long = pool.alloc(10 * PAGE).unwrap();
        assert_eq!((long.first, pool.alloc(1).unwrap().first), (44, 0));
    }
}
