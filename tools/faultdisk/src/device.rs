//! Interface of the block devices under test.

use std::io;

/// Backend of a block device. Methods are called from several threads at once.
#[expect(clippy::len_without_is_empty, reason = "a device is never empty")]
pub trait Device: Send + Sync + 'static {
    /// Length (bytes).
    fn len(&self) -> u64;
    /// Reads `data.len()` bytes at `offset`; the range is within the device.
    ///
    /// # Errors
    /// Error of the image.
    fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()>;
    /// Writes `data` at `offset`; the range is within the device.
    ///
    /// # Errors
    /// Error of the image, or an injected fault.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Makes completed writes durable.
    ///
    /// # Errors
    /// Error of the image, or an injected fault.
    fn flush(&self) -> io::Result<()>;
}
