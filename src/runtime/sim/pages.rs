//! File contents as copy-on-write pages: a copy costs a pointer for each page, and pages that were never
//! written take no memory.

use std::rc::Rc;

use super::blocks::{Blocks, touched};
use super::page::PAGE;

type Page = Rc<[u8; PAGE]>;

/// Bytes of a file, and its allocated blocks. An absent page reads as zeros: it was never written, or
/// contained only zeros when the value was created. Its block may be allocated all the same. Two values are
/// equal if their bytes are.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    pages: Vec<Option<Page>>,
    len: usize,
    allocated: Blocks,
}

static ZEROS: [u8; PAGE] = [0; PAGE];

impl Pages {
    /// Length (bytes).
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the length is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Allocated blocks.
    #[must_use]
    pub fn allocated(&self) -> &Blocks {
        &self.allocated
    }

    /// Length (bytes) and allocated blocks.
    #[must_use]
    pub fn known(&self) -> (usize, Blocks) {
        (self.len, self.allocated.clone())
    }

    /// Allocates the blocks of `len` bytes at `at`, and extends the length if necessary.
    pub fn allocate(&mut self, at: usize, len: usize) {
        self.resize(self.len.max(at + len));
        self.allocated.insert(touched(at, len));
    }

    /// Replaces the set of allocated blocks.
    pub fn set_allocated(&mut self, allocated: Blocks) {
        self.allocated = allocated;
    }

    /// Sets the length (bytes). New space reads as zeros and is not allocated; what is beyond a smaller
    /// length is discarded.
    pub fn resize(&mut self, len: usize) {
        self.pages.resize(len.div_ceil(PAGE), None);
        let within = len % PAGE;
        if len < self.len
            && within > 0
            && let Some(page) = self.pages.last_mut().expect("it has bytes")
        {
            Rc::make_mut(page)[within..].fill(0);
        }
        if len < self.len {
            self.allocated.truncate(len.div_ceil(PAGE));
        }
        self.len = len;
    }

    /// Returns page `number`, if it is present.
    #[must_use]
    pub fn page(&self, number: usize) -> Option<&[u8; PAGE]> {
        self.pages.get(number)?.as_deref()
    }

    /// Iterates over the pages, each with a flag that says whether `other` shares it (and so has equal bytes
    /// there).
    pub fn pages_beside<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (Option<&'a [u8; PAGE]>, bool)> {
        self.pages.iter().enumerate().map(|(number, page)| {
            let shared = match (page, other.pages.get(number)) {
                (None, Some(None)) => true,
                (Some(one), Some(Some(two))) => Rc::ptr_eq(one, two),
                _ => false,
            };
            (page.as_deref(), shared)
        })
    }

    /// Reads the bytes at `at` into `out`.
    ///
    /// # Panics
    /// When the range exceeds the length.
    pub fn read(&self, at: usize, out: &mut [u8]) {
        assert!(at + out.len() <= self.len, "read beyond the end");
        let mut done = 0;
        while done < out.len() {
            let (number, within) = ((at + done) / PAGE, (at + done) % PAGE);
            let len = (PAGE - within).min(out.len() - done);
            let page = self.page(number).unwrap_or(&ZEROS);
            out[done..done + len].copy_from_slice(&page[within..within + len]);
            done += len;
        }
    }

