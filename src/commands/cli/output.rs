//! Standard output and standard error of the commands. Nothing here panics when they cannot be written;
//! `println!` and similar macros would, and `tests/tidiness` forbids them.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::base::sys;

/// Writes `hayloft: MESSAGE` as a line to standard error. A failure is ignored: there is nowhere else to
/// report it.
pub(super) fn note(message: impl Display) {
    error_text(&format!("hayloft: {message}\n"));
}

/// Like [`note`], but never blocks: a pipe that nobody reads, or a terminal that was stopped, gets no line.
pub(super) fn note_at_once(message: impl Display) {
    // A descriptor of its own: a thread that is blocked in a write holds the lock of `io::stderr`.
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

/// Returns standard output, unbuffered. Unlike [`io::stdout`], it reports EBADF as an error and not as a
/// successful write.
///
/// # Errors
/// EBADF if it was closed when the command was started (`>&-`); the kernel's error if no descriptor is left.
pub(super) fn stdout() -> io::Result<File> {
    sys::open_at_start(1)?;
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

/// Writes text to standard output.
///
/// # Errors
/// See [`stdout`]; the kernel's error of the write.
pub(super) fn print(text: &str) -> io::Result<()> {
    stdout()?.write_all(text.as_bytes())
}

/// Reports why a command could not run, and returns exit code 2.
pub(super) fn fail(error: &dyn Display) -> ExitCode {
    note(error);
    ExitCode::from(2)
}

/// Reports that standard output could not be written, and returns exit code 2.
pub(super) fn unwritten(error: &io::Error) -> ExitCode {
    fail(&format_args!(
        "cannot write to standard output: {error}; check where it leads, and start again"
    ))
}

/// Prints the result of a command. A reader that closes the pipe early (`| head`) is no failure.
pub(super) fn deliver(text: &[u8]) -> ExitCode {
    match stdout().and_then(|mut out| out.write_all(text)) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => unwritten(&error),
        _ => ExitCode::SUCCESS,
    }
}

/// Prints a line about something that was done. If it cannot be written to standard output, writes it to
/// standard error, since running the command again would not print it, and returns false.
pub(super) fn announce(line: &str) -> bool {
    match print(&format!("{line}\n")) {
        Ok(()) => true,
        Err(error) => {
            note(format_args!("{line} (standard output cannot be written: {error})"));
            false
        }
    }
}
/// Writes a JSON value for people to standard output, as [`deliver`] does.
pub(super) fn deliver_json(value: &serde_json::Value) -> ExitCode {
    let text = serde_json::to_string_pretty(value).expect("a parsed JSON value always serializes");
    deliver((text + "\n").as_bytes())
}
