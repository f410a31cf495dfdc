//! Sets up rings, and explains the cause and the remedy when the kernel refuses.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use io_uring::{IoUring, Probe, opcode};
use nix::libc;
use thiserror::Error;

use crate::base::limits::{FILES_PER_SHARD, RING_ENTRIES};
use crate::base::sys;
use crate::runtime::buffer::Region;

/// Error of the setup of a ring.
#[derive(Debug, Error)]
pub enum SetupError {
    /// `io_uring_setup` failed.
    #[error("the kernel refused to set up an io_uring ({error}): {remedy}")]
    Refused {
        /// The kernel's error.
        error: io::Error,
        /// Remedy for the operator.
        remedy: &'static str,
    },
    /// The kernel lacks an operation.
    #[error("this kernel's io_uring lacks {0}; Hayloft needs Linux 6.1 or newer")]
    Lacks(&'static str),
    /// Registered buffers are required, and the kernel refused to register them.
    #[error(
        "the kernel refused to register {mib} MiB of buffers ({error}), and \
         require_registered is set: raise the limit of locked memory (LimitMEMLOCK in the \
         unit, `ulimit -l`) above that, or lower limits.buffer_memory_per_shard"
    )]
    Unregistered {
        /// The kernel's error.
        error: io::Error,
        /// Size of the buffers (MiB).
        mib: usize,
    },
    /// The table of files could not be set up.
    #[error(
        "cannot set up a table of {entries} files of an io_uring: {error}; {}",
        file_table_advice(error)
    )]
    FileTable {
        /// Requested number of slots.
        entries: u32,
        /// The kernel's error.
        error: io::Error,
    },
    /// Another step of the setup failed.
    #[error("cannot {0} of an io_uring: {1}; see the kernel log, and the limits of this user")]
    Other(&'static str, io::Error),
}

fn file_table_advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => {
            "raise the limit of open files (LimitNOFILE= in the unit, `ulimit -Hn` in a shell)"
        }
        Some(libc::ENOMEM) => {
            "the kernel has no memory for it: raise the memory limit of the service or container \
             (MemoryMax=), or lower limits.buffer_memory_per_shard"
        }
        _ => "see the kernel log",
    }
}

fn refused(error: io::Error) -> SetupError {
    let remedy = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => match io_uring_disabled() {
            Some(1 | 2) => {
                "the sysctl kernel.io_uring_disabled forbids it; set it to 0, or to 1 with this \
                 user in kernel.io_uring_group"
            }
            _ => {
                "a seccomp filter forbids it (a container's default profile, or SystemCallFilter \
                 in the unit), or a security module; allow io_uring_setup, io_uring_enter and \
                 io_uring_register"
            }
        },
        Some(libc::ENOSYS) => {
            "the kernel has no io_uring, or a seccomp filter hides it; Hayloft needs Linux 6.1 or \
             newer with CONFIG_IO_URING"
        }
        Some(libc::EINVAL) => "it lacks single-issuer rings; Hayloft needs Linux 6.1 or newer",
        Some(libc::ENOMEM) => {
            "not enough memory, or the limit of locked memory is too low: raise LimitMEMLOCK"
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            "too many open files: raise the limit (LimitNOFILE= in the unit, `ulimit -Hn` in a shell)"
        }
        _ => "see the kernel log",
    };
    SetupError::Refused { error, remedy }
}

fn io_uring_disabled() -> Option<u32> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// A ring that is set up but not yet enabled, to be moved to the thread that will own it.
pub struct Prepared {
    pub(crate) ring: IoUring,
    /// Number of slots in the table of files.
    pub(crate) files_max: u32,
    pub(crate) registered: bool,
    pub(crate) gathers_fixed: bool,
}

impl Prepared {
    /// Descriptor of the ring, to which other rings send messages.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Whether the ring's buffers are registered.
    #[must_use]
    pub fn registered(&self) -> bool {
        self.registered
    }
}

/// Registration of buffers with the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Registration is required; a refusal is an error.
    Required,
    /// Registration is attempted; a refusal is logged as a warning.
    Wanted,
    /// No registration, for a ring with little I/O.
    None,
}

