//! System calls of a server under load, counted by strace. It slows the server down many times, so nothing
//! else is measured meanwhile.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{Error, file};

/// Time for strace to attach to all threads.
const ATTACH: Duration = Duration::from_millis(800);

/// Number of system calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// `io_uring_enter`.
    pub enters: u64,
    /// All other system calls.
    pub others: u64,
}

/// A running strace.
pub struct Strace {
    child: Child,
    out: PathBuf,
    /// File with its error messages.
    messages: PathBuf,
}

impl Strace {
    /// Attaches to processes and their descendants.
    ///
    /// # Errors
    /// When strace cannot be started.
    pub fn attach(pids: &[u32], out: &Path) -> Result<Self, Error> {
        // Makes sure that the output is of this run.
        drop(std::fs::remove_file(out));
        let messages = out.with_extension("err");
        let log = std::fs::File::create(&messages).map_err(file("create", &messages))?;
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-q", "-o"]).arg(out);
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().map_err(file("run", Path::new("strace")))?;
        std::thread::sleep(ATTACH);
        Ok(Self { child, out: out.to_owned(), messages })
    }

    /// Detaches; returns the number of system calls since the start.
    ///
    /// # Errors
    /// When strace recorded nothing, for instance because it may not trace.
    pub fn detach(mut self) -> Result<Calls, Error> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("process ids fit i32"));
        let sent = kill(pid, Signal::SIGINT).map_err(std::io::Error::from);
        let ended = sent.and_then(|()| self.child.wait());
        let status = ended.map_err(file("stop", Path::new("strace")))?;
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let missing = || Error::Failed {
            command: "strace".to_owned(),
            status: status.to_string(),
            output: read(&self.messages).trim().to_owned(),
        };
        parse(&read(&self.out)).ok_or_else(missing)
    }
}

/// Parses the table with rows `% time, seconds, usecs/call, calls[, errors], name`.
fn parse(text: &str) -> Option<Calls> {
    let mut calls = Calls::default();
    let mut is_there = false;
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let count = fields.get(3).and_then(|count| count.parse::<u64>().ok());
        match (count, fields.last()) {
            (Some(_), Some(&"total")) | (None, _) | (_, None) => {}
            (Some(count), Some(&"io_uring_enter")) => calls.enters += count,
            (Some(count), Some(_)) => calls.others += count,
        }
        is_there |= count.is_some();
    }
    is_there.then_some(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_trace_is_reported_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("strace");
        std::fs::write(&out, "99.0 0.1 10 6009 io_uring_enter\n").unwrap();
        // The pid is above the maximum.
        let strace = Strace::attach(&[i32::MAX as u32], &out).unwrap();
        let error = strace.detach().unwrap_err().to_string();
        assert!(error.contains("strace") && error.contains("attach"), "{error}");
    }

    #[test]
    fn the_calls_are_added_up_without_the_total_row() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
                    ------ ----------- ----------- --------- --------- ----------------\n \
                    99.00    0.100000          10      6009           io_uring_enter\n  \
                    1.00    0.001000           1       100         3 recvfrom\n  \
                    0.00    0.000000           0         6           accept4\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                    100.00    0.101000          10      6115         3 total\n";
        assert_eq!(parse(text), Some(Calls { enters: 6009, others: 106 }));
        assert_eq!(parse("strace: attach: Operation not permitted\n"), None);
    }
}
