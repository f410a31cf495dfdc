//! A block device of the tests.

use std::io;

/// What a device does. All of it may be asked of several threads at once.
#[expect(clippy::len_without_is_empty, reason = "a device is never empty")]
pub trait Device: Send + Sync + 'static {
    /// Its length (bytes).
    fn len(&self) -> u64;
    /// Reads what was written last; the range lies within the device.
    ///
    /// # Errors
    /// The kernel's.
    fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()>;
    /// Writes.
    ///
    /// # Errors
    /// The kernel's, or one that was ordered.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Makes durable what was written.
    ///
    /// # Errors
    /// The kernel's, or one that was ordered.
    fn flush(&self) -> io::Result<()>;
}
