//! Thin wrappers around system calls that no library wraps.
#![expect(unsafe_code, reason = "system calls without a safe wrapper")]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU8, Ordering};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

/// Bit N: descriptor N was closed when the process was started.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// Makes the loader check the standard descriptors before `main`. Later is too late: the Rust runtime opens
/// `/dev/null` for those that are closed, and output written there is lost without an error.
#[used]
// SAFETY: the section holds pointers to C functions without a result, and the loader calls each once, on the
// only thread there is. This one makes three system calls and stores a byte.
#[unsafe(link_section = ".init_array")]
static LOOK_BEFORE_MAIN: extern "C" fn() = note_closed;

extern "C" fn note_closed() {
    for descriptor in 0..3 {
        // SAFETY: no memory is touched; a number that is no descriptor is an error.
        if unsafe { libc::fcntl(descriptor, libc::F_GETFD) } < 0 {
            CLOSED.fetch_or(1 << descriptor, Ordering::Relaxed);
        }
    }
}

/// Checks that standard input, output or error (0, 1, 2) was open when the process was started; a shell
/// closes one with `>&-`.
///
/// # Errors
/// EBADF if it was closed.
pub fn open_at_start(descriptor: RawFd) -> io::Result<()> {
    match CLOSED.load(Ordering::Relaxed) & (1 << descriptor) {
        0 => Ok(()),
        _ => Err(io::Error::from_raw_os_error(libc::EBADF)),
    }
}

/// Time of `CLOCK_MONOTONIC` (nanoseconds).
///
/// # Panics
/// Never on Linux: the clock always exists.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .expect("every Linux has a monotonic clock");
    let seconds = u64::try_from(time.tv_sec()).expect("the monotonic clock is not negative");
    let nanos = u64::try_from(time.tv_nsec()).expect("tv_nsec is 0 to 999,999,999");
    seconds * 1_000_000_000 + nanos
}

/// Time of the wall clock (nanoseconds since 1970-01-01 UTC); 0 if the clock is before 1970.
#[must_use]
pub fn wall_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// Id of this boot of the machine; empty if the kernel does not tell it (random(4)).
#[must_use]
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.unwrap_or_default().trim().to_owned()
}

/// Duplicates a descriptor, with close-on-exec; `descriptor` stays open. For descriptors that another process
/// passed by number.
///
/// # Errors
/// The kernel's, for instance EBADF if there is no such descriptor.
pub fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is touched; a number that is no descriptor is an error.
    let copy = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, so nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// `FS_IOC_FIEMAP` from `linux/fs.h`.
const FS_IOC_FIEMAP: libc::c_ulong = 0xC020_660B;
/// `FS_IOC_FSGETXATTR` and `FS_IOC_FSSETXATTR` from `linux/fs.h`.
const FS_IOC_FSGETXATTR: libc::c_ulong = 0x801C_581F;
const FS_IOC_FSSETXATTR: libc::c_ulong = 0x401C_5820;
/// The extent size hint is set (`linux/fs.h`).
const FS_XFLAG_EXTSIZE: u32 = 0x800;

#[repr(C)]
#[derive(Default)]
struct Fiemap {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Default)]
struct FsXattr {
    xflags: u32,
    extsize: u32,
    nextents: u32,
    projid: u32,
    cowextsize: u32,
    pad: [u8; 8],
}

fn ioctl<T>(fd: BorrowedFd<'_>, request: libc::c_ulong, argument: &mut T) -> io::Result<()> {
    // SAFETY: `argument` is a live value of the type that the request reads and writes; the callers
    // in this file pair requests with the types of linux/fs.h and linux/fiemap.h.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(argument)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Returns the number of extents of a file (`Documentation/filesystems/fiemap.rst`).
///
/// # Errors
/// The kernel's, for instance EOPNOTSUPP on a file system without this call.
pub fn extents(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut map = Fiemap { length: u64::MAX, ..Fiemap::default() };
    ioctl(fd, FS_IOC_FIEMAP, &mut map)?;
    Ok(u64::from(map.mapped_extents))
}

/// Asks XFS to allocate this file in extents of `bytes` (`ioctl_xfs_fsgetxattr(2)`), so that a
/// large file stays contiguous.
///
/// # Errors
/// The kernel's, for instance on a file system without such a hint.
pub fn hint_extent_size(fd: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    let mut attributes = FsXattr::default();
    ioctl(fd, FS_IOC_FSGETXATTR, &mut attributes)?;
    attributes.xflags |= FS_XFLAG_EXTSIZE;
    attributes.extsize = bytes;
    ioctl(fd, FS_IOC_FSSETXATTR, &mut attributes)
}

/// Makes reads leave the access time of the file unchanged (`O_NOATIME`). Only the owner of the file and root
/// may set this (open(2)); for others the call has no effect.
pub fn leave_access_time(file: &File) {
    let flags = fcntl(file, FcntlArg::F_GETFL).map(OFlag::from_bits_retain);
    let _ = flags.and_then(|flags| fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_NOATIME)));
}

