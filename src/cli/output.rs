//! Standard output and standard error of the commands. Nothing here panics when they cannot be written:
//! `println!` and its like would, and are refused by `tests/tidiness`.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys;

/// Writes `hayloft: MESSAGE` as a line to standard error. A failure is ignored: there is nowhere else to
/// report it.
pub(super) fn note(message: impl Display) {
    error_text(&format!("hayloft: {message}\n"));
}

/// The same if standard error takes it now: a pipe that nobody reads, or a terminal that was stopped, is not
/// waited for.
pub(super) fn note_at_once(message: impl Display) {
    // A descriptor of its own: whoever waits in a write holds the lock of the standard library's.
    let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() else { return };
    let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..)) {
        let _ = File::from(stderr).write_all(format!("hayloft: {message}\n").as_bytes());
    }
}

/// Writes text as it is to standard error: a prompt, a progress display. A failure is ignored.
pub(super) fn error_text(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Standard output, unbuffered. Unlike [`io::stdout`] it does not take a descriptor that cannot be written
/// to (EBADF) for a successful write.
///
/// # Errors
/// EBADF if it was closed when the command was started (`>&-`); the kernel's, if no descriptor is left.
pub(super) fn stdout() -> io::Result<File> {
    sys::open_at_start(1)?;
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

/// Writes text to standard output.
///
/// # Errors
/// The kernel's.
pub(super) fn print(text: &str) -> io::Result<()> {
    stdout()?.write_all(text.as_bytes())
}

/// Reports that a command could not run.
pub(super) fn fail(error: &dyn Display) -> ExitCode {
    note(error);
    ExitCode::from(2)
}

/// Reports that standard output could not be written.
pub(super) fn unwritten(error: &io::Error) -> ExitCode {
    fail(&format_args!(
        "cannot write to standard output: {error}; check where it leads, and start again"
    ))
}

/// Prints what a command was asked to show. A reader that goes away early (`| head`) is no failure.
pub(super) fn deliver(text: &[u8]) -> ExitCode {
    match stdout().and_then(|mut out| out.write_all(text)) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => unwritten(&error),
        _ => ExitCode::SUCCESS,
    }
}

/// Prints a line about something that was done. If standard output does not take it, standard error does,
/// since it cannot be had by running the command again; false then.
pub(super) fn announce(line: &str) -> bool {
    match print(&format!("{line}\n")) {
        Ok(()) => true,
        Err(error) => {
            note(format_args!("{line} (standard output cannot be written: {error})"));
            false
        }
    }
}
