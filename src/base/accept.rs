//! Handling of errors of `accept(2)`, the same for all listeners.

use std::io;

use nix::libc;

use crate::base::throttle::Throttle;

/// Pause before the next attempt after an error that concerns all connections (nanoseconds): an immediate
/// retry would busy-loop.
pub const PAUSE_NS: u64 = 100_000_000;

/// When to accept again after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Immediately: the error concerned one connection only, or no connection was waiting.
    AtOnce,
    /// After [`PAUSE_NS`]: the error concerns all connections.
    Later,
}

/// Errors of one listener, with the rate limit of their log lines.
#[derive(Debug, Default)]
pub struct Failures {
    throttle: Throttle,
}

impl Failures {
    /// Handles the error `errno` at `now` (nanoseconds of the monotonic clock): decides when to accept again,
    /// and logs an error that concerns all connections, at most once a minute. `connections` names the kind
    /// of connections in the log line.
    pub fn note(&self, errno: i32, connections: &str, now: u64) -> Next {
        let Some(advice) = advice(errno) else { return Next::AtOnce };
        if let Some(omitted) = self.throttle.admit(now) {
            let error = io::Error::from_raw_os_error(errno);
            tracing::warn!("cannot accept {connections}: {error}; {advice}{omitted}");
        }
        Next::Later
    }
}

/// Returns advice for the operator. `None` for errors that are not logged: pending network errors of a
/// connection that was not accepted yet (`accept(2)`, "Error handling"), an interruption, and no connection.
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
            "this process has reached its limit of open files: raise it (LimitNOFILE= in the unit, \
             `ulimit -Hn` in a shell) or lower limits.connections",
        ),
        libc::ENFILE => Some(
            "the machine has reached its limit of open files: raise the sysctl fs.file-max, or find the \
             process that has them open (lsof)",
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
    fn connection_errors_retry_at_once_and_others_later() {
        let failures = Failures::default();
        for errno in [libc::ECONNABORTED, libc::EINTR, libc::EPROTO, libc::EHOSTUNREACH] {
            assert_eq!(failures.note(errno, "a connection", 1), Next::AtOnce);
        }
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EBADF] {
            assert_eq!(failures.note(errno, "a connection", 1), Next::Later, "{errno}");
        }
    }

    #[test]
    fn exhausted_limits_are_named_in_the_advice() {
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
