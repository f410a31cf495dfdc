//! A listening socket.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::runtime::op::Sock;

/// A listening socket.
pub struct Listener {
    /// The driver's handle of the socket.
    pub sock: Sock,
    /// Whether this listener belongs to this shard's own port, so that the shard keeps the connections that
    /// it accepts.
    pub own: bool,
    /// Descriptor that keeps the socket open; `None` for a simulated socket.
    pub socket: Option<OwnedFd>,
}

impl Listener {
    /// Wraps a listening socket; for `own` see [`Self::own`].
    #[must_use]
    pub fn new(socket: OwnedFd, own: bool) -> Self {
        Self { sock: Sock(socket.as_raw_fd()), own, socket: Some(socket) }
    }
}
