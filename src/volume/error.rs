//! Errors of a volume, grouped by what the caller can do about them.

use thiserror::Error;

use super::format::{SuperblockError, Unreadable};
use crate::base::types::{NeedleId, VolumeId};

/// A failed operation of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IoError {
    /// The errno of the operation.
    #[error("{}", std::io::Error::from_raw_os_error(*.0))]
    Errno(i32),
    /// A write transferred less than requested, or a read reached the end of the file.
    #[error("{done} of {wanted} bytes transferred")]
    Short {
        /// Number of bytes transferred.
        done: u64,
        /// Number of bytes requested.
        wanted: u64,
    },
}

impl IoError {
    /// Whether the device or the file system failed, instead of a lack of memory or a mistake of the caller.
    #[must_use]
    pub fn is_of_device(self) -> bool {
        use nix::libc::{EAGAIN, EBADF, ECANCELED, EFAULT, EINTR, EINVAL, ENOBUFS, ENOMEM};
        match self {
            Self::Errno(errno) => {
                ![EAGAIN, EBADF, ECANCELED, EFAULT, EINTR, EINVAL, ENOBUFS, ENOMEM].contains(&errno)
            }
            Self::Short { .. } => true,
        }
    }
}

/// Reason why a needle could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GetError {
    /// The needle does not exist, or has another cookie.
    #[error("no such needle")]
    NotFound,
    /// The needle exists and cannot be read.
    #[error("needle {0} is unreadable: {1}")]
    Unreadable(NeedleId, Damage),
    /// The caller's buffer is too short; the value is the length needed (bytes).
    #[error("a buffer of {0} bytes is needed")]
    NeedBuffer(usize),
}

/// Reason why the body of a large object could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    /// The generation was exchanged, and the object was replaced or deleted since its manifest was read.
    #[error("the object was replaced or deleted while it was read")]
    Changed,
    /// It exists and cannot be read.
    #[error(transparent)]
    NotRead(#[from] GetError),
}

/// Cause of an unreadable needle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// A checksum does not match.
    #[error("{0}")]
    Checksum(Unreadable),
    /// The device failed to read it.
    #[error("{0}")]
    Io(IoError),
    /// A compaction could not carry it over: its header could not be read. The number is the length of its
    /// needle (bytes).
    #[error("its {0} bytes could not be read when the volume was compacted")]
    Lost(u64),
}

/// Reason why a write was not acknowledged. After [`Refusal::Failed`] the needle may exist or not, also
/// after a restart; after any other refusal it does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The id exists with another cookie.
    #[error("exists with another cookie")]
    Conflict,
    /// A precondition of the caller does not hold.
    #[error("a precondition does not hold")]
    Precondition,
    /// The needle to be deleted does not exist.
    #[error("no such needle")]
    NotFound,
    /// The needle that would be superseded cannot be identified.
    #[error("needle {0} is unreadable")]
    Unreadable(NeedleId),
    /// No space is left.
    #[error("the volume is full")]
    Full,
    /// The operator made the volume read-only, or it was opened read-only.
    #[error("the volume is read-only")]
    ReadOnly,
    /// The volume is poisoned: an earlier write failed, and it takes no writes until the process
    /// restarts.
    #[error("an earlier write to the volume failed")]
    Poisoned,
    /// Reads of the volume or of its disk failed too often: it takes no writes until an operator says so.
    #[error("the volume is suspect: reads of it or of its disk failed")]
    Suspect,
    /// The volume is being closed.
    #[error("the volume is being closed")]
    Closing,
    /// No buffer is free for the reads that the operation itself needs.
    #[error("no buffer")]
    NoBuffer,
    /// The commit failed.
    #[error("the write failed: {0}")]
    Failed(IoError),
}

/// Reason why the state of a volume could not be changed to read-only or writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StateError {
    /// The volume is sealed, which is permanent.
    #[error("it is sealed, which is permanent")]
    Sealed,
    /// The volume is poisoned, or its file was lost.
    #[error(
        "it takes no writes until a restart, because a write failed or its file was lost; see the log"
    )]
    Poisoned,
    /// The volume is suspect.
    #[error("it is suspect, because reads of it or of its disk failed (hayloft volume clear)")]
    Suspect,
    /// The volume belongs to no cluster.
    #[error("it is no volume of a cluster")]
    NotOfCluster,
    /// No buffer is free.
    #[error("no buffer is free; try again")]
    NoBuffer,
    /// The superblock could not be written. A restart shows which state it has.
    #[error("its superblock could not be written: {0}; check the kernel log and the disk")]
    Failed(IoError),
}

