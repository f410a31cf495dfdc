//! A read-only driver that uses blocking system calls: for rescue where io_uring is unavailable.
//!
//! A container's seccomp profile, the sysctl `kernel.io_uring_disabled` or an old kernel must not prevent
//! checking and exporting volumes. Each operation is carried out when it is submitted, so nothing is ever in
//! flight. Operations that would change a file fail with `EROFS`, those that need a socket or another shard
//! with `EOPNOTSUPP`.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::stat::Mode;
use slab::Slab;

use crate::base::sys;
use crate::runtime::buffer::Buf;
use crate::runtime::op::{Completion, DirId, Driver, DriverCounts, FileId, Op, Returned, Token};

/// Files that can be open at once: far more than a volume needs.
const FILES_MAX: usize = 1024;

/// Driver that reads with `pread(2)`.
pub struct BlockingReader {
    /// Whether files are opened without `O_DIRECT`.
    buffered: bool,
    dirs: Vec<File>,
    files: Slab<File>,
    completed: Vec<Completion>,
    counts: DriverCounts,
}

impl BlockingReader {
    /// Returns a driver that opens files with `O_DIRECT`, unless `buffered`.
    #[must_use]
    pub fn new(buffered: bool) -> Self {
        Self {
            buffered,
            dirs: Vec::new(),
            files: Slab::new(),
            completed: Vec::new(),
            counts: DriverCounts::default(),
        }
    }

    /// Carries an operation out. Returns its result, and the buffers that it used.
    fn carry_out(&mut self, op: Op) -> (io::Result<u64>, Returned) {
        let result = match op {
            Op::Read { file, mut buf, start, len, offset } => {
                let read = self.read(file, &mut buf, start, len, offset);
                return (read, Returned::One(buf));
            }
            Op::Write { bufs, .. } => return (Err(read_only()), Returned::Many(bufs)),
            Op::Recv { buf, .. } | Op::Send { buf, .. } => {
                return (Err(unsupported()), Returned::One(buf));
            }
            Op::SendLent { lent, .. } => return (Err(unsupported()), Returned::Lent(lent)),
            Op::OpenDir { path } => {
                let mut options = File::options();
                let dir = options.read(true).custom_flags(libc::O_DIRECTORY).open(path);
                dir.map(|dir| {
                    self.dirs.push(dir);
                    self.dirs.len() as u64 - 1
                })
            }
            Op::Open { dir, name, write: false } => self.open(dir, &name),
            Op::FileLen { file } => {
                self.file(file).and_then(File::metadata).map(|found| found.len())
            }
            Op::Extents { file } => self.file(file).and_then(|file| sys::extents(file.as_fd())),
            Op::CloseFile { file } => {
                let closed = self.files.try_remove(file.0 as usize);
                closed.map(|_| 0).ok_or_else(bad_number)
            }
            Op::Open { write: true, .. }
            | Op::Create { .. }
            | Op::Allocate { .. }
            | Op::SetLen { .. }
            | Op::Sync { .. }
            | Op::Rename { .. }
            | Op::Unlink { .. }
            | Op::SyncDir { .. } => Err(read_only()),
            Op::Accept { .. }
            | Op::Connect { .. }
            | Op::RecvAny { .. }
            | Op::ShutdownWrite { .. }
            | Op::Close { .. }
            | Op::PeerName { .. }
            | Op::IsNameOf { .. }
            | Op::Wake { .. } => Err(unsupported()),
        };
        (result, Returned::None)
    }

    fn file(&self, file: FileId) -> io::Result<&File> {
        self.files.get(file.0 as usize).ok_or_else(bad_number)
    }

    fn open(&mut self, dir: DirId, name: &std::ffi::CStr) -> io::Result<u64> {
        if self.files.len() >= FILES_MAX {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let dir = self.dirs.get(dir.0 as usize).ok_or_else(bad_number)?;
        let direct = if self.buffered { OFlag::empty() } else { OFlag::O_DIRECT };
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | direct;
        let file = File::from(openat(dir, name, flags, Mode::empty())?);
        sys::leave_access_time(&file);
        Ok(self.files.insert(file) as u64)
    }

    fn read(
        &self,
        file: FileId,
        buf: &mut Buf,
        start: u32,
        len: u32,
        offset: u64,
    ) -> io::Result<u64> {
        let file = self.file(file)?;
        let target = &mut buf[start as usize..start as usize + len as usize];
        loop {
            match file.read_at(target, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.map(|len| len as u64),
            }
        }
    }
}

fn bad_number() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

fn read_only() -> io::Error {
    io::Error::from_raw_os_error(libc::EROFS)
}

fn unsupported() -> io::Error {
    io::Error::from_raw_os_error(libc::EOPNOTSUPP)
}

impl Driver for BlockingReader {
    fn submit(&mut self, token: Token, op: Op) {
        let (result, returned) = self.carry_out(op);
        let result = match result {
            Ok(number) => i64::try_from(number).expect("lengths and counts are below 2^63"),
            Err(error) => -i64::from(error.raw_os_error().unwrap_or(libc::EIO)),
        };
        self.completed.push(Completion { token, result, returned });
    }

    /// Does nothing: no operation is in flight, since each completes when it is submitted.
    fn cancel(&mut self, _token: Token) {}

    fn reap(&mut self, until: u64, completed: &mut Vec<Completion>) {
        if self.completed.is_empty() && until > 0 {
            assert!(
                until < u64::MAX,
                "deadlock: no operation has completed, and no timer is pending"
            );
            let left = until.saturating_sub(self.now());
            std::thread::sleep(std::time::Duration::from_nanos(left));
        }
        self.counts.completions += self.completed.len() as u64;
        completed.append(&mut self.completed);
    }

    fn counts(&self) -> DriverCounts {
        self.counts
    }

    fn now(&self) -> u64 {
        sys::monotonic_ns()
    }

    fn wall(&self) -> u64 {
        sys::wall_ns()
    }
}