/// Sets up `count` rings that share the buffers of `region`, registered once.
///
/// # Errors
/// See [`SetupError`].
pub fn prepare(
    count: usize,
    region: &Arc<Region>,
    registration: Registration,
) -> Result<Vec<Prepared>, SetupError> {
    let required = registration == Registration::Required;
    let mut rings: Vec<Prepared> = Vec::with_capacity(count);
    for _ in 0..count {
        let ring = build().map_err(refused)?;
        check_enter(&ring).map_err(refused)?;
        let gathers_fixed = probe(&ring)?;
        let workers = ring.submitter().register_iowq_max_workers(&mut [4, 4]);
        workers.map_err(|error| SetupError::Other("limit the workers", error))?;
        let files_max = table_len(sys::open_files_limit().map_or(u64::MAX, |(soft, _)| soft));
        let files = ring.submitter().register_files_sparse(files_max);
        files.map_err(|error| SetupError::FileTable { entries: files_max, error })?;
        let registered = match rings.first() {
            None if registration == Registration::None => false,
            None => register(&ring, region, required)?,
            Some(first) if first.registered => share(&ring, first, region, required)?,
            Some(_) => false,
        };
        rings.push(Prepared { ring, files_max, registered, gathers_fixed });
    }
    Ok(rings)
}

fn build() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    // With deferred task work (IORING_SETUP_DEFER_TASKRUN, io_uring_setup(2)) completions are posted only
    // when the owner asks, in batches, without interrupts. The ring is disabled until its thread enables it,
    // since a single-issuer ring belongs to the thread that does.
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_r_disabled()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(4 * RING_ENTRIES)
        .dontfork();
    let mut newer = builder.clone();
    match newer.setup_no_sqarray().build(RING_ENTRIES) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => builder.build(RING_ENTRIES),
        other => other,
    }
}

/// Number of slots in the table of files, at most the process's limit of open files, as the kernel requires.
fn table_len(open_files: u64) -> u32 {
    u32::try_from(open_files).unwrap_or(u32::MAX).clamp(1, FILES_PER_SHARD)
}

/// Enters the ring once without submissions: a seccomp filter may allow rings to be set up but not used. A
/// disabled ring answers `EBADFD` (`IORING_SETUP_R_DISABLED`).
fn check_enter(ring: &IoUring) -> io::Result<()> {
    match ring.submitter().submit() {
        Err(error) if error.raw_os_error() != Some(libc::EBADFD) => Err(error),
        _ => Ok(()),
    }
}

/// Checks that the kernel has all required operations. Returns whether it also has gathered writes from
/// registered buffers (Linux 6.15).
fn probe(ring: &IoUring) -> Result<bool, SetupError> {
    let mut probe = Probe::new();
    let probed = ring.submitter().register_probe(&mut probe);
    probed.map_err(|error| match error.raw_os_error() {
        // The first use of io_uring_register, which a seccomp filter may forbid.
        Some(libc::EPERM | libc::ENOSYS | libc::EACCES) => refused(error),
        _ => SetupError::Other("list the operations", error),
    })?;
    let needed = [
        (opcode::ReadFixed::CODE, "fixed reads"),
        (opcode::Writev::CODE, "gathered writes"),
        (opcode::Fsync::CODE, "fsync"),
        (opcode::Fallocate::CODE, "fallocate"),
        (opcode::OpenAt::CODE, "openat"),
        (opcode::RenameAt::CODE, "renameat"),
        (opcode::UnlinkAt::CODE, "unlinkat"),
        (opcode::Accept::CODE, "accept"),
        (opcode::Connect::CODE, "connect"),
        (opcode::Recv::CODE, "recv"),
        (opcode::Send::CODE, "send"),
        (opcode::Shutdown::CODE, "shutdown"),
        (opcode::MsgRingData::CODE, "messages between rings"),
        (opcode::AsyncCancel::CODE, "cancellation"),
    ];
    for (code, name) in needed {
        if !probe.is_supported(code) {
            return Err(SetupError::Lacks(name));
        }
    }
    Ok(probe.is_supported(opcode::WritevFixed::CODE))
}

fn register(ring: &IoUring, region: &Arc<Region>, required: bool) -> Result<bool, SetupError> {
    let buffers: Vec<libc::iovec> = region
        .registrations()
        .into_iter()
        .map(|(start, len)| libc::iovec { iov_base: start.cast(), iov_len: len })
        .collect();
    // SAFETY: the memory is mapped, and every ring's owner keeps the region alive as long as the
    // ring (`Ring` holds a pool of it).
    let result = unsafe { ring.submitter().register_buffers(&buffers) };
    match result {
        Ok(()) => Ok(true),
        Err(error) if required => Err(SetupError::Unregistered { error, mib: region.len() >> 20 }),
        Err(error) => {
            tracing::warn!(
                "running without registered buffers, which costs CPU: the kernel refused to lock \
                 {} MiB ({error}); raise LimitMEMLOCK (`ulimit -l`) above that",
                region.len() >> 20
            );
            Ok(false)
        }
    }
}

