//! The device as a file: a FUSE file system with one directory and one file, served by this process.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr,
    ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};

use crate::error::{Error, file};
use crate::recorder::{Fault, Recorder};

/// Requests under way at once.
const THREADS: usize = 4;
/// Longest write in one request (bytes).
const WRITE_MAX: u32 = 1 << 20;
/// How long the kernel may believe what it was told about the file.
const BELIEVE: Duration = Duration::from_secs(3600);

const FILE: INodeNo = INodeNo(2);
const FILE_NAME: &str = "disk";

/// A device that is there as long as this value.
#[derive(Debug)]
pub struct FaultDisk {
    recorder: Arc<Recorder>,
    session: Option<BackgroundSession>,
    device: PathBuf,
    log: PathBuf,
}

impl FaultDisk {
    /// Serves `image` as a device, with `dir`/log as the log and `dir`/fuse as the mount point. The
    /// image itself is written; what it held before is needed to make sense of the log.
    ///
    /// # Errors
    /// When there is no such image, or FUSE cannot be mounted.
    pub fn start(image: &Path, dir: &Path) -> Result<Self, Error> {
        let (mount, log) = (dir.join("fuse"), dir.join("log"));
        std::fs::create_dir_all(&mount).map_err(file("create", &mount))?;
        let recorder = Arc::new(Recorder::new(image, &log)?);
        let mut config = Config::default();
        config.mount_options.push(MountOption::FSName("faultdisk".to_owned()));
        config.n_threads = Some(THREADS);
        config.clone_fd = true;
        let session = fuser::spawn_mount(Served(Arc::clone(&recorder)), &mount, &config);
        let session = session.map_err(|source| Error::NoDevice { path: mount.clone(), source })?;
        let device = mount.join(FILE_NAME);
        Ok(Self { recorder, session: Some(session), device, log })
    }

    /// The file that is the device; a loop device goes on it.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// The log, to be opened when the device is not used any more.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Number of requests that have completed: the time, as the device tells it.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.recorder.done()
    }

    /// What tells that time to others.
    #[must_use]
    pub fn clock(&self) -> Arc<Recorder> {
        Arc::clone(&self.recorder)
    }

    /// Gives the order to fail, or takes it back.
    pub fn fail(&self, fault: Option<Fault>) {
        self.recorder.fail(fault);
    }
}

impl Drop for FaultDisk {
    fn drop(&mut self) {
        // Whatever still has the file open keeps it; there is nobody to tell.
        let _ = self.session.take().map(BackgroundSession::umount_and_join);
    }
}

/// What the kernel asks.
struct Served(Arc<Recorder>);

impl Served {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_file = inode == FILE;
        FileAttr {
            ino: inode,
            size: if is_file { self.0.len() } else { 0 },
            blocks: if is_file { self.0.len() / 512 } else { 0 },
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: if is_file { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Served {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // Without it, one write waits for another.
        let asynchronous = config.add_capabilities(InitFlags::FUSE_ASYNC_DIO);
        asynchronous.map_err(|_| std::io::Error::from(std::io::ErrorKind::Unsupported))?;
        // A smaller bound than wanted only makes more requests.
        let _ = config.set_max_write(WRITE_MAX);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == FILE_NAME {
            reply.entry(&BELIEVE, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&BELIEVE, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let flags = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.0.read(offset, size as usize) {
            Ok(data) => reply.data(&data),
            Err(error) => reply.error(error.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.write(offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).expect("a request's length")),
            Err(error) => reply.error(error.into()),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.0.flush() {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error.into()),
        }
    }

    /// Closing a file makes nothing durable.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    /// There is no way to give up space: every change is a write.
    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EOPNOTSUPP);
    }
}
