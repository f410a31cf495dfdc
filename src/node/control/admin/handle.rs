//! A running admin listener, for the thread that started it.

use std::io;
use std::net::SocketAddr;

use tokio::sync::oneshot;

use crate::base::threads::Thread;

/// A running admin listener. Dropping it lets the listener stop without waiting for it.
#[derive(Debug)]
pub struct AdminHandle {
    addr: SocketAddr,
    /// Dropping it is the signal to stop.
    stop: oneshot::Sender<()>,
    thread: Thread,
}

impl AdminHandle {
    /// The listener at `addr`, served by `thread` until `stop` is dropped.
    pub(super) fn new(addr: SocketAddr, stop: oneshot::Sender<()>, thread: Thread) -> Self {
        Self { addr, stop, thread }
    }

    /// Returns the listening address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes the listener, gives requests under way at most `shutdown_within` of
    /// [`AdminLimits`](super::AdminLimits) to finish, and waits for the thread.
    ///
    /// # Errors
    /// If the thread panicked or was ended by the kernel.
    pub fn shutdown(self) -> io::Result<()> {
        drop(self.stop);
        self.thread.join().map_err(|_| io::Error::other("the admin thread ended by itself"))
    }
}