/// Returns the limit of open descriptors of this process: the soft limit, and the hard limit up to which the
/// process may raise it (`RLIMIT_NOFILE`, getrlimit(2)).
///
/// # Errors
/// The system call's.
pub fn open_files_limit() -> io::Result<(u64, u64)> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?)
}

/// Support for direct I/O on a file, as the file system reports it (`statx(2)`, `STATX_DIOALIGN`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectIo {
    /// The file system reports nothing. Direct I/O may work.
    Unknown,
    /// No direct I/O: `O_DIRECT` is accepted, but reads and writes go through the page cache.
    None,
    /// Offsets and lengths must be multiples of this (bytes).
    Aligned(u32),
}

/// Returns the support for direct I/O on this file.
///
/// # Errors
/// The system call's.
pub fn direct_io(file: &File) -> io::Result<DirectIo> {
    let empty = CString::default();
    let mut stat = std::mem::MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is a NUL-terminated string and `stat` has room for the answer.
    let result = unsafe {
        libc::statx(
            file.as_raw_fd(),
            empty.as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_DIOALIGN,
            stat.as_mut_ptr(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed memory is a valid statx, and the kernel has filled it in.
    let stat = unsafe { stat.assume_init() };
    Ok(match (stat.stx_mask & libc::STATX_DIOALIGN, stat.stx_dio_offset_align) {
        (0, _) => DirectIo::Unknown,
        (_, 0) => DirectIo::None,
        (_, offset) => DirectIo::Aligned(offset),
    })
}

/// Returns the peer of a connection: `IP:PORT`; `unix:uid=N`, or `unix` if the user id cannot be read;
/// `unknown` if the peer has disconnected.
#[must_use]
pub fn peer_name(connection: RawFd) -> String {
    // SAFETY: the caller keeps the connection open during this call; the borrow ends with it.
    let connection = unsafe { BorrowedFd::borrow_raw(connection) };
    let socket = socket2::SockRef::from(&connection);
    match socket.peer_addr() {
        Ok(address) => match address.as_socket() {
            Some(address) => {
                let ip = address.ip().to_canonical();
                std::net::SocketAddr::new(ip, address.port()).to_string()
            }
            None => match getsockopt(&connection, PeerCredentials) {
                Ok(peer) => format!("unix:uid={}", peer.uid()),
                Err(_) => "unix".to_owned(),
            },
        },
        Err(_) => "unknown".to_owned(),
    }
}

/// Whether a signal is ignored, as nohup(1) and shells set it for their child processes.
///
/// # Errors
/// The system call's.
pub fn is_ignored(signal: i32) -> io::Result<bool> {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is changed, since the new action is none, and `action` has room for the present one.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed memory is a valid sigaction, and the C library has filled it in.
    let action = unsafe { action.assume_init() };
    Ok(action.sa_sigaction == libc::SIG_IGN)
}

/// The kernel's id of a thread of this process (`gettid(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadId(libc::pid_t);

/// Returns the id of the calling thread.
#[must_use]
pub fn this_thread() -> ThreadId {
    ThreadId(nix::unistd::gettid().as_raw())
}

/// Whether this process has a thread with this id (`tgkill(2)` with signal 0). Any error other than ESRCH
/// counts as yes.
#[must_use]
pub fn thread_exists(thread: ThreadId) -> bool {
    let process = nix::unistd::getpid().as_raw();
    // SAFETY: no memory is touched, and signal 0 is never delivered.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, process, thread.0, 0) };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Ends only the calling thread, immediately and without unwinding, as a seccomp filter does. For tests.
pub fn exit_thread() -> ! {
    // SAFETY: no memory is touched. Nothing of the thread is freed, its stack included, so that references
    // of other threads into it stay valid.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("exit(2) does not return")
}

/// Length from which on the allocator takes an allocation from the kernel and gives it back (bytes).
const MAPPED_FROM: i32 = 4 << 20;
/// Length of freed memory that the allocator keeps in each arena (bytes).
const KEPT_FREE: i32 = 16 << 20;

/// Has the allocator keep some freed memory. By default glibc gives memory back to the kernel so readily that
/// streams of records, whose pieces are 1 MiB long, spend half of their time on page faults (mallopt(3)).
pub fn keep_freed_memory() {
    for (parameter, value) in
        [(libc::M_MMAP_THRESHOLD, MAPPED_FROM), (libc::M_TRIM_THRESHOLD, KEPT_FREE)]
    {
        // SAFETY: mallopt takes two numbers, and may be called at any time. If it refuses them, the
        // defaults stay.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Pins the calling thread to the core with this id (`sched_setaffinity(2)`).
///
/// # Errors
/// The system call's.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    let mut set = nix::sched::CpuSet::new();
    set.set(core)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)?;
    Ok(())
}
