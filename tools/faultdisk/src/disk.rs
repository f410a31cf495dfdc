//! The device as a file: a FUSE file system with one directory and one file, served by this process.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr,
    ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};

use crate::device::Device;
use crate::error::{Error, file};
use crate::recorder::Recorder;

/// Number of concurrent requests.
const THREADS: usize = 4;
/// Maximum length of a write request (bytes).
const WRITE_MAX: u32 = 1 << 20;
/// Time for which the kernel may cache the attributes of the file.
const ATTRIBUTE_TTL: Duration = Duration::from_secs(3600);

const FILE: INodeNo = INodeNo(2);
const FILE_NAME: &str = "disk";

/// A device exported as a file; unmounted on drop.
#[derive(Debug)]
pub struct Disk<D> {
    device: Arc<D>,
    session: Option<BackgroundSession>,
    path: PathBuf,
}

impl<D: Device> Disk<D> {
    /// Exports `device` as a file in the directory `mount`, which is created if absent.
    ///
    /// # Errors
    /// When FUSE cannot be mounted.
    pub fn serve(device: D, mount: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(mount).map_err(file("create", mount))?;
        let device = Arc::new(device);
        let mut config = Config::default();
        config.mount_options.push(MountOption::FSName("faultdisk".to_owned()));
        config.n_threads = Some(THREADS);
        config.clone_fd = true;
        let session = fuser::spawn_mount(FuseServer(Arc::clone(&device)), mount, &config);
        let session =
            session.map_err(|source| Error::NoDevice { path: mount.to_owned(), source })?;
        Ok(Self { device, session: Some(session), path: mount.join(FILE_NAME) })
    }

    /// Path of the file, for a loop device.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The exported device.
    #[must_use]
    pub fn device(&self) -> &Arc<D> {
        &self.device
    }
}

impl<D> Drop for Disk<D> {
    fn drop(&mut self) {
        // A process that has the file open keeps the mount busy; that cannot be reported from here.
        let _ = self.session.take().map(BackgroundSession::umount_and_join);
    }
}

/// A recording device exported as a file.
pub type FaultDisk = Disk<Recorder>;

impl FaultDisk {
    /// Exports `image` at `dir`/fuse and records to `dir`/log. The image is modified; replaying the log needs
    /// a copy of its initial state.
    ///
    /// # Errors
    /// When the image cannot be opened, the log cannot be created, or FUSE cannot be mounted.
    pub fn start(image: &Path, dir: &Path) -> Result<Self, Error> {
        let mount = dir.join("fuse");
        std::fs::create_dir_all(&mount).map_err(file("create", &mount))?;
        Self::serve(Recorder::new(image, &dir.join("log"))?, &mount)
    }
}

/// Handler of the kernel's FUSE requests.
struct FuseServer<D>(Arc<D>);

impl<D: Device> FuseServer<D> {
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

    fn read_to_end(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let left = self.0.len().saturating_sub(offset);
        let mut data = vec![0; len.min(usize::try_from(left).unwrap_or(usize::MAX))];
        self.0.read(offset, &mut data)?;
        Ok(data)
    }
}

impl<D: Device> Filesystem for FuseServer<D> {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Without it, writes are serialized.
        let asynchronous = config.add_capabilities(InitFlags::FUSE_ASYNC_DIO);
        asynchronous.map_err(|_| io::Error::from(io::ErrorKind::Unsupported))?;
        // A smaller limit only leads to more requests.
        let _ = config.set_max_write(WRITE_MAX);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == FILE_NAME {
            reply.entry(&ATTRIBUTE_TTL, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&ATTRIBUTE_TTL, &self.attributes(inode));
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
        match self.read_to_end(offset, size as usize) {
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
            Ok(()) => reply.written(u32::try_from(data.len()).expect("at most WRITE_MAX")),
            Err(error) => reply.error(error.into()),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.0.flush() {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error.into()),
        }
    }

    /// Called on close, which does not make anything durable.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    /// Unsupported, so that every change of the device is a write.
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
