//! The copies of the superblock: reading, checking, repairing.

use super::expected::Expected;
use super::open_report::SuperblockCopy;
use super::read_block::read_block;
use crate::base::limits::{BLOCK, TRAILER};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::Handle;
use crate::volume::error::{IoError, OpenError};
use crate::volume::format::{
    RISING_MAX, Superblock, SuperblockError, SuperblockState, superblock_offsets,
};
use crate::volume::io::VolumeFile;

/// The copies of the superblock of a file, with their offsets (bytes).
pub type Copies = [(u64, Result<Superblock, SuperblockError>); 3];

/// Returns the offsets of the copies in a file of `len` bytes; `None` if it is too short for them.
#[must_use]
pub fn copy_offsets(len: u64) -> Option<[u64; 3]> {
    (len >= 2 * BLOCK + TRAILER).then(|| superblock_offsets(len / BLOCK * BLOCK))
}

/// Reads the copies of a file of `len` bytes. A copy that the device cannot read is a damaged one.
pub async fn read_copies(
    handle: &Handle,
    file: &VolumeFile,
    len: u64,
) -> Result<Copies, OpenError> {
    let offsets = copy_offsets(len).ok_or(OpenError::Superblock(SuperblockError::Damaged))?;
    let mut copies = offsets.map(|offset| (offset, Err(SuperblockError::Damaged)));
    for (offset, copy) in &mut copies {
        let (block, _) = read_block(handle, file, *offset).await?;
        *copy = Superblock::decode(&block);
    }
    Ok(copies)
}

/// Returns the newest valid copy, and the copies that are damaged or differ from it.
pub fn newest(copies: &Copies) -> Result<(Superblock, Vec<SuperblockCopy>), SuperblockError> {
    // A valid copy of another format decides even if another copy is usable: a newer build wrote it last.
    let mut foreign = copies.iter().filter_map(|(_, copy)| copy.as_ref().err());
    if let Some(error) = foreign.find(|error| **error != SuperblockError::Damaged) {
        return Err(*error);
    }
    let valid = copies.iter().filter_map(|(_, copy)| copy.as_ref().ok());
    let mut best =
        valid.max_by_key(|copy| copy.revision).cloned().ok_or(SuperblockError::Damaged)?;
    let bad = copies.iter().filter(|(_, copy)| copy.as_ref() != Ok(&best));
    let bad = bad
        .map(|(offset, copy)| SuperblockCopy { offset: *offset, outdated: copy.is_ok() })
        .collect();
    if best.state == SuperblockState::Building && chosen(Sabotage::ServeBuilding) {
        best.state = SuperblockState::Live;
    }
    Ok((best, bad))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks that the superblock is that of the expected file, whose length is `len` bytes, and that the file
/// was finished.
pub fn check(superblock: &Superblock, expected: &Expected, len: u64) -> Result<(), OpenError> {
    check_identity(superblock, expected, len)?;
    match superblock.state {
        SuperblockState::Building => Err(OpenError::Building),
        _ => Ok(()),
    }
}

/// Checks that the superblock is that of the expected file, whose length is `len` bytes.
pub fn check_identity(
    superblock: &Superblock,
    expected: &Expected,
    len: u64,
) -> Result<(), OpenError> {
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
    Ok(())
}

async fn repair_superblock(
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

/// Makes all copies the same before the volume serves: damaged and outdated ones are rewritten, and the mark
/// *moving* is removed, since this file counts. Returns the superblock that all copies hold then.
pub async fn settle_superblock(
    handle: &Handle,
    file: &VolumeFile,
    superblock: Superblock,
    bad: &[SuperblockCopy],
) -> (Superblock, Result<(), IoError>) {
    if !superblock.is_moving() {
        let repaired = repair_superblock(handle, file, &superblock, bad).await;
        return (superblock, repaired);
    }
    match end_moving(handle, file, &superblock).await {
        Ok(settled) => (settled, Ok(())),
        Err(error) => (superblock, Err(error)),
    }
}

async fn end_moving(
    handle: &Handle,
    file: &VolumeFile,
    superblock: &Superblock,
) -> Result<Superblock, IoError> {
    let revision = superblock.revision + 1;
    if revision >= RISING_MAX {
        return Err(IoError::Errno(nix::libc::EOVERFLOW));
    }
    let superblock = Superblock { revision, ..superblock.clone().with_moving(false) };
    let buf = handle.pool().alloc(BLOCK as usize);
    let mut buf = buf.ok_or(IoError::Errno(nix::libc::ENOBUFS))?;
    superblock.encode(&mut buf);
    for offset in superblock_offsets(superblock.size) {
        buf = file.write_block(buf, offset).await?;
    }
    tracing::warn!(
        volume = superblock.volume.0,
        "a move of the volume to another data directory was not finished: generation {} counts",
        superblock.generation
    );
    Ok(superblock)
}
