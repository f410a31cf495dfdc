//! What operations on files and directories do, with the faults that hit them.

use std::path::PathBuf;

use nix::libc;

use super::disk::SECTOR;
use super::fault::{
    BAD_SECTOR, Fault, NO_SPACE, UNREADABLE_SECTOR, WRITE_AFTER_FAILURE, WRITE_WITHOUT_SPACE,
};
use super::flight::gather;
use super::state::{State, name_in};
use crate::base::limits::UNIT;
use crate::runtime::op::{FileId, Op, Returned};

/// Whether a read has the alignment that direct I/O requires.
fn is_aligned(start: u32, len: u32, offset: u64) -> bool {
    [u64::from(start), u64::from(len), offset].iter().all(|number| number.is_multiple_of(UNIT))
}

impl State {
    /// Carries an operation out, with its fault, and returns its result.
    pub(super) fn carry_out(&mut self, op: Op, fault: Option<Fault>) -> (i64, Returned) {
        let place = |offset: u64| usize::try_from(offset).expect("small files");
        match op {
            Op::Read { file, buf, .. } if !self.is_open(file) => {
                (-i64::from(libc::EBADF), Returned::One(buf))
            }
            // As with O_DIRECT (open(2)).
            Op::Read { buf, start, len, offset, .. } if !is_aligned(start, len, offset) => {
                (-i64::from(libc::EINVAL), Returned::One(buf))
            }
            Op::Read { file, mut buf, start, len, offset } => {
                let out = &mut buf[start as usize..(start + len) as usize];
                let result = self.read(self.inode(file), place(offset), out, fault);
                (result, Returned::One(buf))
            }
            Op::Write { file, bufs, .. } if !self.may_write(file) => {
                (-i64::from(libc::EBADF), Returned::Many(bufs))
            }
            Op::Write { file, bufs, pieces, offset, durable } => {
                let bytes = gather(&bufs, &pieces);
                let inode = self.inode(file);
                (self.write(inode, place(offset), &bytes, durable, fault), Returned::Many(bufs))
            }
            Op::Sync { file } if !self.is_open(file) => (-i64::from(libc::EBADF), Returned::None),
            Op::Sync { file } => (self.sync(self.inode(file), fault), Returned::None),
            Op::CloseFile { file } => {
                // A second close could hit another file that has the same number by then. The file is closed
                // even if close(2) reports an error.
                assert!(self.open.remove(&file.0).is_some(), "file {} was closed twice", file.0);
                (self.fails(fault).unwrap_or(0), Returned::None)
            }
            other => {
                let failed = self.fails(fault);
                (failed.unwrap_or_else(|| self.carry_out_plain(other)), Returned::None)
            }
        }
    }

    fn carry_out_plain(&mut self, op: Op) -> i64 {
        match op {
            Op::OpenDir { path } => self.open_dir(path),
            Op::Create { dir, .. }
            | Op::Open { dir, .. }
            | Op::Rename { dir, .. }
            | Op::Unlink { dir, .. }
            | Op::SyncDir { dir }
            | Op::IsNameOf { dir, .. }
                if dir.0 as usize >= self.dirs.len().max(1) =>
            {
                -i64::from(libc::EBADF)
            }
            Op::Create { dir, name } => match self.disk.create(&name_in(dir, &name)) {
                Some(inode) => self.open_file(inode, true),
                None => -i64::from(libc::EEXIST),
            },
            Op::Open { dir, name, write } => match self.disk.find(&name_in(dir, &name)) {
                Some(inode) => self.open_file(inode, write),
                None => -i64::from(libc::ENOENT),
            },
            Op::FileLen { file } => {
                i64::try_from(self.disk.len(self.inode(file))).expect("small files")
            }
            Op::IsNameOf { dir, name, file } => {
                i64::from(self.disk.find(&name_in(dir, &name)) == Some(self.inode(file)))
            }
            Op::Extents { .. } => 0,
            // As in fallocate(2), the length is looked at before the access.
            Op::Allocate { file, len: 0, .. } if self.is_open(file) => -i64::from(libc::EINVAL),
            Op::Allocate { file, .. } if !self.may_write(file) => -i64::from(libc::EBADF),
            Op::Allocate { file, offset, len } => self.allocate(file, offset, len),
            Op::SetLen { file, .. } if !self.is_open(file) => -i64::from(libc::EBADF),
            // As ftruncate(2) of a file that is open for reading only.
            Op::SetLen { file, .. } if !self.may_write(file) => -i64::from(libc::EINVAL),
            Op::SetLen { file, len } => {
                let inode = self.inode(file);
                self.disk.set_len(inode, usize::try_from(len).expect("small files"));
                0
            }
            Op::Rename { dir, from, to, replace } => self
                .disk
                .rename(&name_in(dir, &from), &name_in(dir, &to), replace)
                .map_or_else(|errno| -i64::from(errno), |()| 0),
            Op::Unlink { dir, name } => {
                if self.disk.unlink(&name_in(dir, &name)) {
                    0
                } else {
                    -i64::from(libc::ENOENT)
                }
            }
            Op::SyncDir { dir } => {
                self.disk.sync_directory(dir.0);
                0
            }
            other => unreachable!("{other:?} is carried out elsewhere"),
        }
    }

    /// Reserves blocks, all or none.
    fn allocate(&mut self, file: FileId, offset: u64, len: u64) -> i64 {
        let (at, len) = (usize::try_from(offset), usize::try_from(len));
        let (at, len) = (at.expect("small files"), len.expect("small files"));
        let inode = self.inode(file);
        if !self.has_space(inode, at, len) {
            self.faults.count(NO_SPACE);
            return -i64::from(libc::ENOSPC);
        }
        self.disk.allocate(inode, at, len);
        0
    }

