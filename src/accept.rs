//! What to do when `accept(2)` fails, for every listener alike.

use std::io;

use nix::libc;

use crate::throttle::Throttle;

/// How long to wait before the next attempt after a failure that does not pass at once (nanoseconds):
/// trying again immediately would spin.
pub const PAUSE_NS: u64 = 100_000_000;

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It concerned one connection only, or nothing was there: accept the next one.
    AtOnce,
    /// It concerns all connections: wait [`PAUSE_NS`].
    Later,
}

/// The failures of one listener.
#[derive(Debug, Default)]
pub struct Failures {
    throttle: Throttle,
}

impl Failures {
    /// Notes a failure at `now` (nanoseconds of the monotonic clock) and logs it, not too often.
    /// `connections` says of which connections.
    pub fn note(&self, errno: i32, connections: &str, now: u64) -> Next {
        let Some(advice) = advice(errno) else { return Next::AtOnce };
        if let Some(omitted) = self.throttle.admit(now) {
            let error = io::Error::from_raw_os_error(errno);
            tracing::warn!("cannot accept {connections}: {error}; {advice}{omitted}");
        }
        Next::Later
    }
}

/// What to do about a failure; nothing where that is not worth a line: what the network had in store for a
/// connection that was not accepted yet (`accept(2)`, "Error handling").
fn advice(errno: i32) -> Option<&'static str> {
    match errno {
        libc::EINTR
        | libc::EAGAIN
        | libc::ECONNABORTED
        | libc::EPROTO
        | libc::ENETDOWN
        | libc::ENOPROTOOPT
        | libc::EHOSTDOWN
        | libc::ENONET
        | libc::EHOSTUNREACH
        | libc::EOPNOTSUPP
        | libc::ENETUNREACH => None,
        libc::EMFILE => Some(
            "this process has as many files open as it may: raise the limit (LimitNOFILE= in the unit, \
             `ulimit -Hn` in a shell) or lower limits.connections",
        ),
        libc::ENFILE => Some(
            "the whole machine has as many files open as it may: raise the sysctl fs.file-max, or see \
             which process has them (lsof)",
        ),
        libc::ENOBUFS | libc::ENOMEM => Some(
            "the kernel has no memory for another connection: see the sysctl net.ipv4.tcp_mem, and the \
             memory limit of the service or container",
        ),
        libc::EPERM | libc::EACCES => Some("a firewall or a security module forbids it"),
        _ => Some("see the kernel log"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_one_connection_is_passed_over_and_any_other_waits() {
        let failures = Failures::default();
        for errno in [libc::ECONNABORTED, libc::EINTR, libc::EPROTO, libc::EHOSTUNREACH] {
            assert_eq!(failures.note(errno, "a connection", 1), Next::AtOnce);
        }
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EBADF] {
            assert_eq!(failures.note(errno, "a connection", 1), Next::Later, "{errno}");
        }
    }

    #[test]
    fn what_can_be_raised_is_named() {
        let words = [
            (libc::EMFILE, "LimitNOFILE"),
            (libc::ENFILE, "fs.file-max"),
            (libc::ENOMEM, "memory"),
        ];
        for (errno, word) in words {
            assert!(advice(errno).unwrap().contains(word), "{errno}");
        }
    }
}
