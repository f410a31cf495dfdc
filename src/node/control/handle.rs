//! A running control plane, for the thread that started it.

use std::io;

use tokio::sync::watch;

use crate::base::threads::Thread;

/// A running control plane. Dropping it lets its services stop without waiting for them.
#[derive(Debug)]
pub struct ControlHandle {
    /// Dropping it is the signal to stop.
    stop: watch::Sender<()>,
    thread: Thread,
}

impl ControlHandle {
    /// The control plane that runs on `thread` until `stop` is dropped.
    pub(super) fn new(stop: watch::Sender<()>, thread: Thread) -> Self {
        Self { stop, thread }
    }

    /// Stops the services and waits for the thread. Each service gives requests under way limited time to
    /// finish.
    ///
    /// # Errors
    /// If the thread panicked or was ended by the kernel.
    pub fn shutdown(self) -> io::Result<()> {
        drop(self.stop);
        self.thread.join().map_err(|_| io::Error::other("the admin thread ended by itself"))
    }
}
