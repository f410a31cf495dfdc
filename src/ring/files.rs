//! Open files and directories of a ring.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use io_uring::Submitter;
use io_uring::types::{Fd, Fixed};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::libc;
use nix::sys::stat::fstatat;
use slab::Slab;

use crate::base::limits::FILES_PER_SHARD;
use crate::base::sys;
use crate::runtime::devices::Devices;
use crate::runtime::op::{DirId, FileId};

/// Extent size hint for volumes on XFS (bytes).
const EXTENT_SIZE: u32 = 1 << 30;

/// An open file.
pub struct OpenFile {
    generation: u16,
    file: File,
    /// Position of its device.
    pub device: usize,
}

/// Width of the slot number in a file id (bits). The bits above hold the number of previous uses of the slot.
const FILE_SLOT_BITS: u32 = 16;
const _: () = assert!(FILES_PER_SHARD <= 1 << FILE_SLOT_BITS);

fn slot_of(file: FileId) -> u32 {
    file.0 & ((1 << FILE_SLOT_BITS) - 1)
}

fn generation_of(file: FileId) -> u16 {
    u16::try_from(file.0 >> FILE_SLOT_BITS).expect("16 bits")
}

/// Slot of a file in the table of files that is registered with the kernel.
pub fn fixed(file: FileId) -> Fixed {
    Fixed(slot_of(file))
}

/// Result of a sync or durable write of `file`: an error if the file system has shut down meanwhile.
///
/// Observed on Linux 6.18 (`cargo xtask powercut`): when XFS shuts itself down during a durable write, the
/// write may be reported as successful and be lost. The likely reason is that `xfs_file_fsync` checks for a
/// shutdown only at its beginning, and later waits for the log only if the inode is still pinned, which the
/// shutdown ends too. After a shutdown `fstat(2)` fails on XFS; the check costs a system call per commit.
fn sync_result(file: &File, result: i32) -> i64 {
    match file.metadata() {
        Err(error) if result >= 0 => -i64::from(error.raw_os_error().unwrap_or(libc::EIO)),
        _ => i64::from(result),
    }
}

/// The open files and directories. Files are registered with the kernel, under the number of their slot.
pub struct OpenFiles {
    dirs: Vec<File>,
    files: Slab<OpenFile>,
    /// Number of uses of each slot in `files`, so that the id of a closed file never names another file.
    generations: Vec<u16>,
    /// Number of slots in the kernel's table of files.
    files_max: u32,
}

impl OpenFiles {
    /// Nothing is open. `files_max` is the number of slots in the kernel's table of files.
    pub fn new(files_max: u32) -> Self {
        Self { dirs: Vec::new(), files: Slab::new(), generations: Vec::new(), files_max }
    }

    #[cfg(test)]
    pub fn dirs(&self) -> usize {
        self.dirs.len()
    }

    /// Whether a file is open.
    pub fn is_open(&self, file: FileId) -> bool {
        self.file(file).is_ok()
    }

    /// Looks up an open file by its id.
    ///
    /// # Errors
    /// `EBADF` if it is not open.
    pub fn file(&self, file: FileId) -> io::Result<&OpenFile> {
        let open = self.files.get(slot_of(file) as usize);
        let open = open.filter(|open| open.generation == generation_of(file));
        open.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
    }

    /// Length of a file (bytes).
    pub fn len_of(&self, file: FileId) -> io::Result<u64> {
        Ok(self.file(file)?.file.metadata()?.len())
    }

    /// Sets the length of a file (bytes). io_uring can do that from Linux 6.9 on only; the call changes
    /// metadata in memory, and the log of the file system if that is short of space.
    pub fn set_len(&self, file: FileId, len: u64) -> io::Result<u64> {
        self.file(file)?.file.set_len(len).map(|()| 0)
    }

