//! The memory behind all pools.

use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

/// Granularity of allocation (bytes).
pub const PAGE: usize = 4096;
/// Maximum length of a fixed buffer that the kernel registers (bytes; `io_uring_register(2)`).
const REGISTERED_MAX: usize = 1 << 30;

/// Pages of a region in a row, by number.
#[derive(Clone, Copy)]
pub struct Pages {
    /// Number of the first one.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Pages {
    /// The pages of a pool.
    ///
    /// # Panics
    /// When the region has no such pool.
    pub fn of(region: &Region, pool: usize) -> Self {
        Self { first: region.pools[pool].first_page, count: region.pools[pool].pages }
    }

    /// Takes pages out of the queue of those that were returned to a pool.
    pub fn returned(region: &Region, pool: usize) -> Option<Self> {
        region.pools[pool].returns.pop()
    }

    /// Returns the pages to the pool that they came from. May be called on any thread.
    pub fn give_back(self, region: &Region, pool: usize) {
        let returned = region.pools[pool].returns.push(self);
        assert!(returned.is_ok(), "more runs were returned than the pool has pages");
    }

    /// Length (bytes).
    pub fn len(self) -> usize {
        self.count as usize * PAGE
    }

    /// Address of byte `at`.
    ///
    /// # Panics
    /// When `at` is above the length, or the region does not have the pages.
    pub fn address(self, region: &Region, at: usize) -> *mut u8 {
        let start = self.first as usize * PAGE;
        assert!(at <= self.len() && start + self.len() <= region.len);
        // SAFETY: the assertion keeps the address inside the mapping, or at its end.
        unsafe { region.base.as_ptr().add(start + at) }
    }

    /// Index of the fixed buffer (see [`Region::registrations`]) that contains the pages of a pool.
    pub fn registration(region: &Region, pool: usize) -> u16 {
        let index = pool / region.pools_per_registration();
        u16::try_from(index).expect("no more registrations than pools")
    }
}

/// What a region knows of a pool.
struct PoolShared {
    first_page: u32,
    pages: u32,
    returns: ArrayQueue<Pages>,
}

/// The memory behind all pools.
pub struct Region {
    base: NonNull<u8>,
    len: usize,
    pool_len: usize,
    pools: Vec<PoolShared>,
}

// SAFETY: the region is plain memory. Every byte of it belongs to at most one `Buf`, which gives access
// through `&self`/`&mut self` only, and while a `Lent` of it is alive gives no `&mut` to what both of them
// read.
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
        // SAFETY: this struct owns the mapping, and no `Buf` or `Lent` is left (each keeps the region alive).
        unsafe { munmap(self.base.cast(), self.len) }.expect("unmapping an owned mapping succeeds");
    }
}