/// Shares the first ring's registration (Linux 6.12), or registers the buffers again.
fn share(
    ring: &IoUring,
    first: &Prepared,
    region: &Arc<Region>,
    required: bool,
) -> Result<bool, SetupError> {
    match ring.submitter().register_buffers_clone(first.fd()) {
        Ok(()) => Ok(true),
        Err(_) => register(ring, region, required),
    }
}

#[cfg(test)]
mod tests {
    use io_uring::register::Restriction;

    use super::*;

    #[test]
    fn file_table_length_is_capped_by_the_open_files_limit() {
        for (limit, len) in [(0, 1), (200, 200), (1024, 1024), (1 << 20, 1024), (u64::MAX, 1024)] {
            assert_eq!(table_len(limit), len);
        }
    }

    #[test]
    fn failed_file_table_registration_names_the_remedy() {
        for (errno, words) in [(libc::EMFILE, "LimitNOFILE"), (libc::ENOMEM, "memory limit")] {
            let error = io::Error::from_raw_os_error(errno);
            let text = SetupError::FileTable { entries: 1024, error }.to_string();
            assert!(text.contains(words) && text.contains("1024"), "{text}");
        }
    }

    #[test]
    fn setting_that_disables_rings_is_read_where_the_kernel_has_it() {
        let path = "/proc/sys/kernel/io_uring_disabled";
        assert_eq!(io_uring_disabled().is_some(), std::path::Path::new(path).exists());
    }

    #[test]
    fn refused_ring_setup_names_cause_and_remedy() {
        let permission = match io_uring_disabled() {
            Some(1 | 2) => "kernel.io_uring_disabled",
            _ => "seccomp",
        };
        for (errno, words) in [
            (libc::EPERM, permission),
            (libc::ENOSYS, "Linux 6.1"),
            (libc::EINVAL, "Linux 6.1"),
            (libc::ENOMEM, "LimitMEMLOCK"),
            (libc::EMFILE, "LimitNOFILE"),
        ] {
            let text = refused(io::Error::from_raw_os_error(errno)).to_string();
            assert!(text.contains(words), "{errno}: {text}");
        }
    }

    #[test]
    fn unregistered_buffers_are_reported_with_size_and_remedy() {
        let error = io::Error::from_raw_os_error(libc::ENOMEM);
        let text = SetupError::Unregistered { error, mib: 64 }.to_string();
        assert!(text.contains("64 MiB") && text.contains("LimitMEMLOCK"), "{text}");
    }

    #[test]
    fn entering_a_disabled_ring_is_accepted_unless_forbidden() {
        let ring = build().unwrap();
        assert!(check_enter(&ring).is_ok());
        let answer = ring.submitter().submit().unwrap_err();
        assert_eq!(answer.raw_os_error(), Some(libc::EBADFD), "the ring is disabled");
        assert!(probe(&ring).is_ok());
    }

    /// As by a seccomp filter.
    #[test]
    fn forbidden_list_of_operations_is_reported_as_a_refusal() {
        /// `IORING_REGISTER_ENABLE_RINGS` from `linux/io_uring.h`.
        const ENABLE_RINGS: u8 = 12;
        let ring = build().unwrap();
        let mut allowed = [Restriction::register_op(ENABLE_RINGS)];
        ring.submitter().register_restrictions(&mut allowed).unwrap();
        ring.submitter().register_enable_rings().unwrap();
        let Err(SetupError::Refused { error, .. }) = probe(&ring) else { panic!("not refused") };
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    }

    /// docs/ARCHITECTURE.md promises this bound of the number of threads.
    #[test]
    fn ring_has_at_most_four_workers_of_each_kind() {
        let region = Region::map(1, 1 << 20).unwrap();
        let ring = prepare(1, &region, Registration::None).unwrap().pop().unwrap().ring;
        // A limit of 0 only asks for the present one.
        let mut limits = [0, 0];
        ring.submitter().register_iowq_max_workers(&mut limits).unwrap();
        assert_eq!(limits, [4, 4]);
    }

    /// A ring accepts one registration.
    #[test]
    fn refused_registration_is_an_error_only_if_it_is_required() {
        let region = Region::map(1, 3 << 20).unwrap();
        let ring = build().unwrap();
        assert!(register(&ring, &region, true).unwrap());
        assert!(!register(&ring, &region, false).unwrap());
        let error = register(&ring, &region, true).unwrap_err();
        assert!(matches!(error, SetupError::Unregistered { mib: 3, .. }), "{error}");
    }
}
