//! Operations in flight.

use crate::runtime::buffer::Buf;
use crate::runtime::op::{Op, Piece, Token};

/// Number of an operation that is not a disk operation, so that no fault applies to it.
pub const NO_DISK: u64 = u64::MAX;
/// Due time of an operation that waits for an event of its connection or listener.
pub const PARKED: u64 = u64::MAX;

/// An operation in flight.
pub struct Flight {
    /// Member that submitted the operation.
    pub member: usize,
    /// Time at which the operation ends, or is attempted again (nanoseconds).
    pub due: u64,
    /// Order of submission, which decides between operations that are due at the same time.
    pub order: u64,
    /// Number of the disk operation, or [`NO_DISK`].
    pub number: u64,
    pub token: Token,
    pub op: Op,
    /// Bytes received so far.
    pub done: usize,
    pub is_cancelled: bool,
    /// Whether the operation counts as a transfer in flight on the device.
    pub is_transfer: bool,
}

/// Whether an operation is on a connection or listener, or between shards.
pub fn is_network(op: &Op) -> bool {
    matches!(
        op,
        Op::Accept { .. }
            | Op::Connect { .. }
            | Op::RecvAny { .. }
            | Op::Recv { .. }
            | Op::Send { .. }
            | Op::SendLent { .. }
            | Op::PeerName { .. }
            | Op::ShutdownWrite { .. }
            | Op::Close { .. }
            | Op::Wake { .. }
    )
}

/// The connection or listener that an operation can wait for.
pub fn waits_for(op: &Op) -> Option<i32> {
    match op {
        Op::Accept { listener } => Some(listener.0),
        Op::RecvAny { sock }
        | Op::Recv { sock, .. }
        | Op::Send { sock, .. }
        | Op::SendLent { sock, .. } => Some(sock.0),
        _ => None,
    }
}

/// Whether an operation may have to wait for an event of a connection, a listener or an address.
pub fn may_wait(op: &Op) -> bool {
    waits_for(op).is_some() || matches!(op, Op::Connect { .. })
}

/// Returns the bytes of a gathered write.
pub fn gather(bufs: &[Buf], pieces: &[Piece]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let start = piece.start as usize;
        bytes.extend_from_slice(&bufs[usize::from(piece.buf)][start..start + piece.len as usize]);
    }
    bytes
}