/// Reason why a volume file could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// An operation on the file failed; the text names the operation.
    #[error("cannot {0}: {1}")]
    Io(&'static str, IoError),
    /// No copy of the superblock is valid, or one copy is of an unsupported format.
    #[error("{0}; it is not a Hayloft volume, or it is damaged beyond use")]
    Superblock(SuperblockError),
    /// The volume number in the file differs from the one in its name.
    #[error("the file says it is volume {found}, its name says volume {named}; rename it back")]
    WrongVolume {
        /// Number in the superblock.
        found: VolumeId,
        /// Number in the file name.
        named: VolumeId,
    },
    /// The generation in the file differs from the one in its name.
    #[error("the file says it is generation {found}, its name says {named}; rename it back")]
    WrongGeneration {
        /// Generation in the superblock.
        found: u64,
        /// Generation in the file name.
        named: u64,
    },
    /// The file belongs to another store.
    #[error(
        "the file belongs to store {found}, this data directory to store {expected}; \
         move it to the directory it came from"
    )]
    WrongStore {
        /// Store id in the superblock, in hexadecimal.
        found: String,
        /// Store id of the data directory, in hexadecimal.
        expected: String,
    },
    /// The file is shorter or longer than it was created.
    #[error(
        "the file is {found} bytes long and should be {expected}; it was truncated or is a partial \
         copy: restore it whole"
    )]
    WrongLength {
        /// Length of the file (bytes).
        found: u64,
        /// Length in the superblock (bytes).
        expected: u64,
    },
    /// The state in the superblock is *building*: creation was not finished.
    #[error("creation of the file was not finished; remove it")]
    Building,
    /// The volume has several files, or may have another one, and it is not certain which of them counts.
    #[error(
        "{0}. No file of the volume was changed; OPERATIONS.md, \"Several files of one volume\", says more"
    )]
    Undecided(#[from] Undecided),
    /// No buffer is free for the reads of recovery.
    #[error("no buffer is free for recovery; raise limits.buffer_memory_per_shard")]
    NoBuffer,
}

/// Reason why it is not certain which of the files of a volume counts. None of them is served or removed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Undecided {
    /// One of several files cannot be used.
    #[error(
        "generation {generation} cannot be used: {why}. Restore that file, or move it away if it does not \
         belong there"
    )]
    Unusable {
        /// Generation of the file.
        generation: u64,
        /// Why it cannot be used.
        why: String,
    },
    /// The newest of several files cannot be opened.
    #[error(
        "generation {generation} is the newest and cannot be opened: {why}. Repair or restore that file; the \
         older one may lack what was stored since"
    )]
    NotOpened {
        /// Generation of the file.
        generation: u64,
        /// Why it cannot be opened.
        why: String,
    },
    /// A generation is in two data directories.
    #[error(
        "generation {0} is in two data directories. Compare the two files (hayloft check with one \
         directory at a time), and move one of them away"
    )]
    Twice(u64),
    /// A generation was not made from the one before.
    #[error(
        "generation {generation} was not made from generation {parent}. Compare the two files, and move away \
         the one that does not belong there"
    )]
    NoParent {
        /// The newer generation.
        generation: u64,
        /// The older one.
        parent: u64,
    },
    /// A generation was made from one in another data directory that is not marked as moving.
    #[error(
        "generation {generation} was made from generation {parent}, in another data directory, but \
         generation {parent} was served without it since: each may hold photos that the other lacks. Export \
         both (hayloft export with one directory at a time), and move one of them away"
    )]
    Diverged {
        /// The newer generation.
        generation: u64,
        /// The older one.
        parent: u64,
    },
    /// A file says that it was not finished, but a copy of its superblock is damaged or says otherwise.
    #[error(
        "generation {0} says that it was not finished, but not in every copy of its superblock: it may be \
         the one that counts. If it is moved away, an older one is served, which may lack what was stored \
         last"
    )]
    PartlyUnfinished(u64),
    /// Two files were not finished.
    #[error("generation {0} and another one were not finished. Move one of them away")]
    UnfinishedTwice(u64),
    /// The only file was not finished, and a data directory is not in use.
    #[error(
        "generation {0} was not finished, and the one that it was made from may be in the data directory \
         that is not in use. Bring that back, and restart"
    )]
    ParentMissing(u64),
    /// The file is marked as moving, and a data directory is not in use.
    #[error(
        "generation {0} was moving to another data directory, and one is not in use: what was stored last \
         may be there. Bring that back, and restart"
    )]
    MayHaveMoved(u64),
}
