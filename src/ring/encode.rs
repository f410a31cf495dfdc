//! Encodes operations as entries of the submission queue.
//!
//! An entry points to the memory of a buffer or to what its [`Held`] has on the heap. So it stays valid when
//! the [`Held`] is moved.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::null_mut;

use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags};
use nix::libc;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use super::files::fixed;
use super::in_flight::Held;
use super::provided::GROUP;
use crate::runtime::buffer::{Buf, Lent};
use crate::runtime::op::{DirId, FileId, Piece, Sock};

/// An operation for the kernel. `held` must be kept until the last completion.
pub struct Encoded {
    pub held: Held,
    pub entry: Entry,
}

impl Encoded {
    fn without_data(entry: Entry) -> Self {
        Self { held: Held::Nothing, entry }
    }
}

/// A read from a file. `registered`: whether the buffers of the ring are registered.
pub fn read(
    file: FileId,
    mut buf: Buf,
    start: u32,
    len: u32,
    offset: u64,
    registered: bool,
) -> Encoded {
    let (address, index) = (buf.address_mut(start as usize), buf.registration());
    let file = fixed(file);
    let entry = if registered {
        opcode::ReadFixed::new(file, address, len, index).offset(offset).build()
    } else {
        opcode::Read::new(file, address, len).offset(offset).build()
    };
    Encoded { held: Held::Buf(buf), entry }
}

/// A gathered write to a file. `registered`: whether the kernel gathers from registered buffers, and those of
/// the ring are.
pub fn write(
    file: FileId,
    bufs: Vec<Buf>,
    pieces: &[Piece],
    offset: u64,
    durable: bool,
    registered: bool,
) -> Encoded {
    let iovecs: Box<[libc::iovec]> = pieces
        .iter()
        .map(|piece| libc::iovec {
            iov_base: bufs[usize::from(piece.buf)].address(piece.start as usize).cast(),
            iov_len: piece.len as usize,
        })
        .collect();
    let index = bufs.first().map_or(0, Buf::registration);
    let same = bufs.iter().all(|buf| buf.registration() == index);
    let flags = if durable { libc::RWF_DSYNC } else { 0 };
    let count = u32::try_from(iovecs.len()).expect("at most 1024 pieces");
    let (target, list) = (fixed(file), iovecs.as_ptr());
    let entry = if registered && same {
        let write = opcode::WritevFixed::new(target, list, count, index);
        write.offset(offset).rw_flags(flags).build()
    } else {
        opcode::Writev::new(target, list, count).offset(offset).rw_flags(flags).build()
    };
    let held = Held::Gather { bufs, _pieces: iovecs, durable: durable.then_some(file) };
    Encoded { held, entry }
}

/// A receive into a buffer that the kernel picks.
pub fn recv_any(sock: Sock) -> Encoded {
    let entry = opcode::Recv::new(Fd(sock.0), null_mut(), 0).buf_group(GROUP).build();
    Encoded { held: Held::RecvAny(sock), entry: entry.flags(Flags::BUFFER_SELECT) }
}

/// A receive into a buffer; with `whole`, of exactly `len` bytes.
pub fn recv(sock: Sock, mut buf: Buf, start: u32, len: u32, whole: bool) -> Encoded {
    let address = buf.address_mut(start as usize);
    let flags = if whole { libc::MSG_WAITALL } else { 0 };
    let entry = opcode::Recv::new(Fd(sock.0), address, len).flags(flags).build();
    Encoded { held: Held::Buf(buf), entry }
}

/// A send from a buffer.
pub fn send(sock: Sock, buf: Buf, start: u32, len: u32) -> Encoded {
    let address = buf.address(start as usize);
    let entry = opcode::Send::new(Fd(sock.0), address, len).flags(libc::MSG_NOSIGNAL).build();
    Encoded { held: Held::Buf(buf), entry }
}

