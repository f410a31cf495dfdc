//! Free space for new files.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use crate::base::new_name;
use crate::base::threads::within;

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

/// Longest time of [`space_soon`].
const SOON: Duration = Duration::from_secs(1);

/// As [`space`], but never waits for a disk that does not answer; `None` if it does not, or after an error.
pub fn space_soon(path: &Path) -> Option<(u64, u64)> {
    let path = path.to_owned();
    within(SOON, move || space(&path))?.ok()
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
        assert!(space_soon(Path::new("/")).is_some_and(|(free, size)| free <= size));
        assert_eq!(space_soon(Path::new("/nonexistent")), None);
    }
}
