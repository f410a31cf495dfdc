//! Input from a pipe, a socket or a terminal: a read may wait, and the stop flag must end it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

/// Interval between polls of the stop flag (milliseconds).
const LOOK_MS: u8 = 100;

/// A reader that fails once the stop flag is set.
pub struct Pipe<'a> {
    file: File,
    stop: &'a AtomicBool,
}

impl<'a> Pipe<'a> {
    pub fn new(file: File, stop: &'a AtomicBool) -> Self {
        Self { file, stop }
    }
}

impl Read for Pipe<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while !self.stop.load(Ordering::Relaxed) {
            let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, LOOK_MS) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return self.file.read(buf),
                Err(error) => return Err(error.into()),
            }
        }
        // Not of the kind `Interrupted`: callers would read again.
        Err(io::Error::other("it was interrupted"))
    }
}
