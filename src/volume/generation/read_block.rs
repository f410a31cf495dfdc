//! Reading a block before the index is there.

use crate::base::limits::BLOCK;
use crate::runtime::Handle;
use crate::runtime::buffer::Buf;
use crate::volume::error::OpenError;
use crate::volume::io::VolumeFile;

/// Reads a block. Also returns the number of its sectors that the device could not read.
pub async fn read_block(
    handle: &Handle,
    file: &VolumeFile,
    offset: u64,
) -> Result<(Buf, usize), OpenError> {
    let buf = handle.pool().alloc(BLOCK as usize).ok_or(OpenError::NoBuffer)?;
    Ok(file.read_damaged(buf, 0, BLOCK as usize, offset).await)
}
