//! Free space for new files.

use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::base::new_name;

/// Returns the free space for new files in the file system of `path`, and the size of that file system, both
/// in bytes (`statvfs(3)`).
///
/// # Errors
/// The kernel's.
pub fn space(path: &Path) -> io::Result<(u64, u64)> {
    let space = statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(space.fragment_size());
    Ok((bytes(space.blocks_available()), bytes(space.blocks())))
}

/// Returns the data directory itself if it exists, else the directory in which it will be created.
pub fn place_of(path: &Path) -> Option<&Path> {
    if path.exists() { Some(path) } else { new_name::parent_of(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_and_size_are_read_from_the_file_system() {
        let (free, size) = space(Path::new("/")).unwrap();
        assert!(free <= size && size > 1 << 20);
        assert!(space(Path::new("/nonexistent")).is_err());
    }
}
