//! Why the daemon does not start.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use super::activation::PassedError;
use crate::config::{ConfigError, Listen};
use crate::datadir::DataDirError;
use crate::ring::SetupError;
use crate::size::{ByteSize, rounded};
use crate::volume::IoError;

/// Why the daemon does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The file system has no direct I/O.
    #[error(
        "{} is on a file system without direct I/O ({why}); put it on XFS or ext4, or use \
         --buffered, with which nothing is promised to survive a power cut", path.display()
    )]
    NoDirectIo {
        /// The data directory.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
    /// What is stored does not outlive the machine.
    #[error(
        "{} is on {medium}: nothing that is stored there survives {loss}. Put it on XFS or ext4, or use \
         --buffered, with which nothing is promised to survive a power cut", path.display()
    )]
    NotDurable {
        /// The data directory.
        path: PathBuf,
        /// What it is on.
        medium: String,
        /// What takes everything away.
        loss: &'static str,
    },
    /// Direct I/O was tried and went wrong.
    #[error(
        "direct I/O does not work in {}: {problem}; check the disk and its file system (dmesg, smartctl)",
        path.display()
    )]
    Probe {
        /// The data directory.
        path: PathBuf,
        /// What went wrong.
        problem: String,
    },
    /// The device needs larger blocks than the format's.
    #[error(
        "{} is on a device that reads in blocks of {bytes} bytes; this version needs 512. Use a \
         device with 512-byte logical blocks, or --buffered", path.display()
    )]
    Alignment {
        /// The data directory.
        path: PathBuf,
        /// What the device needs.
        bytes: u32,
    },
    /// Too few open files.
    #[error(
        "the limit of open files is {limit}, and a daemon with this configuration needs at least {needed}: \
         raise it (LimitNOFILE= in the unit, `ulimit -Hn` in a shell)"
    )]
    OpenFiles {
        /// The limit.
        limit: u64,
        /// What is needed to serve a few connections.
        needed: u64,
    },
    /// Too little memory for the buffers.
    #[error(
        "the buffers need {}, and {what} is {}: raise it (MemoryMax= in the unit), or lower \
         limits.buffer_memory_per_shard or the number of shards (--cores)",
        rounded(*buffers), rounded(*limit)
    )]
    Memory {
        /// What all buffers take (bytes).
        buffers: u64,
        /// What there may be (bytes).
        limit: u64,
        /// What limits it.
        what: String,
    },
    /// A volume with two files.
    #[error(
        "volume {id} has two files, {} and {}; move away the one that does not belong there",
        first.display(), second.display()
    )]
    TwoFiles {
        /// The volume.
        id: u32,
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A volume could not be created.
    #[error(
        "cannot create volume {id} of {size} in {}: {what}: {error}; free space on the disk, or \
         choose a smaller --volume-size", path.display()
    )]
    Create {
        /// The volume.
        id: u32,
        /// The data directory.
        path: PathBuf,
        /// What was being done.
        what: &'static str,
        /// What went wrong.
        error: IoError,
        /// How large it should have been.
        size: ByteSize,
    },
    /// The access trace has no file.
    #[error(
        "cannot write the access trace to {}: {problem}; name another access_trace.file, or none",
        path.display()
    )]
    AccessTrace {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No ring.
    #[error(transparent)]
    Ring(#[from] SetupError),
    /// An address could not be bound.
    #[error("cannot listen on {address}, {purpose}: {error}; {}", listen_advice(*purpose, error))]
    Listen {
        /// The address.
        address: String,
        /// What it is for.
        purpose: Purpose,
        /// The kernel's error.
        error: std::io::Error,
    },
    /// A socket from the service manager.
    #[error(transparent)]
    Passed(#[from] PassedError),
    /// A thread of the daemon.
    #[error("thread {0} ended by itself, which is a fault of the program; the log says more")]
    ThreadEnded(String),
    /// Something else.
    #[error("cannot {0}: {1}")]
    Step(&'static str, std::io::Error),
}

/// What an address is for, and the setting that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `listen`.
    Data,
    /// `admin`.
    Admin,
    /// `shard_ports`: the port of the shard with this number.
    Shard(usize),
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data => f.write_str("the data API (--listen)"),
            Self::Admin => f.write_str("the admin API (--admin)"),
            Self::Shard(shard) => write!(f, "the port of shard {shard} (--shard-ports)"),
        }
    }
}

impl StartError {
    pub(super) fn listen(address: &Listen, purpose: Purpose, error: std::io::Error) -> Self {
        Self::Listen { address: address.to_string(), purpose, error }
    }
}

fn listen_advice(purpose: Purpose, error: &std::io::Error) -> &'static str {
    match (error.kind(), purpose) {
        (std::io::ErrorKind::PermissionDenied, _) => {
            "a port below 1024, or a directory that is not this user's, needs rights: choose another address"
        }
        (std::io::ErrorKind::AddrNotAvailable, _) => {
            "this machine has no such address: choose one that it has (ip address), or 0.0.0.0 for all"
        }
        (_, Purpose::Shard(_)) => {
            "shard k also listens on BASE + k; choose another BASE with --shard-ports, or \
             --shard-ports off"
        }
        (_, Purpose::Data) => {
            "if another daemon has it, stop that one (ss -ltnp shows it) or choose another --listen"
        }
        (_, Purpose::Admin) => {
            "if another daemon has it, stop that one (ss -ltnp shows it) or choose another --admin"
        }
    }
}
