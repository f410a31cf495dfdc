//! Device over a read-only image: writes are kept in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::device::Device;
use crate::error::{Error, file};

/// Granularity of copies in memory (bytes).
const BLOCK: usize = 4096;

type Blocks = HashMap<u64, Box<[u8]>>;

/// Copy-on-write device in memory.
#[derive(Debug)]
pub struct Overlay {
    image: File,
    len: u64,
    blocks: Mutex<Blocks>,
}

impl Overlay {
    /// Creates a device over `image`, whose length must be a multiple of 4 KiB.
    ///
    /// # Errors
    /// When the image cannot be opened.
    ///
    /// # Panics
    /// When the length is not a multiple of 4 KiB.
    pub fn new(image: &Path) -> Result<Self, Error> {
        let opened = File::open(image).map_err(file("open", image))?;
        let len = opened.metadata().map_err(file("read the length of", image))?.len();
        assert!(
            len.is_multiple_of(BLOCK as u64),
            "image length of {len} bytes is not a multiple of {BLOCK}"
        );
        Ok(Self { image: opened, len, blocks: Mutex::new(HashMap::new()) })
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Splits a range at block boundaries into (block number, offset in the block, length).
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let from = usize::try_from(at % BLOCK as u64).expect("below a block");
        let piece = (BLOCK - from).min(len - done);
        done += piece;
        (piece > 0).then_some((at / BLOCK as u64, from, piece))
    })
}

impl Device for Overlay {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()> {
        self.image.read_exact_at(data, offset)?;
        let blocks = self.blocks();
        let mut at = 0;
        for (block, from, len) in pieces(offset, data.len()) {
            if let Some(block) = blocks.get(&block) {
                data[at..at + len].copy_from_slice(&block[from..from + len]);
            }
            at += len;
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut blocks = self.blocks();
        let mut at = 0;
        for (number, from, len) in pieces(offset, data.len()) {
            let block = match blocks.entry(number) {
                std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
                std::collections::hash_map::Entry::Vacant(place) => {
                    let mut block = vec![0; BLOCK].into_boxed_slice();
                    self.image.read_exact_at(&mut block, number * BLOCK as u64)?;
                    place.insert(block)
                }
            };
            block[from..from + len].copy_from_slice(&data[at..at + len]);
            at += len;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_read_back_and_do_not_change_the_image() {
        let image = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(image.path(), vec![1; 4 * BLOCK]).unwrap();
        let overlay = Overlay::new(image.path()).unwrap();
        let mut expected = vec![1; 4 * BLOCK];
        for (offset, len, byte) in
            [(512, 512, 2), (3584, 5632, 3), (8192, 4096, 4), (15_872, 512, 5)]
        {
            overlay.write(offset as u64, &vec![byte; len]).unwrap();
            expected[offset..offset + len].fill(byte);
        }
        for (offset, len) in [(0, 4 * BLOCK), (1024, 512), (4096, 8192), (7680, 1024)] {
            let mut data = vec![0; len];
            overlay.read(offset as u64, &mut data).unwrap();
            assert!(data == expected[offset..offset + len], "{len} at {offset}");
        }
        assert!(std::fs::read(image.path()).unwrap() == vec![1; 4 * BLOCK]);
    }
}
