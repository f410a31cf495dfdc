//! The seam between logic and the outside world: an operation is plain data, its completion a
//! number and the buffers that come back.
//!
//! Two drivers carry operations out: [`crate::ring`] on io_uring and `crate::sim` on simulated
//! disks. Nothing above the seam can tell which. This module knows neither of them, no files, no
//! HTTP and no needles.

use std::ffi::CString;
use std::path::PathBuf;

use crate::buffer::Buf;

/// Names one operation in flight. The generation tells a slot's former user from its present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Slot in the runtime's table of operations.
    pub index: u32,
    /// How often the slot had been used before.
    pub generation: u32,
}

/// An open directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DirId(pub u32);

/// An open volume file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(pub u32);

/// A connection or listener; the number is the driver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sock(pub i32);

/// A piece of a gathered write: bytes `start..start + len` of buffer number `buf`.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Index into the write's buffers.
    pub buf: u16,
    /// First byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

/// An operation. Lengths and offsets are bytes. Buffers belong to the driver until the completion
/// brings them back.
#[derive(Debug)]
pub enum Op {
    /// Opens an existing directory. Result: a [`DirId`].
    OpenDir {
        /// Its path.
        path: PathBuf,
    },
    /// Creates a file that must not exist yet. Result: a [`FileId`].
    Create {
        /// Where.
        dir: DirId,
        /// File name.
        name: CString,
    },
    /// Opens an existing file. Result: a [`FileId`].
    Open {
        /// Where.
        dir: DirId,
        /// File name.
        name: CString,
        /// Whether it will be written to. Else the right to read is enough, also on a file system that
        /// is mounted read-only, and writes fail with `EBADF`.
        write: bool,
    },
    /// Result: the file's length.
    FileLen {
        /// Which file.
        file: FileId,
    },
    /// Result: the number of extents the file consists of; 0 where the file system does not tell.
    Extents {
        /// Which file.
        file: FileId,
    },
    /// Reserves space for the whole file and sets its length; new space reads as zeros.
    Allocate {
        /// Which file.
        file: FileId,
        /// New length.
        len: u64,
    },
    /// Reads `len` bytes at `offset` to `buf[start..]`. Result: bytes read, 0 at the end.
    Read {
        /// Which file.
        file: FileId,
        /// Target.
        buf: Buf,
        /// First byte in `buf`.
        start: u32,
        /// Bytes wanted.
        len: u32,
        /// Position in the file.
        offset: u64,
    },
    /// Writes the pieces one behind the other at `offset`. Result: bytes written. A durable write
    /// is on stable media when it completes (`RWF_DSYNC`); it vouches for itself only.
    Write {
        /// Which file.
        file: FileId,
        /// Sources.
        bufs: Vec<Buf>,
        /// What to take of them, in order.
        pieces: Vec<Piece>,
        /// Position in the file.
        offset: u64,
        /// Whether completion means stable media.
        durable: bool,
    },
    /// Brings all completed writes of a file, and its length, to stable media (`fdatasync`).
    Sync {
        /// Which file.
        file: FileId,
    },
    /// Closes a file.
    CloseFile {
        /// Which file.
        file: FileId,
    },
    /// Renames a file within a directory.
    Rename {
        /// Where.
        dir: DirId,
        /// Present name.
        from: CString,
        /// New name.
        to: CString,
        /// Whether another file of that name goes. Else there must be none.
        replace: bool,
    },
    /// Removes a name from a directory.
    Unlink {
        /// Where.
        dir: DirId,
        /// File name.
        name: CString,
    },
    /// Brings creations, renames and removals in a directory to stable media.
    SyncDir {
        /// Which directory.
        dir: DirId,
    },
    /// Waits for a connection. Result: its [`Sock`].
    Accept {
        /// Listener.
        listener: Sock,
    },
    /// Receives into a buffer that the driver picks only when bytes have arrived, so that waiting
    /// costs no buffer; they stand behind [`crate::limits::RECEIVE_HEADROOM`] free bytes. Result: bytes
    /// received, 0 at the end of the stream.
    RecvAny {
        /// Connection.
        sock: Sock,
    },
    /// Receives to `buf[start..start + len]`. Result: bytes received; fewer than `len` when the
    /// stream ends, when the operation is cancelled, or whenever some have come and not `whole`.
    Recv {
        /// Connection.
        sock: Sock,
        /// Target.
        buf: Buf,
        /// First byte in `buf`.
        start: u32,
        /// Bytes wanted.
        len: u32,
        /// Whether to wait for all of them.
        whole: bool,
    },
    /// Sends of `buf[start..start + len]` as much as the connection takes. Result: bytes sent, at
    /// least one.
    Send {
        /// Connection.
        sock: Sock,
        /// Source.
        buf: Buf,
        /// First byte in `buf`.
        start: u32,
        /// Bytes to send at most.
        len: u32,
    },
    /// Asks who is at the other end. It comes back as [`Returned::Text`].
    PeerName {
        /// Connection.
        sock: Sock,
    },
    /// Tells the peer that nothing more will be sent.
    ShutdownWrite {
        /// Connection.
        sock: Sock,
    },
    /// Closes a connection.
    Close {
        /// Connection.
        sock: Sock,
    },
    /// Makes another shard look at its mailbox.
    Wake {
        /// Which shard.
        shard: u16,
    },
}

/// What an operation gives back besides its result: its buffers, as a rule.
#[derive(Debug, Default)]
pub enum Returned {
    /// The operation had none.
    #[default]
    None,
    /// The buffer of a read, receive or send.
    One(Buf),
    /// The buffers of a gathered write.
    Many(Vec<Buf>),
    /// A name.
    Text(Box<str>),
}

/// The end of an operation.
#[derive(Debug)]
pub struct Completion {
    /// Which operation.
    pub token: Token,
    /// At least 0: as the operation says. Below 0: the negated errno.
    pub result: i64,
    /// Its buffers.
    pub returned: Returned,
}

/// Counts of a driver's life.
#[derive(Clone, Copy, Debug, Default)]
pub struct DriverCounts {
    /// How often it asked the kernel.
    pub enters: u64,
    /// Completions it got.
    pub completions: u64,
}

/// What carries operations out, and what tells the time.
pub trait Driver {
    /// Takes an operation over. It begins at the latest with the next [`Driver::reap`].
    fn submit(&mut self, token: Token, op: Op);

    /// Asks for an operation to end early. It completes all the same: with `-ECANCELED`, or with
    /// its result if that was quicker. Reads and writes of files are never cancelled.
    fn cancel(&mut self, token: Token);

    /// Hands over completions, waiting for the first one until `until` (see [`Driver::now`]; 0
    /// does not wait).
    fn reap(&mut self, until: u64, completed: &mut Vec<Completion>);

    /// Counts so far; none by a driver that does not count.
    fn counts(&self) -> DriverCounts {
        DriverCounts::default()
    }

    /// Says how many reads and writes may be in flight on one device from now on, where that matters.
    fn limit_device(&mut self, _limit: usize) {}

    /// Nanoseconds of a clock that never goes back.
    fn now(&self) -> u64;

    /// Nanoseconds since 1970-01-01 UTC; may jump.
    fn wall(&self) -> u64;
}
