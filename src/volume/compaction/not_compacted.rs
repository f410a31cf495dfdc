//! Why a volume was not compacted.

use thiserror::Error;

use crate::runtime::background::{NoWorkBuffer, Stopped};
use crate::volume::WriteState;
use crate::volume::error::IoError;
use crate::volume::log::log_reader::UnreadableRange;

/// Reason why a volume was not compacted. The old generation goes on unchanged, except after
/// [`Self::Undecided`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotCompacted {
    /// The volume is in a state in which it cannot be compacted.
    #[error("the volume is {0:?}; only a volume that can be written or is read-only is compacted")]
    State(WriteState),
    /// Parts of the log could not be read when the volume was opened.
    #[error(
        "parts of the log could not be read when the volume was opened, so that what lives in it is not known"
    )]
    Incomplete,
    /// What lives does not fit into a file of the requested size.
    #[error("{needed} bytes are needed for what lives in it, and the new file has room for {room}")]
    TooSmall {
        /// Bytes needed.
        needed: u64,
        /// Bytes that the log of the new file can hold.
        room: u64,
    },
    /// A second index does not fit into memory.
    #[error("a second index needs {needed} bytes of memory, and {available} are available")]
    IndexMemory {
        /// Bytes needed.
        needed: u64,
        /// Bytes available.
        available: u64,
    },
    /// A file is in the way of the new generation.
    #[error(
        "a file with the name of the next generation exists and was not left by a compaction of this file"
    )]
    InTheWay,
    /// The old file cannot be read.
    #[error("{len} bytes at byte {offset} of the old file cannot be read: {error}")]
    Unreadable {
        /// Offset (bytes).
        offset: u64,
        /// Length (bytes).
        len: u64,
        /// Error of the device.
        error: IoError,
    },
    /// A step on the new file failed.
    #[error("cannot {0}: {1}")]
    Io(&'static str, IoError),
    /// The new file does not hold what was written to it.
    #[error("what was written at byte {0} of the new file reads back different")]
    ReadBack(u64),
    /// Writes arrived faster than they were copied.
    #[error("writes arrive faster than they can be copied")]
    TooManyWrites,
    /// Writes did not end in time while the generation was to be exchanged.
    #[error("writes to the volume did not end in time")]
    WritersHang,
    /// What was written meanwhile does not fit into the new file.
    #[error("what was written meanwhile does not fit into the new file")]
    Outgrown,
    /// The uploads in progress do not fit into the new file.
    #[error("the uploads in progress do not fit into the new file")]
    UploadsDoNotFit,
    /// The write that makes the new generation count failed: a restart shows which one counts. The volume
    /// takes no writes until then; both generations hold everything that was acknowledged.
    #[error("it is not known which generation a restart will find: {0}")]
    Undecided(IoError),
    /// It was cancelled, or the volume is being closed or deleted.
    #[error("it was cancelled")]
    Stopped,
}

impl From<Stopped> for NotCompacted {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<NoWorkBuffer> for NotCompacted {
    fn from(why: NoWorkBuffer) -> Self {
        match why {
            NoWorkBuffer::Stopped => Self::Stopped,
            NoWorkBuffer::NoneFree => Self::Io("get a buffer", IoError::Errno(nix::libc::ENOBUFS)),
        }
    }
}

impl From<UnreadableRange> for NotCompacted {
    fn from(UnreadableRange { offset, len, error }: UnreadableRange) -> Self {
        Self::Unreadable { offset, len, error }
    }
}
