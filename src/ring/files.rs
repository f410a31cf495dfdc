//! Operations on files and directories, which are rare and not part of any request.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use io_uring::opcode;
use io_uring::types::{Fd, Fixed, FsyncFlags};
use nix::libc;
use slab::Slab;

use super::{Held, Ring};
use crate::base::limits::FILES_PER_SHARD;
use crate::base::sys;
use crate::runtime::op::{DirId, FileId, Op, Returned, Token};

/// Extent size hint for volumes on XFS (bytes).
const EXTENT_SIZE: u32 = 1 << 30;

pub(super) struct OpenFile {
    generation: u16,
    file: File,
    pub(super) device: usize,
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

pub(super) fn fixed(file: FileId) -> Fixed {
    Fixed(slot_of(file))
}

/// Looks up an open file by its id.
pub(super) fn open_file(files: &Slab<OpenFile>, file: FileId) -> Option<&OpenFile> {
    let open = files.get(slot_of(file) as usize);
    open.filter(|open| open.generation == generation_of(file))
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

impl Ring {
    /// Dispatches an operation on a file or directory other than a transfer.
    pub(super) fn dispatch_file_op(&mut self, token: Token, op: Op) {
        match op {
            Op::OpenDir { path } => self.open_dir(token, &path),
            Op::Create { dir, name } => {
                self.open(token, dir, name, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL);
            }
            Op::Open { dir, name, write } => {
                let access = if write { libc::O_RDWR } else { libc::O_RDONLY };
                self.open(token, dir, name, access);
            }
            Op::FileLen { file } => {
                let len = self.file(file).and_then(|open| open.file.metadata());
                self.end_with(token, len.map(|metadata| metadata.len()));
            }
            Op::Extents { file } => {
                let count = self.file(file).and_then(|open| sys::extents(open.file.as_fd()));
                self.end_with(token, count);
            }
            Op::Allocate { file, len } => {
                if len >= u64::from(EXTENT_SIZE) {
                    // Only XFS supports the hint. A small file would be allocated far too much space.
                    let _ = self
                        .file(file)
                        .and_then(|open| sys::hint_extent_size(open.file.as_fd(), EXTENT_SIZE));
                }
                self.launch(token, Held::Nothing, None, |_| {
                    opcode::Fallocate::new(fixed(file), len).build()
                });
            }
            Op::Sync { file } => self.launch(token, Held::Sync(file), None, |_| {
                opcode::Fsync::new(fixed(file)).flags(FsyncFlags::DATASYNC).build()
            }),
            Op::CloseFile { file } => self.close_file(token, file),
            Op::Rename { dir, from, to, replace } => {
                let dir = self.dir(dir);
                let flags = if replace { 0 } else { libc::RENAME_NOREPLACE };
                let held = Held::Names { _from: from, _to: to };
                self.launch(token, held, None, |held| {
                    let Held::Names { _from: from, _to: to } = held else { unreachable!() };
                    opcode::RenameAt::new(dir, from.as_ptr(), dir, to.as_ptr()).flags(flags).build()
                });
            }
            Op::Unlink { dir, name } => {
                let dir = self.dir(dir);
                self.launch(token, Held::Name { _name: name }, None, |held| {
                    let Held::Name { _name: name } = held else { unreachable!() };
                    opcode::UnlinkAt::new(dir, name.as_ptr()).build()
                });
            }
            Op::SyncDir { dir } => {
                let fd = self.dir(dir);
                self.launch(token, Held::SyncDir(dir), None, |_| opcode::Fsync::new(fd).build());
            }
            _ => unreachable!("connections and transfers are dispatched by `dispatch`"),
        }
    }

    fn end_with(&mut self, token: Token, result: io::Result<u64>) {
        let number = match result {
            Ok(value) => i64::try_from(value).expect("lengths and counts are below 2^63"),
            Err(error) => -i64::from(error.raw_os_error().unwrap_or(libc::EIO)),
        };
        self.end(token, number, Returned::None);
    }

    /// Descriptor of a directory. -1 for the id of a directory that could not be opened, so that operations
    /// on it end with `EBADF`.
    fn dir(&self, dir: DirId) -> Fd {
        Fd(self.dirs.get(dir.0 as usize).map_or(-1, AsRawFd::as_raw_fd))
    }

    pub(super) fn file(&self, file: FileId) -> io::Result<&OpenFile> {
        open_file(&self.files, file).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
    }

    fn close_file(&mut self, token: Token, file: FileId) {
        if self.file(file).is_err() {
            return self.fail(token, libc::EBADF);
        }
        let slot = slot_of(file);
        self.files.remove(slot as usize);
        let generation = &mut self.file_generations[slot as usize];
        *generation = generation.wrapping_add(1);
        let update = self.ring.submitter().register_files_update(slot, &[-1]);
        self.end_with(token, update.map(|_| 0));
    }

    /// Completes a transfer on a file that was closed meanwhile with `EBADF`.
    pub(super) fn refuse_transfer(&mut self, token: Token, op: Op) {
        let returned = match op {
            Op::Read { buf, .. } => Returned::One(buf),
            Op::Write { bufs, .. } => Returned::Many(bufs),
            _ => Returned::None,
        };
        self.end(token, -i64::from(libc::EBADF), returned);
    }

    fn open_dir(&mut self, token: Token, path: &Path) {
        let mut options = File::options();
        let opened = options.read(true).custom_flags(libc::O_DIRECTORY).open(path);
        let number = opened.and_then(|dir| self.number_of_dir(dir));
        self.end_with(token, number);
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

    fn open(&mut self, token: Token, dir: DirId, name: CString, access: i32) {
        let direct = if self.options.buffered { 0 } else { libc::O_DIRECT };
        let flags = libc::O_CLOEXEC | libc::O_NOFOLLOW | direct | access;
        let dir = self.dir(dir);
        self.launch(token, Held::Opening { _name: name }, None, |held| {
            let Held::Opening { _name: name } = held else { unreachable!() };
            opcode::OpenAt::new(dir, name.as_ptr()).flags(flags).mode(0o600).build()
        });
    }

    /// Checked result of a sync or durable write of a file.
    pub(super) fn file_sync_result(&self, file: FileId, result: i32) -> i64 {
        match self.file(file) {
            Ok(open) => sync_result(&open.file, result),
            Err(_) => i64::from(result),
        }
    }

    /// Checked result of a sync of a directory.
    pub(super) fn dir_sync_result(&self, dir: DirId, result: i32) -> i64 {
        self.dirs.get(dir.0 as usize).map_or(i64::from(result), |dir| sync_result(dir, result))
    }

    /// Registers a file that was just opened and returns its id, or the negated errno.
    pub(super) fn opened(&mut self, result: i32) -> i64 {
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
        let device = self.devices.position(number);
        let fd = file.as_raw_fd();
        let slot = u32::try_from(self.files.vacant_key()).expect("fewer than 2^32 files");
        if slot >= self.files_max {
            return -i64::from(libc::EMFILE);
        }
        match self.ring.submitter().register_files_update(slot, &[fd]) {
            Ok(_) => {
                let slot_index = slot as usize;
                self.file_generations.resize(self.file_generations.len().max(slot_index + 1), 0);
                let generation = self.file_generations[slot_index];
                self.files.insert(OpenFile { generation, file, device });
                i64::from(u32::from(generation) << FILE_SLOT_BITS | slot)
            }
            Err(error) => -i64::from(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}