    /// Writes `bytes` at `at`, and extends the length if necessary. The blocks are allocated.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        self.allocate(at, bytes.len());
        let mut done = 0;
        while done < bytes.len() {
            let (number, within) = ((at + done) / PAGE, (at + done) % PAGE);
            let len = (PAGE - within).min(bytes.len() - done);
            let page = self.pages[number].get_or_insert_with(|| Rc::new(ZEROS));
            Rc::make_mut(page)[within..within + len].copy_from_slice(&bytes[done..done + len]);
            done += len;
        }
    }

    /// Whether the bytes at `at` equal `bytes`. Positions beyond the end count as zeros.
    #[must_use]
    pub fn holds(&self, at: usize, bytes: &[u8]) -> bool {
        let mut done = 0;
        while done < bytes.len() {
            let (number, within) = ((at + done) / PAGE, (at + done) % PAGE);
            let len = (PAGE - within).min(bytes.len() - done);
            let page = self.page(number).unwrap_or(&ZEROS);
            if page[within..within + len] != bytes[done..done + len] {
                return false;
            }
            done += len;
        }
        true
    }

    /// Flips one bit.
    ///
    /// # Panics
    /// When `byte` is not below the length, or `bit` is above 7.
    pub fn flip(&mut self, byte: usize, bit: u32) {
        assert!(byte < self.len && bit < 8, "byte {byte} bit {bit} of {} bytes", self.len);
        let page = self.pages[byte / PAGE].get_or_insert_with(|| Rc::new(ZEROS));
        Rc::make_mut(page)[byte % PAGE] ^= 1 << bit;
    }

    /// Copies all bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(0, &mut bytes);
        bytes
    }
}

impl From<&[u8]> for Pages {
    fn from(bytes: &[u8]) -> Self {
        let page = |piece: &[u8]| {
            let mut page = ZEROS;
            page[..piece.len()].copy_from_slice(piece);
            (page != ZEROS).then(|| Rc::new(page))
        };
        let mut pages = Self { pages: bytes.chunks(PAGE).map(page).collect(), ..Self::default() };
        pages.allocate(0, bytes.len());
        pages
    }
}

impl PartialEq for Pages {
    fn eq(&self, other: &Self) -> bool {
        let mut pages = self.pages_beside(other).enumerate();
        let same = |(number, (page, shared)): (usize, (Option<&[u8; PAGE]>, bool))| {
            shared || page.unwrap_or(&ZEROS) == other.page(number).unwrap_or(&ZEROS)
        };
        self.len == other.len && pages.all(same)
    }
}

impl Eq for Pages {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_across_pages_are_read_back_and_copies_are_isolated() {
        let mut one = Pages::default();
        one.resize(3 * PAGE + 100);
        one.write(PAGE - 3, b"across");
        let two = one.clone();
        one.write(PAGE, b"XY");
        let mut out = [0; 8];
        two.read(PAGE - 4, &mut out);
        assert_eq!(&out, b"\0across\0");
        one.read(PAGE - 4, &mut out);
        assert_eq!(&out, b"\0acrXYs\0");
        assert!(one != two && two == Pages::from(&two.to_vec()[..]));
        assert!(two.holds(PAGE - 3, b"across") && !one.holds(PAGE - 3, b"across"));
        assert!(one.holds(9 * PAGE, &[0; 10]), "zeros beyond the end");
        assert!(one.page(2).is_none() && one.page(1).is_some());
    }

    #[test]
    fn copy_shares_pages_that_neither_wrote() {
        let mut one = Pages::from(&[7; 4 * PAGE][..]);
        let two = one.clone();
        one.flip(PAGE + 5, 7);
        let shared: Vec<bool> = one.pages_beside(&two).map(|(_, shared)| shared).collect();
        assert_eq!(shared, [true, false, true, true]);
        one.flip(PAGE + 5, 7);
        assert!(one == two, "equal again, although no longer the same memory");
    }

    #[test]
    fn blocks_are_allocated_by_writes_and_allocation_but_not_by_length() {
        let mut pages = Pages::default();
        pages.resize(8 * PAGE);
        assert_eq!(pages.allocated().count(), 0);
        pages.write(PAGE + 512, &[1; 512]);
        pages.allocate(6 * PAGE, 3 * PAGE);
        assert_eq!((pages.allocated().count(), pages.len()), (4, 9 * PAGE));
        pages.resize(7 * PAGE);
        assert_eq!(pages.allocated().count(), 2);
        assert_eq!(Pages::from(&[0; 2 * PAGE + 1][..]).allocated().count(), 3);
    }

    #[test]
    fn truncated_bytes_read_zero_after_growing_again() {
        let mut pages = Pages::from(&[1; PAGE + 10][..]);
        pages.resize(PAGE + 2);
        pages.resize(2 * PAGE);
        assert_eq!(pages.to_vec()[PAGE..PAGE + 4], [1, 1, 0, 0]);
    }
}
