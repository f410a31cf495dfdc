//! Making names durable.

use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::Handle;
use crate::runtime::op::{DirId, Op};
use crate::volume::error::IoError;
use crate::volume::io::outcome;

/// Makes the names in a directory durable.
///
/// # Errors
/// The error of the operation.
pub async fn sync_dir(handle: &Handle, dir: DirId) -> Result<(), IoError> {
    if chosen(Sabotage::SkipDirectorySync) {
        return Ok(());
    }
    outcome(&handle.submit(Op::SyncDir { dir }).await).map(drop)
}
