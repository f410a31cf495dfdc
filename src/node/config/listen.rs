//! Listening addresses: `127.0.0.1:8080`, `[::1]:8080` and, for the data API, `unix:/path`.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// Longest path of a unix socket (bytes): `sun_path` holds 108 with the terminating zero (unix(7)).
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// One address of the data API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Listen {
    /// An IP address and a port. Port 0 lets the kernel choose one.
    Tcp(SocketAddr),
    /// A unix socket: an absolute path of at most 107 bytes.
    Unix(PathBuf),
}

impl Listen {
    /// Returns the TCP address; `None` for a unix socket.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

/// Why a text is no listening address. Each message gives a valid alternative.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseListenError {
    /// Neither `IP:PORT` nor `unix:/path`.
    #[error(
        "{0:?} is not an address; write IP:PORT (host names are not looked up), for instance \
         127.0.0.1:8080, 0.0.0.0:8080 for all IPv4 addresses or [::]:8080 for all, or unix:/path"
    )]
    NotAnAddress(String),
    /// An IP address without a port.
    #[error("{0:?} has no port; add one, for instance {1}")]
    NoPort(String, SocketAddr),
    /// A unix socket whose path does not begin with `/`.
    #[error("{0:?}: the path of a unix socket must be absolute; write unix:/run/hayloft/data.sock")]
    RelativePath(String),
    /// The path is longer than `sun_path`.
    #[error(
        "{text:?}: the path has {length} bytes and a unix socket takes at most {UNIX_PATH_BYTES_MAX}; \
         choose a shorter one"
    )]
    LongPath {
        /// The whole text.
        text: String,
        /// Length of the path in bytes.
        length: usize,
    },
}

impl FromStr for Listen {
    type Err = ParseListenError;

    fn from_str(text: &str) -> Result<Self, ParseListenError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(text, path);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        Err(match bare.parse() {
            Ok(ip) => ParseListenError::NoPort(text.to_owned(), SocketAddr::new(ip, 8080)),
            Err(_) => ParseListenError::NotAnAddress(text.to_owned()),
        })
    }
}

fn unix(text: &str, path: &str) -> Result<Listen, ParseListenError> {
    if !Path::new(path).is_absolute() {
        return Err(ParseListenError::RelativePath(text.to_owned()));
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        return Err(ParseListenError::LongPath { text: text.to_owned(), length: path.len() });
    }
    Ok(Listen::Unix(PathBuf::from(path)))
}

impl TryFrom<String> for Listen {
    type Error = ParseListenError;

    fn try_from(text: String) -> Result<Self, ParseListenError> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Parses `IP:PORT`, with the same messages as [`Listen`].
///
/// # Errors
/// A message that gives a valid alternative.
pub fn parse_tcp_address(text: &str) -> Result<SocketAddr, String> {
    match text.parse() {
        Ok(Listen::Tcp(address)) => Ok(address),
        Ok(Listen::Unix(_)) => Err(format!(
            "{text:?} is a unix socket, which is not possible here; write IP:PORT, for instance \
             127.0.0.1:8081"
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// Deserializes the value of a setting that is `IP:PORT`.
pub(super) fn deserialize_tcp_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_tcp_address(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_round_trip_through_text() {
        for text in ["127.0.0.1:8080", "0.0.0.0:0", "[::1]:8080", "unix:/run/hayloft/data.sock"] {
            let listen: Listen = text.parse().unwrap();
            assert_eq!(listen.to_string(), text);
            assert_eq!(listen.tcp().is_some(), !text.starts_with("unix:"));
        }
        let longest = format!("unix:/{}", "x".repeat(UNIX_PATH_BYTES_MAX - 1));
        assert!(longest.parse::<Listen>().is_ok());
    }

    #[test]
    fn invalid_listen_addresses_are_rejected_with_advice() {
        let long = format!("unix:/{}", "x".repeat(UNIX_PATH_BYTES_MAX));
        for (text, advice) in [
            ("", "write IP:PORT"),
            ("localhost:8080", "host names are not looked up"),
            (":8080", "0.0.0.0:8080 for all IPv4"),
            ("127.0.0.1", "for instance 127.0.0.1:8080"),
            ("::1", "for instance [::1]:8080"),
            ("[::1]", "for instance [::1]:8080"),
            ("127.0.0.1:65536", "write IP:PORT"),
            ("127.0.0.1:80 ", "write IP:PORT"),
            ("unix:", "must be absolute"),
            ("unix:data.sock", "must be absolute"),
            (long.as_str(), "at most 107"),
        ] {
            let error = text.parse::<Listen>().expect_err(text).to_string();
            assert!(error.contains(advice), "{text:?}: {error}");
        }
    }
}
