//! What can go wrong with a volume, by what the caller can do about it.

use thiserror::Error;

use super::format::{SuperblockError, Unreadable};
use crate::types::{NeedleId, VolumeId};

/// An operation of the seam failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IoError {
    /// With this errno.
    #[error("{}", std::io::Error::from_raw_os_error(*.0))]
    Errno(i32),
    /// A write wrote less than it was given, or a read met the end of the file.
    #[error("{done} of {wanted} bytes transferred")]
    Short {
        /// Bytes transferred.
        done: u64,
        /// Bytes wanted.
        wanted: u64,
    },
}

/// Why a needle could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GetError {
    /// No such needle, or another cookie.
    #[error("no such needle")]
    NotFound,
    /// The needle is there and cannot be read.
    #[error("needle {0} is unreadable: {1}")]
    Unreadable(NeedleId, Damage),
    /// The caller's buffer is too short: this many bytes are needed.
    #[error("a buffer of {0} bytes is needed")]
    NeedBuffer(usize),
}

/// What is wrong with an unreadable needle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// A checksum does not match.
    #[error("{0}")]
    Checksum(Unreadable),
    /// The device does not give it back.
    #[error("{0}")]
    Io(IoError),
}

/// Why a write was not acknowledged. After [`Refusal::Failed`] the needle may be there or not,
/// after a restart too; after any other refusal it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The id exists with another cookie.
    #[error("exists with another cookie")]
    Conflict,
    /// A precondition of the caller does not hold.
    #[error("a precondition does not hold")]
    Precondition,
    /// A delete found no such needle.
    #[error("no such needle")]
    NotFound,
    /// What would be superseded cannot be identified.
    #[error("needle {0} is unreadable")]
    Unreadable(NeedleId),
    /// No room left.
    #[error("the volume is full")]
    Full,
    /// The operator closed the volume, or it was opened only to be read.
    #[error("the volume is read-only")]
    ReadOnly,
    /// An earlier write failed: the volume takes no writes until the process is restarted.
    #[error("an earlier write to the volume failed")]
    Poisoned,
    /// The volume is being closed.
    #[error("the volume is being closed")]
    Closing,
    /// No buffer for the operation's own reads.
    #[error("no buffer")]
    NoBuffer,
    /// The commit failed.
    #[error("the write failed: {0}")]
    Failed(IoError),
}

/// Why a volume could not be made read-only or writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StateError {
    /// It is closed for good.
    #[error("it is sealed, and stays so")]
    Sealed,
    /// An earlier write failed.
    #[error(
        "it takes no writes until a restart, since one failed or its file was lost; see the log"
    )]
    Poisoned,
    /// No buffer is free.
    #[error("no buffer is free; try again")]
    NoBuffer,
    /// Its superblock could not be written; which state it has will show after a restart.
    #[error("its superblock could not be written: {0}; check the kernel log and the disk")]
    Failed(IoError),
}

/// Why a volume file could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// It could not be opened, synced or read.
    #[error("cannot {0}: {1}")]
    Io(&'static str, IoError),
    /// None of the superblock's copies is valid.
    #[error("{0}; it is not a Hayloft volume, or it is damaged beyond use")]
    Superblock(SuperblockError),
    /// The file carries another volume's number than its name says.
    #[error("the file says it is volume {found}, its name says volume {named}; rename it back")]
    WrongVolume {
        /// In the superblock.
        found: VolumeId,
        /// In the name.
        named: VolumeId,
    },
    /// The file carries another generation than its name says.
    #[error("the file says it is generation {found}, its name says {named}; rename it back")]
    WrongGeneration {
        /// In the superblock.
        found: u64,
        /// In the name.
        named: u64,
    },
    /// The file belongs to another store.
    #[error(
        "the file belongs to store {found}, this data directory to store {expected}; \
         move it to the directory it came from"
    )]
    WrongStore {
        /// In the superblock.
        found: String,
        /// Of the data directory.
        expected: String,
    },
    /// The file is shorter or longer than it was created.
    #[error(
        "the file is {found} bytes long and should be {expected}; it was truncated or is a partial \
         copy: restore it whole"
    )]
    WrongLength {
        /// Length of the file.
        found: u64,
        /// Length in the superblock.
        expected: u64,
    },
    /// Creation was not finished.
    #[error("the file was never finished; remove it")]
    Building,
    /// Buffers are needed to recover and none was free.
    #[error("no buffer free to recover with; raise limits.buffer_memory_per_shard")]
    NoBuffer,
}
