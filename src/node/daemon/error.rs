//! Errors of a start of the daemon.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use super::activation::PassedError;
use crate::base::size::{ByteSize, rounded};
use crate::base::types::{ShardId, VolumeId};
use crate::node::config::{ConfigError, Listen};
use crate::node::datadir::DataDirError;
use crate::ring::SetupError;
use crate::volume::IoError;

/// Why the daemon does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A data directory cannot be used.
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
        /// The check that showed it.
        why: String,
    },
    /// The file system of a data directory is not durable.
    #[error(
        "{} is on {medium}: nothing that is stored there survives {loss}. Put it on XFS or ext4, or use \
         --buffered, with which nothing is promised to survive a power cut", path.display()
    )]
    NotDurable {
        /// The data directory.
        path: PathBuf,
        /// The file system or device.
        medium: String,
        /// The event that destroys the data.
        loss: &'static str,
    },
    /// The probe of direct I/O failed.
    #[error(
        "direct I/O does not work in {}: {problem}; check the disk and its file system (dmesg, smartctl)",
        path.display()
    )]
    Probe {
        /// The data directory.
        path: PathBuf,
        /// The step that failed, and why.
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
        /// Logical block size of the device (bytes).
        bytes: u32,
    },
    /// The limit of open files is too low.
    #[error(
        "the limit of open files is {limit}, and a daemon with this configuration needs at least {needed}: \
         raise it (LimitNOFILE= in the unit, `ulimit -Hn` in a shell)"
    )]
    OpenFiles {
        /// The limit of open files.
        limit: u64,
        /// Smallest limit that is sufficient.
        needed: u64,
    },
    /// The buffers exceed a limit of memory.
    #[error(
        "the buffers need {}, and {what} is {}: raise it (MemoryMax= in the unit), or lower \
         limits.buffer_memory_per_shard or the number of shards (--cores)",
        rounded(*buffers), rounded(*limit)
    )]
    Memory {
        /// Memory of all buffers (bytes).
        buffers: u64,
        /// The limit (bytes).
        limit: u64,
        /// Name of the limit.
        what: String,
    },
    /// A volume could not be created.
    #[error(
        "cannot create volume {id} of {size} in {}: {what}: {error}; free space on the disk, or \
         choose a smaller --volume-size", path.display()
    )]
    Create {
        /// The volume.
        id: VolumeId,
        /// The data directory.
        path: PathBuf,
        /// The step that failed.
        what: &'static str,
        /// Why it failed.
        error: IoError,
        /// Size of the volume.
        size: ByteSize,
    },
    /// The file of the access trace cannot be written.
    #[error(
        "cannot write the access trace to {}: {problem}; name another access_trace.file, or none",
        path.display()
    )]
    AccessTrace {
        /// The file.
        path: PathBuf,
        /// Why it cannot be written.
        problem: String,
    },
    /// A ring could not be set up.
    #[error(transparent)]
    Ring(#[from] SetupError),
    /// An address could not be bound.
    #[error("cannot listen on {address}, {purpose}: {error}; {}", listen_advice(*purpose, error))]
    Listen {
        /// The address.
        address: String,
        /// Its purpose.
        purpose: Purpose,
        /// The kernel's error.
        error: std::io::Error,
    },
    /// A socket passed by the service manager cannot be used.
    #[error(transparent)]
    Passed(#[from] PassedError),
    /// A thread of the daemon ended without being asked to.
    #[error("thread {0} ended by itself, which is a fault of the program; the log says more")]
    ThreadEnded(String),
    /// Another step of the start failed: the step, and the kernel's error.
    #[error("cannot {0}: {1}")]
    Step(&'static str, std::io::Error),
}

/// Purpose of an address, with the setting that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `listen`.
    Data,
    /// `admin`.
    Admin,
    /// `shard_ports`: the port of this shard.
    Shard(ShardId),
    /// `cluster.grpc`.
    Cluster,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data => f.write_str("the data API (--listen)"),
            Self::Admin => f.write_str("the admin API (--admin)"),
            Self::Shard(shard) => write!(f, "the port of shard {shard} (--shard-ports)"),
            Self::Cluster => f.write_str("the orders of the cluster (--cluster-grpc)"),
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
        (_, Purpose::Cluster) => {
            "if another program has it, stop that one (ss -ltnp shows it) or choose another --cluster-grpc"
        }
        (_, Purpose::Admin) => {
            "if another daemon has it, stop that one (ss -ltnp shows it) or choose another --admin"
        }
    }
}
