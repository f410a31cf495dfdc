//! Address of a server of a cluster: `HOST:PORT`, or `HOST:PORT.GRPC_PORT`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Distance from the HTTP port of a server to its gRPC port, unless its address names that.
pub const GRPC_DISTANCE: u16 = 10_000;

/// Longest name of a host (bytes), by DNS.
const HOST_BYTES_MAX: usize = 253;

/// Address of a server of a cluster, by its HTTP port. The host is an IP address or a name that is looked up
/// when the server is contacted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HostPort {
    /// IP address (IPv6 in brackets) or name.
    host: String,
    /// HTTP port, not 0.
    port: u16,
    /// gRPC port, not 0.
    grpc_port: u16,
}

/// The text is no address of a server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseHostPortError {
    /// It is not of the form `HOST:PORT`.
    #[error(
        "{0:?} is no address of a server; write HOST:PORT with its HTTP port, for instance 10.0.0.7:9333, or \
         HOST:PORT.GRPC_PORT"
    )]
    Form(String),
    /// The gRPC port that follows from the HTTP port is beyond 65535.
    #[error(
        "{0:?}: the gRPC port would be {1}, and the highest port is 65535; write HOST:PORT.GRPC_PORT"
    )]
    NoGrpcPort(String, u32),
}

impl HostPort {
    /// Host and gRPC port.
    #[must_use]
    pub fn grpc(&self) -> String {
        format!("{}:{}", self.host, self.grpc_port)
    }

    /// Whether this is the same server as another address says, as far as the texts tell.
    #[must_use]
    pub fn is_same_server(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port
    }
}

impl FromStr for HostPort {
    type Err = ParseHostPortError;

    fn from_str(text: &str) -> Result<Self, ParseHostPortError> {
        let wrong = || ParseHostPortError::Form(text.to_owned());
        let (host, ports) = text.rsplit_once(':').ok_or_else(wrong)?;
        if !is_host(host) {
            return Err(wrong());
        }
        let (port, grpc_port) = match ports.split_once('.') {
            Some((port, grpc)) => (port, Some(grpc)),
            None => (ports, None),
        };
        let number = |text: &str| {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|port| is_plain && *port > 0).ok_or_else(wrong)
        };
        let port = number(port)?;
        let derived = port.checked_add(GRPC_DISTANCE);
        let grpc_port = match (grpc_port, derived) {
            (Some(grpc_port), _) => number(grpc_port)?,
            (None, Some(grpc_port)) => grpc_port,
            (None, None) => {
                let beyond = u32::from(port) + u32::from(GRPC_DISTANCE);
                return Err(ParseHostPortError::NoGrpcPort(text.to_owned(), beyond));
            }
        };
        Ok(Self { host: host.to_owned(), port, grpc_port })
    }
}

/// Whether a text is an IP address (IPv6 in brackets) or may be a name of a host.
fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return matches!(inner.parse(), Ok(IpAddr::V6(_)));
    }
    let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=HOST_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_of_names)
}

impl TryFrom<String> for HostPort {
    type Error = ParseHostPortError;

    fn try_from(text: String) -> Result<Self, ParseHostPortError> {
        text.parse()
    }
}

impl From<HostPort> for String {
    fn from(address: HostPort) -> Self {
        address.to_string()
    }
}

/// Writes the form without the gRPC port if that follows from the HTTP port.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, grpc_port } = self;
        match port.checked_add(GRPC_DISTANCE) == Some(*grpc_port) {
            true => write!(f, "{host}:{port}"),
            false => write!(f, "{host}:{port}.{grpc_port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip_and_have_a_grpc_port() {
        for (text, shown, grpc) in [
            ("10.0.0.7:9333", "10.0.0.7:9333", "10.0.0.7:19333"),
            ("master-1.example:80.81", "master-1.example:80.81", "master-1.example:81"),
            ("h:9333.19333", "h:9333", "h:19333"),
            ("[::1]:9333", "[::1]:9333", "[::1]:19333"),
            ("h:60000.7", "h:60000.7", "h:7"),
        ] {
            let address: HostPort = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.grpc().as_str()), (shown, grpc));
            assert_eq!(shown.parse(), Ok(address));
        }
        let (plain, other): (HostPort, HostPort) =
            ("h:1".parse().unwrap(), "h:1.2".parse().unwrap());
        assert!(plain.is_same_server(&other) && plain != other);
        assert!(!plain.is_same_server(&"h:2".parse().unwrap()));
    }

    #[test]
    fn other_texts_are_rejected_with_advice() {
        for text in [
            "",
            "h",
            ":9333",
            "h:",
            "h:0",
            "h:65536",
            "h:+1",
            "h:1.",
            "h:1.0",
            "h:1.65536",
            "::1:9333",
            "[10.0.0.1]:1",
            "a b:1",
            "http://h:9333",
            "h:1.2.3",
        ] {
            let error = text.parse::<HostPort>().expect_err(text);
            assert_eq!(error, ParseHostPortError::Form(text.to_owned()));
        }
        let error = "h:55536".parse::<HostPort>().unwrap_err().to_string();
        assert!(error.contains("would be 65536") && error.contains("GRPC_PORT"), "{error}");
        let long = format!("{}:1", "x".repeat(HOST_BYTES_MAX + 1));
        assert!(long.parse::<HostPort>().is_err());
    }
}
