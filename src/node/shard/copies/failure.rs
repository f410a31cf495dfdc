//! Why an exchange with another node has failed.

use thiserror::Error;

use super::answer::Malformed;

/// Why an exchange with another node has failed. In all cases but the first, the node may have made the
/// change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExchangeFailure {
    /// No connection was made. Holds the error number.
    #[error("it cannot be reached: {}", nix::errno::Errno::from_raw(*.0).desc())]
    Unreachable(i32),
    /// The connection broke. Holds the error number; 0 if the other node closed it.
    #[error("the connection broke: {}", describe(*.0))]
    Broken(i32),
    /// The node did not answer in time.
    #[error("it did not answer in time")]
    TimedOut,
    /// What it answered is no response.
    #[error("its answer is malformed")]
    Malformed,
    /// It refused. Holds the status and what it said.
    #[error("it answered {0}: {1}")]
    Refused(u16, String),
    /// No buffer is free.
    #[error("no buffer is free")]
    NoBuffer,
}

impl From<Malformed> for ExchangeFailure {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

fn describe(errno: i32) -> &'static str {
    match errno {
        0 => "closed by the other node",
        errno => nix::errno::Errno::from_raw(errno).desc(),
    }
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;

    #[test]
    fn failures_say_what_happened() {
        for (failure, expected) in [
            (
                ExchangeFailure::Unreachable(libc::ECONNREFUSED),
                "it cannot be reached: Connection refused",
            ),
            (ExchangeFailure::Broken(0), "the connection broke: closed by the other node"),
            (ExchangeFailure::Refused(500, "full".into()), "it answered 500: full"),
        ] {
            assert_eq!(failure.to_string(), expected);
        }
    }
}
