//! Errors between a command and the daemon.

use std::io;

use thiserror::Error;

use super::address::ServerAddress;
use crate::http::head::Method;

/// Why a request got no answer, or not one that the caller expects.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No connection could be made.
    #[error(
        "cannot reach {address}: {error}; is the daemon running? Start it with hayloft serve, or name \
         it with {flag}"
    )]
    Unreachable {
        /// Address of the server.
        address: ServerAddress,
        /// Flag with which the user names another address.
        flag: &'static str,
        /// Cause.
        error: String,
    },
    /// The connection broke: whether the request was carried out is not known.
    #[error(
        "the connection to {address} broke during {request}: {error}; whether it was carried out is not \
         known: run the command again when the daemon answers"
    )]
    Broken {
        /// Address of the server.
        address: ServerAddress,
        /// Method and path.
        request: String,
        /// Cause.
        error: String,
    },
    /// The daemon answered with a status that the caller does not expect.
    #[error("{request} was answered with {status}: {reason}")]
    Refused {
        /// Method and path.
        request: String,
        /// Status code.
        status: u16,
        /// The daemon's reason, one line.
        reason: String,
    },
    /// The answer is malformed.
    #[error(
        "the answer to {request} cannot be understood ({what}); is it a hayloft daemon that answers?"
    )]
    Garbled {
        /// Method and path.
        request: String,
        /// Description of the fault.
        what: String,
    },
    /// The body to be sent could not be read; nothing was stored.
    #[error(transparent)]
    Source(io::Error),
}

impl ClientError {
    pub(super) fn of(
        error: ureq::Error,
        flag: &'static str,
        address: &ServerAddress,
        method: Method,
        path: &str,
    ) -> Self {
        use ureq::{Error, Timeout};
        let address = address.clone();
        let connecting = match &error {
            Error::Io(error) => {
                let kinds = [
                    io::ErrorKind::ConnectionRefused,
                    io::ErrorKind::HostUnreachable,
                    io::ErrorKind::NetworkUnreachable,
                ];
                kinds.contains(&error.kind())
            }
            Error::HostNotFound | Error::ConnectionFailed => true,
            Error::Timeout(phase) => matches!(phase, Timeout::Connect | Timeout::Resolve),
            _ => false,
        };
        let request = shown(method, path);
        match error {
            error if connecting => Self::Unreachable { address, flag, error: words(&error) },
            error @ (Error::Protocol(_) | Error::LargeResponseHeader(..)) => {
                Self::Garbled { request, what: error.to_string() }
            }
            error => Self::Broken { address, request, error: words(&error) },
        }
    }
}

/// Formats an error without the prefix of the library.
fn words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// Formats a request for an error. Most of the cookie is left out: cookies work like passwords, and errors
/// end up in logs.
pub(super) fn shown(method: Method, path: &str) -> String {
    let method = method.token().escape_ascii();
    match path.rsplit_once('/') {
        Some((front, last)) if last.len() == 16 => format!("{method} {front}/{}..", &last[..4]),
        _ => format!("{method} {path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_in_paths_are_truncated() {
        assert_eq!(shown(Method::Get, "/1/2/0/0123456789abcdef"), "GET /1/2/0/0123..");
        assert_eq!(shown(Method::Post, "/"), "POST /");
        assert_eq!(shown(Method::Get, "/volumes"), "GET /volumes");
    }
}