/// A send of lent bytes; with `more`, others follow at once.
///
/// # Panics
/// If so many bytes are not lent.
pub fn send_lent(sock: Sock, lent: Lent, start: u32, len: u32, more: bool) -> Encoded {
    assert!(start as usize + len as usize <= lent.len(), "{len} bytes from {start} of {lent:?}");
    let flags = libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
    let entry = opcode::Send::new(Fd(sock.0), lent.address(start as usize), len).flags(flags);
    Encoded { held: Held::Lent(lent), entry: entry.build() }
}

/// The connection of a socket to an address.
pub fn connect(socket: OwnedFd, address: SockaddrStorage) -> Encoded {
    let address = Box::new(address);
    let entry =
        opcode::Connect::new(Fd(socket.as_raw_fd()), address.as_ptr(), address.len()).build();
    Encoded { held: Held::Connecting { socket: Some(socket), _address: address }, entry }
}

/// An accept of a connection.
pub fn accept(listener: Sock) -> Encoded {
    let accept = opcode::Accept::new(Fd(listener.0), null_mut(), null_mut());
    Encoded::without_data(accept.flags(libc::SOCK_CLOEXEC).build())
}

/// The end of the stream that is sent.
pub fn shutdown_write(sock: Sock) -> Encoded {
    Encoded::without_data(opcode::Shutdown::new(Fd(sock.0), libc::SHUT_WR).build())
}

/// The close of a connection.
pub fn close(sock: Sock) -> Encoded {
    Encoded::without_data(opcode::Close::new(Fd(sock.0)).build())
}

/// The open of a file in a directory.
pub fn open(dir: Fd, name: CString, flags: i32) -> Encoded {
    let entry = opcode::OpenAt::new(dir, name.as_ptr()).flags(flags).mode(0o600).build();
    Encoded { held: Held::Opening { _name: name }, entry }
}

/// The allocation of `len` bytes of a file at `offset`.
pub fn allocate(file: FileId, offset: u64, len: u64) -> Encoded {
    Encoded::without_data(opcode::Fallocate::new(fixed(file), len).offset(offset).build())
}

/// A sync of the data of a file.
pub fn sync(file: FileId) -> Encoded {
    let entry = opcode::Fsync::new(fixed(file)).flags(FsyncFlags::DATASYNC).build();
    Encoded { held: Held::Sync(file), entry }
}

/// A rename in a directory.
pub fn rename(dir: Fd, from: CString, to: CString, replace: bool) -> Encoded {
    let flags = if replace { 0 } else { libc::RENAME_NOREPLACE };
    let entry = opcode::RenameAt::new(dir, from.as_ptr(), dir, to.as_ptr()).flags(flags).build();
    Encoded { held: Held::Names { _from: from, _to: to }, entry }
}

/// The removal of a name in a directory.
pub fn unlink(dir: Fd, name: CString) -> Encoded {
    let entry = opcode::UnlinkAt::new(dir, name.as_ptr()).build();
    Encoded { held: Held::Name { _name: name }, entry }
}

/// A sync of a directory, whose descriptor is `fd`.
pub fn sync_dir(dir: DirId, fd: Fd) -> Encoded {
    Encoded { held: Held::SyncDir(dir), entry: opcode::Fsync::new(fd).build() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::buffer::{Pool, Region};

    #[test]
    fn write_gathers_from_registered_memory_if_one_registration_has_all_pieces() {
        // Two of these pools do not fit into one registration.
        let region = Region::map(2, 600 << 20).unwrap();
        let pools = [Pool::new(&region, 0), Pool::new(&region, 1)];
        let code = |from: [usize; 2], registered| {
            let bufs = from.map(|pool| pools[pool].alloc(512).unwrap());
            let pieces = [0, 1].map(|buf| Piece { buf, start: 0, len: 512 });
            let write = write(FileId(0), bufs.into(), &pieces, 0, true, registered);
            write.entry.get_opcode()
        };
        let fixed = u32::from(opcode::WritevFixed::CODE);
        let plain = u32::from(opcode::Writev::CODE);
        assert_eq!([code([0, 0], true), code([1, 1], true)], [fixed; 2]);
        assert_eq!([code([0, 1], true), code([1, 0], true), code([0, 0], false)], [plain; 3]);
    }
}
