//! The seam between logic and I/O: an operation is plain data, and its completion is a number and the
//! buffers of the operation.
//!
//! Two drivers carry out operations: [`crate::ring`] on io_uring, and `crate::runtime::sim` on simulated
//! disks and connections. Code above the seam cannot distinguish them. This module depends on neither of
//! them, nor on real files, HTTP or needles.

use std::ffi::CString;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::runtime::buffer::{Buf, Lent};

/// Identifies an operation in flight. The generation distinguishes successive users of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Slot in the runtime's table of operations.
    pub index: u32,
    /// Number of previous uses of the slot (modulo 2^32).
    pub generation: u32,
}

/// Id of an open directory, assigned by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DirId(pub u32);

/// Id of an open volume file, assigned by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(pub u32);

/// Id of a connection or listener, assigned by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sock(pub i32);

/// A piece of a gathered write: bytes `start..start + len` of buffer number `buf`.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Index into the write's buffers.
    pub buf: u16,
    /// Offset of the first byte in that buffer.
    pub start: u32,
    /// Length (bytes).
    pub len: u32,
}

/// An operation. Lengths and offsets are bytes. Buffers belong to the driver until the completion
/// brings them back.
#[derive(Debug)]
pub enum Op {
    /// Opens an existing directory. Result: a [`DirId`].
    OpenDir {
        /// Path of the directory.
        path: PathBuf,
    },
    /// Creates a file that must not exist yet. Result: a [`FileId`].
    Create {
        /// Directory of the file.
        dir: DirId,
        /// File name.
        name: CString,
    },
    /// Opens an existing file. Result: a [`FileId`].
    Open {
        /// Directory of the file.
        dir: DirId,
        /// File name.
        name: CString,
        /// Whether the file is opened for writing. If not, read permission suffices, also on a file system
        /// that is mounted read-only, and writes fail with `EBADF`.
        write: bool,
    },
    /// Queries the length of a file. Result: the length (bytes).
    FileLen {
        /// Open file.
        file: FileId,
    },
    /// Queries whether a name in a directory leads to an open file. Result: 1 if it does, 0 if it leads to
    /// another file or to none.
    IsNameOf {
        /// Directory of the name.
        dir: DirId,
        /// File name.
        name: CString,
        /// Open file.
        file: FileId,
    },
    /// Queries the number of extents of a file. Result: the number; 0 where the file system does not report
    /// it.
    Extents {
        /// Open file.
        file: FileId,
    },
    /// Reserves the blocks of a range (fallocate(2)), and extends the file if the range ends beyond its end.
    /// New space reads as zeros. Blocks that the file has are kept with their content. If it fails, the file
    /// may have got some of the blocks.
    Allocate {
        /// Open file.
        file: FileId,
        /// Beginning of the range (bytes).
        offset: u64,
        /// Length of the range (bytes), above 0.
        len: u64,
    },
    /// Sets the length of a file (ftruncate(2)). New space reads as zeros and has no blocks; what is beyond a
    /// smaller length is discarded.
    SetLen {
        /// Open file.
        file: FileId,
        /// New length (bytes).
        len: u64,
    },
    /// Reads `len` bytes at `offset` into `buf[start..]`. Result: bytes read, 0 at the end of the file.
    Read {
        /// Open file.
        file: FileId,
        /// Destination.
        buf: Buf,
        /// Offset of the first byte in `buf`.
        start: u32,
        /// Bytes to read.
        len: u32,
        /// Position in the file.
        offset: u64,
    },
    /// Writes the pieces consecutively at `offset`. Result: bytes written. A durable write is on stable
    /// media when it completes (`RWF_DSYNC`, pwritev2(2)); that covers this write only, not earlier ones.
    Write {
        /// Open file.
        file: FileId,
        /// Source buffers.
        bufs: Vec<Buf>,
        /// Parts of the buffers to write, in order.
        pieces: Vec<Piece>,
        /// Position in the file.
        offset: u64,
        /// Whether the write is on stable media when it completes.
        durable: bool,
    },
    /// Brings all completed writes of a file, and its length, to stable media (fdatasync(2)).
    Sync {
        /// Open file.
        file: FileId,
    },
    /// Closes a file.
    CloseFile {
        /// Open file.
        file: FileId,
    },
    /// Renames a file within a directory.
    Rename {
        /// Directory of both names.
        dir: DirId,
        /// Current name.
        from: CString,
        /// New name.
        to: CString,
        /// Whether an existing file with the new name is replaced. If not, there must be none.
        replace: bool,
    },
    /// Removes a name from a directory.
    Unlink {
        /// Directory of the name.
        dir: DirId,
        /// File name.
        name: CString,
    },
    /// Brings creations, renames and removals in a directory to stable media.
    SyncDir {
        /// Open directory.
        dir: DirId,
    },
    /// Waits for a connection. Result: its [`Sock`].
    Accept {
        /// Listening socket.
        listener: Sock,
    },
    /// Opens a TCP connection, which sends without delay (`TCP_NODELAY`, tcp(7)). Result: its [`Sock`]. If it
    /// fails or is cancelled, no descriptor stays open. It must be awaited: a connection that nobody takes
    /// stays open.
    Connect {
        /// Address of the listener.
        address: SocketAddr,
    },
    /// Receives into a buffer that the driver picks only when bytes have arrived, so that a waiting
    /// connection holds no buffer. The bytes begin at offset [`crate::base::limits::RECEIVE_HEADROOM`] of the
    /// buffer. Result: bytes received, 0 at the end of the stream.
    RecvAny {
        /// Connection.
        sock: Sock,
    },
    /// Receives into `buf[start..start + len]`. Result: bytes received; fewer than `len` when the stream
    /// ends, when the operation is cancelled, or when some bytes have arrived and `whole` is false.
    Recv {
        /// Connection.
        sock: Sock,
        /// Destination.
        buf: Buf,
        /// Offset of the first byte in `buf`.
        start: u32,
        /// Bytes to receive.
        len: u32,
        /// Whether to wait for all `len` bytes.
        whole: bool,
    },
    /// Sends as much of `buf[start..start + len]` as the connection accepts. Result: bytes sent, at least
    /// one.
    Send {
        /// Connection.
        sock: Sock,
        /// Source.
        buf: Buf,
        /// Offset of the first byte in `buf`.
        start: u32,
        /// Maximum number of bytes to send.
        len: u32,
    },
    /// Sends as much of `lent[start..start + len]` as the connection accepts, while others read the same
    /// bytes. Result: bytes sent, at least one. The handle is returned as [`Returned::Lent`].
    SendLent {
        /// Connection.
        sock: Sock,
        /// Source.
        lent: Lent,
        /// Offset of the first byte in what is lent.
        start: u32,
        /// Maximum number of bytes to send; what is lent has them.
        len: u32,
        /// Whether more bytes follow at once, so that a packet that is not full may wait for them
        /// (`MSG_MORE`, send(2)).
        more: bool,
    },
    /// Queries the address of the peer, which is returned as [`Returned::Text`]. Result: 0.
    PeerName {
        /// Connection.
        sock: Sock,
    },
    /// Shuts down the sending direction of a connection (shutdown(2) with `SHUT_WR`).
    ShutdownWrite {
        /// Connection.
        sock: Sock,
    },
    /// Closes a connection.
    Close {
        /// Connection.
        sock: Sock,
    },
    /// Wakes another thread with a driver, so that it reads its mailbox.
    Wake {
        /// Position of its driver among the peers: first the shards, last the main thread.
        peer: usize,
    },
}

