//! The copies of the superblock: reading, checking, repairing.

use super::expected::Expected;
use super::open_report::SuperblockCopy;
use super::read_block::read_block;
use crate::base::limits::{BLOCK, TRAILER};
use crate::runtime::Handle;
use crate::volume::error::{IoError, OpenError};
use crate::volume::format::{Superblock, SuperblockError, SuperblockState, superblock_offsets};
use crate::volume::io::VolumeFile;

/// Returns the newest valid copy, and the copies that are damaged or differ from it.
pub async fn read_superblock(
    handle: &Handle,
    file: &VolumeFile,
    len: u64,
) -> Result<(Superblock, Vec<SuperblockCopy>), OpenError> {
    if len < 2 * BLOCK + TRAILER {
        return Err(OpenError::Superblock(SuperblockError::Damaged));
    }
    let mut copies = Vec::new();
    for offset in superblock_offsets(len / BLOCK * BLOCK) {
        let (block, _) = read_block(handle, file, offset).await?;
        copies.push((offset, Superblock::decode(&block)));
    }
    // A valid copy of another format decides even if another copy is usable: a newer build wrote it last.
    let mut foreign = copies.iter().filter_map(|(_, copy)| copy.as_ref().err());
    if let Some(error) = foreign.find(|error| **error != SuperblockError::Damaged) {
        return Err(OpenError::Superblock(*error));
    }
    let best = copies
        .iter()
        .filter_map(|(_, copy)| copy.as_ref().ok())
        .max_by_key(|copy| copy.revision)
        .cloned();
    let best = best.ok_or(OpenError::Superblock(SuperblockError::Damaged))?;
    let bad = copies.into_iter().filter(|(_, copy)| copy.as_ref() != Ok(&best));
    let bad = bad.map(|(offset, copy)| SuperblockCopy { offset, outdated: copy.is_ok() }).collect();
    Ok((best, bad))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks that the superblock is that of the expected file, whose length is `len` bytes.
pub fn check(superblock: &Superblock, expected: &Expected, len: u64) -> Result<(), OpenError> {
    let (found, named) = (superblock.volume, expected.volume);
    if found != named {
        return Err(OpenError::WrongVolume { found, named });
    }
    if superblock.generation != expected.generation {
        let (found, named) = (superblock.generation, expected.generation);
        return Err(OpenError::WrongGeneration { found, named });
    }
    if superblock.store != expected.store {
        let (found, expected) = (hex(&superblock.store), hex(&expected.store));
        return Err(OpenError::WrongStore { found, expected });
    }
    if superblock.size != len {
        return Err(OpenError::WrongLength { found: len, expected: superblock.size });
    }
    if superblock.state == SuperblockState::Building {
        return Err(OpenError::Building);
    }
    Ok(())
}

/// Rewrites the damaged and outdated copies.
pub async fn repair_superblock(
    handle: &Handle,
    file: &VolumeFile,
    superblock: &Superblock,
    bad: &[SuperblockCopy],
) -> Result<(), IoError> {
    for SuperblockCopy { offset, outdated } in bad.iter().copied() {
        let buf = handle.pool().alloc(BLOCK as usize);
        let mut buf = buf.ok_or(IoError::Errno(nix::libc::ENOBUFS))?;
        superblock.encode(&mut buf);
        file.write_block(buf, offset).await?;
        let what = if outdated { "outdated" } else { "damaged" };
        tracing::warn!(
            volume = superblock.volume.0,
            "the superblock copy at byte {offset} was {what} and has been rewritten"
        );
    }
    Ok(())
}