    /// Whether there are enough free blocks for `len` bytes at `at`.
    fn has_space(&self, inode: usize, at: usize, len: usize) -> bool {
        let missing = self.disk.missing_blocks(inode, at, len);
        missing == 0 || missing <= self.free_blocks()
    }

    /// Numbers directories in the order in which they are opened first. All of them exist.
    fn open_dir(&mut self, path: PathBuf) -> i64 {
        let known = self.dirs.iter().position(|dir| *dir == path);
        let number = known.unwrap_or_else(|| {
            self.dirs.push(path);
            self.dirs.len() - 1
        });
        i64::try_from(number).expect("few directories")
    }

    fn open_file(&mut self, inode: usize, write: bool) -> i64 {
        let file = self.next_file;
        self.next_file += 1;
        self.open.insert(file, (inode, write));
        i64::from(file)
    }

    /// Counts the beginning of an operation, and returns its additional delay (nanoseconds).
    pub(super) fn before(&mut self, number: u64, op: &Op) -> u64 {
        if let Op::Write { file, .. } | Op::Sync { file } = op
            && self.is_open(*file)
            && self.faults.has_failed(self.inode(*file))
        {
            self.faults.count(WRITE_AFTER_FAILURE);
        }
        match self.faults.of(number) {
            Some(fault @ Fault::Stall(ns)) => {
                self.faults.count(fault.name());
                ns
            }
            _ => 0,
        }
    }

    fn met(&mut self, fault: Fault) {
        self.faults.count(fault.name());
    }

    fn failed(&mut self, inode: usize, fault: Fault) {
        self.met(fault);
        self.faults.add_failed(inode);
    }

    /// The negated errno of an operation that neither reads nor writes, if it fails.
    fn fails(&mut self, fault: Option<Fault>) -> Option<i64> {
        let Some(fault @ Fault::Errno(errno)) = fault else { return None };
        self.met(fault);
        Some(-i64::from(errno))
    }

    /// Offset of a misdirected operation, limited to the file if the operation fits into it.
    fn misdirected(&self, inode: usize, at: usize, len: usize, by: i32) -> usize {
        let by = isize::try_from(by).expect("32 bits fit") * SECTOR.cast_signed();
        at.saturating_add_signed(by).min(self.disk.len(inode).saturating_sub(len))
    }

    /// Performs a read and returns the result of the operation.
    fn read(
        &mut self,
        inode: usize,
        mut at: usize,
        mut out: &mut [u8],
        fault: Option<Fault>,
    ) -> i64 {
        match fault {
            Some(Fault::Errno(_)) => return self.fails(fault).expect("an errno fault fails"),
            Some(fault @ Fault::Short(most)) if (most as usize) < out.len() => {
                self.met(fault);
                out = &mut out[..most as usize];
            }
            Some(fault @ Fault::Misdirected(by)) => {
                self.met(fault);
                at = self.misdirected(inode, at, out.len(), by);
            }
            _ => {}
        }
        if self.disk.is_bad(inode, at, out.len()) {
            self.faults.count(BAD_SECTOR);
            return -i64::from(libc::EIO);
        }
        if self.disk.is_unreadable(inode, at, out.len()) {
            self.faults.count(UNREADABLE_SECTOR);
            return -i64::from(libc::EIO);
        }
        i64::try_from(self.disk.read(inode, at, out)).expect("small files")
    }

    /// Performs a write and returns the result of the operation.
    fn write(
        &mut self,
        inode: usize,
        at: usize,
        mut bytes: &[u8],
        durable: bool,
        fault: Option<Fault>,
    ) -> i64 {
        let failed = -i64::from(libc::EIO);
        if self.disk.is_bad(inode, at, bytes.len()) {
            self.faults.count(BAD_SECTOR);
            self.faults.add_failed(inode);
            return failed;
        }
        if !self.has_space(inode, at, bytes.len()) {
            self.faults.count(WRITE_WITHOUT_SPACE);
            self.faults.add_failed(inode);
            return -i64::from(libc::ENOSPC);
        }
        let done = |bytes: &[u8]| i64::try_from(bytes.len()).expect("small files");
        match fault {
            Some(fault @ Fault::Errno(errno)) => {
                self.failed(inode, fault);
                return -i64::from(errno);
            }
            Some(fault @ Fault::Dropped) => {
                self.failed(inode, fault);
                self.disk.write_discarded(inode, at, bytes);
                return failed;
            }
            Some(fault @ Fault::Kept) => {
                self.failed(inode, fault);
                self.disk.write(inode, at, bytes, false);
                return failed;
            }
            Some(fault @ Fault::Lost) => {
                self.met(fault);
                return done(bytes);
            }
            Some(fault @ Fault::Short(most)) if (most as usize) < bytes.len() => {
                self.failed(inode, fault);
                bytes = &bytes[..most as usize];
            }
            Some(fault @ Fault::Misdirected(by)) => {
                self.met(fault);
                let at = self.misdirected(inode, at, bytes.len(), by);
                self.disk.write(inode, at, bytes, durable);
                return done(bytes);
            }
            _ => {}
        }
        self.disk.write(inode, at, bytes, durable);
        done(bytes)
    }

    /// Performs a sync of a file and returns the result of the operation.
    fn sync(&mut self, inode: usize, fault: Option<Fault>) -> i64 {
        match fault {
            Some(fault @ Fault::Errno(errno)) => {
                self.failed(inode, fault);
                return -i64::from(errno);
            }
            Some(fault @ (Fault::Dropped | Fault::Kept)) => {
                self.failed(inode, fault);
                if fault == Fault::Dropped {
                    self.disk.discard_unflushed(inode);
                }
                return -i64::from(libc::EIO);
            }
            _ => {}
        }
        self.disk.sync(inode);
        0
    }
}