/// Data that a completion returns besides the result: the buffers of the operation, as a rule.
#[derive(Debug, Default)]
pub enum Returned {
    /// Nothing.
    #[default]
    None,
    /// The buffer of a read, receive or send.
    One(Buf),
    /// The handle of a send of lent bytes.
    Lent(Lent),
    /// The buffers of a gathered write.
    Many(Vec<Buf>),
    /// Text, such as an address.
    Text(Box<str>),
}

/// Completion of an operation.
#[derive(Debug)]
pub struct Completion {
    /// Token of the operation.
    pub token: Token,
    /// 0 or above: the result as the operation defines it. Below 0: the negated errno.
    pub result: i64,
    /// Buffers of the operation.
    pub returned: Returned,
}

/// Counters of a driver since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct DriverCounts {
    /// Number of calls to the kernel (`io_uring_enter`).
    pub enters: u64,
    /// Number of completions received.
    pub completions: u64,
}

/// Carries out operations, and provides the time.
pub trait Driver {
    /// Submits an operation. It begins with the next [`Driver::reap`] at the latest, except for a read or
    /// write of a file that waits because its device has as many in flight as the limit allows.
    fn submit(&mut self, token: Token, op: Op);

    /// Requests that an operation ends early. It still completes, with `-ECANCELED`, or with its result if
    /// it had ended before. Reads and writes of files are never cancelled.
    fn cancel(&mut self, token: Token);

    /// Appends completions to `completed`. If there is none, waits for the first one until `until`
    /// (nanoseconds, see [`Driver::now`]; 0 does not wait).
    fn reap(&mut self, until: u64, completed: &mut Vec<Completion>);

    /// Returns the counters; all 0 for a driver that does not count.
    fn counts(&self) -> DriverCounts {
        DriverCounts::default()
    }

    /// Sets the maximum number of reads and writes in flight on each device, for a driver that limits them.
    fn limit_device(&mut self, _limit: usize) {}

    /// Monotonic time (nanoseconds).
    fn now(&self) -> u64;

    /// Wall-clock time (nanoseconds since 1970-01-01 UTC); may jump.
    fn wall(&self) -> u64;
}