    /// Whether a name in a directory leads to a file.
    pub fn is_name_of(&self, dir: DirId, name: &CStr, file: FileId) -> io::Result<bool> {
        let bad_number = || io::Error::from_raw_os_error(libc::EBADF);
        let dir = self.dirs.get(dir.0 as usize).ok_or_else(bad_number)?;
        let open = self.file(file)?.file.metadata()?;
        match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => Ok((found.st_dev, found.st_ino) == (open.dev(), open.ino())),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Number of extents of a file.
    pub fn extents_of(&self, file: FileId) -> io::Result<u64> {
        sys::extents(self.file(file)?.file.as_fd())
    }

    /// Hints the file system to allocate large extents, before the first `len` bytes of a file are allocated.
    /// XFS then rounds every allocation in the file to such extents.
    pub fn hint_extent_size(&self, file: FileId, len: u64) {
        // Only XFS supports the hint. A small file would be allocated far too much space.
        if len >= u64::from(EXTENT_SIZE)
            && let Ok(open) = self.file(file)
        {
            let _ = sys::hint_extent_size(open.file.as_fd(), EXTENT_SIZE);
        }
    }

    /// Closes a file.
    pub fn close(&mut self, file: FileId, ring: &Submitter<'_>) -> io::Result<()> {
        self.file(file)?;
        let slot = slot_of(file);
        self.files.remove(slot as usize);
        let generation = &mut self.generations[slot as usize];
        *generation = generation.wrapping_add(1);
        ring.register_files_update(slot, &[-1]).map(drop)
    }

    /// Descriptor of a directory. -1 for the id of a directory that could not be opened, so that operations
    /// on it end with `EBADF`.
    pub fn dir(&self, dir: DirId) -> Fd {
        Fd(self.dirs.get(dir.0 as usize).map_or(-1, AsRawFd::as_raw_fd))
    }

    /// Opens a directory and returns its id.
    pub fn open_dir(&mut self, path: &Path) -> io::Result<u64> {
        let mut options = File::options();
        let dir = options.read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
        self.number_of_dir(dir)
    }

    /// Returns the id of a directory. A directory that is open already keeps its id: directories are never
    /// closed, and every creation of a volume opens its directory.
    fn number_of_dir(&mut self, dir: File) -> io::Result<u64> {
        let identity = |dir: &File| dir.metadata().map(|found| (found.dev(), found.ino()));
        let wanted = identity(&dir)?;
        let known = self.dirs.iter().position(|open| identity(open).is_ok_and(|id| id == wanted));
        let number = known.unwrap_or_else(|| {
            self.dirs.push(dir);
            self.dirs.len() - 1
        });
        Ok(number as u64)
    }

    /// Checked result of a sync or durable write of a file.
    pub fn file_sync_result(&self, file: FileId, result: i32) -> i64 {
        match self.file(file) {
            Ok(open) => sync_result(&open.file, result),
            Err(_) => i64::from(result),
        }
    }

    /// Checked result of a sync of a directory.
    pub fn dir_sync_result(&self, dir: DirId, result: i32) -> i64 {
        self.dirs.get(dir.0 as usize).map_or(i64::from(result), |dir| sync_result(dir, result))
    }

    /// Registers a file that was just opened and returns its id, or the negated errno.
    pub fn opened(&mut self, result: i32, devices: &mut Devices, ring: &Submitter<'_>) -> i64 {
        if result < 0 {
            return i64::from(result);
        }
        // SAFETY: the kernel has just opened this descriptor for this ring; nothing else owns it.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(result) });
        sys::leave_access_time(&file);
        let number = match file.metadata() {
            Ok(metadata) => metadata.dev(),
            Err(error) => return -i64::from(error.raw_os_error().unwrap_or(libc::EIO)),
        };
        let device = devices.position(number);
        let fd = file.as_raw_fd();
        let slot = u32::try_from(self.files.vacant_key()).expect("fewer than 2^32 files");
        if slot >= self.files_max {
            return -i64::from(libc::EMFILE);
        }
        match ring.register_files_update(slot, &[fd]) {
            Ok(_) => {
                let slot_index = slot as usize;
                self.generations.resize(self.generations.len().max(slot_index + 1), 0);
                let generation = self.generations[slot_index];
                self.files.insert(OpenFile { generation, file, device });
                i64::from(u32::from(generation) << FILE_SLOT_BITS | slot)
            }
            Err(error) => -i64::from(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}

#[cfg(test)]
mod tests {
    use io_uring::IoUring;

    use super::*;

    /// The descriptor of a new file, as the kernel returns it.
    fn descriptor() -> i32 {
        use std::os::fd::IntoRawFd;
        tempfile::tempfile().unwrap().into_raw_fd()
    }

    fn ring(slots: u32) -> IoUring {
        let ring = IoUring::new(8).unwrap();
        ring.submitter().register_files_sparse(slots).unwrap();
        ring
    }

    fn id(opened: i64) -> FileId {
        FileId(u32::try_from(opened).unwrap())
    }

    #[test]
    fn no_more_files_are_open_than_the_table_has_slots() {
        let (ring, mut devices) = (ring(2), Devices::new(1));
        let mut files = OpenFiles::new(2);
        let mut open = || files.opened(descriptor(), &mut devices, &ring.submitter());
        assert_eq!([open(), open(), open()], [0, 1, -i64::from(libc::EMFILE)]);
        assert_eq!(files.opened(-libc::ENOENT, &mut devices, &ring.submitter()), -2);
        files.close(FileId(0), &ring.submitter()).unwrap();
        assert!(files.is_open(FileId(1)) && !files.is_open(FileId(0)));
        let again = files.opened(descriptor(), &mut devices, &ring.submitter());
        assert_eq!(again, 1 << FILE_SLOT_BITS, "slot 0, used for the second time");
        let full = files.opened(descriptor(), &mut devices, &ring.submitter());
        assert_eq!(full, -i64::from(libc::EMFILE));
    }

    #[test]
    fn the_generation_of_a_slot_counts_its_uses_and_wraps() {
        let (ring, mut devices) = (ring(2), Devices::new(1));
        let mut files = OpenFiles::new(2);
        let mut last = id(files.opened(descriptor(), &mut devices, &ring.submitter()));
        let other = id(files.opened(descriptor(), &mut devices, &ring.submitter()));
        for use_number in 1..4 {
            files.close(last, &ring.submitter()).unwrap();
            let closed = last;
            last = id(files.opened(descriptor(), &mut devices, &ring.submitter()));
            assert_eq!((generation_of(last), slot_of(last)), (use_number, 0));
            assert!(!files.is_open(closed));
            assert!(files.close(closed, &ring.submitter()).is_err(), "it is closed already");
            assert!(files.is_open(last) && files.is_open(other));
        }
        files.generations[0] = u16::MAX;
        files.files[0].generation = u16::MAX;
        let highest = FileId(u32::from(u16::MAX) << FILE_SLOT_BITS);
        files.close(highest, &ring.submitter()).unwrap();
        assert_eq!(files.opened(descriptor(), &mut devices, &ring.submitter()), 0);
    }

    #[test]
    fn directories_that_are_not_open_have_no_descriptor() {
        let mut files = OpenFiles::new(1);
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(files.open_dir(dir.path()).unwrap(), 0);
        assert_eq!(files.open_dir(Path::new("/")).unwrap(), 1);
        assert!(files.open_dir(&dir.path().join("absent")).is_err());
        assert!(files.dir(DirId(0)).0 >= 0 && files.dir(DirId(1)).0 >= 0);
        assert_ne!(files.dir(DirId(0)).0, files.dir(DirId(1)).0);
        assert_eq!(files.dir(DirId(2)).0, -1);
        assert_eq!(files.dir_sync_result(DirId(0), -5), -5);
        assert_eq!(files.dir_sync_result(DirId(2), -5), -5);
        assert_eq!(files.file_sync_result(FileId(9), 3), 3);
    }
}
