//! Address of a server.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use thiserror::Error;

/// Address of a server that is reached over TCP, without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    host: String,
    port: u16,
}

/// Error of parsing a server address.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AddressError {
    /// An `https` URL.
    #[error("this client speaks no TLS; name the daemon itself, as http://HOST:PORT")]
    Tls,
    /// A unix socket.
    #[error(
        "this client supports no unix sockets; let the daemon listen on TCP too \
         (--listen 127.0.0.1:8080) and name that address"
    )]
    Unix,
    /// Any other text that is no address.
    #[error("{0:?} is not a server address; write HOST:PORT or http://HOST:PORT")]
    Malformed(String),
}

impl ServerAddress {
    /// Returns the IP address, if the host was given as one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }

    /// Returns `HOST:PORT`, as in the header field `Host`.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Resolves the socket addresses.
    pub(super) fn resolve(&self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        self.authority().to_socket_addrs()
    }

    /// Splits a URL into the server and the rest: a path, or an empty string.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn split(url: &str) -> Result<(Self, &str), AddressError> {
        if url.starts_with("https://") {
            return Err(AddressError::Tls);
        }
        if url.starts_with("unix:") {
            return Err(AddressError::Unix);
        }
        let is_url = url.starts_with("http://");
        let rest = url.strip_prefix("http://").unwrap_or(url);
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let malformed = || AddressError::Malformed(url.to_owned());
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().ok().filter(|port| *port != 0).ok_or_else(malformed)?)
            }
            // RFC 9110 section 4.2.1.
            _ if is_url => (authority, 80),
            _ => return Err(malformed()),
        };
        if !is_host(host) {
            return Err(malformed());
        }
        Ok((Self { host: host.to_owned(), port }, path))
    }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !host.is_empty() && host.bytes().all(is_name)
        }
    }
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match Self::split(text)? {
            (address, "" | "/") => Ok(address),
            _ => Err(AddressError::Malformed(text.to_owned())),
        }
    }
}

impl From<std::net::SocketAddr> for ServerAddress {
    fn from(address: std::net::SocketAddr) -> Self {
        let host = match address.ip() {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Self { host, port: address.port() }
    }
}

impl fmt::Display for ServerAddress {
    /// Formats the beginning of a URL, without a trailing slash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_addresses_are_parsed_and_normalised() {
        for (text, want) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://photos.example:81/", "http://photos.example:81"),
            ("http://photos.example", "http://photos.example:80"),
            ("localhost:1", "http://localhost:1"),
            ("[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), want);
        }
        let ip: std::net::SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(ServerAddress::from(ip).to_string(), "http://[::1]:80");
    }

    #[test]
    fn invalid_server_addresses_are_rejected_with_advice() {
        for (text, advice) in [
            ("https://a:1", "no TLS"),
            ("unix:/run/hayloft.sock", "no unix sockets"),
            ("localhost", "HOST:PORT"),
            ("localhost:", "HOST:PORT"),
            ("localhost:0", "HOST:PORT"),
            ("localhost:65536", "HOST:PORT"),
            (":80", "HOST:PORT"),
            ("a b:80", "HOST:PORT"),
            ("user@a:80", "HOST:PORT"),
            ("[x]:80", "HOST:PORT"),
            ("::1:80", "HOST:PORT"),
            ("http://a:80/1", "HOST:PORT"),
            ("ftp://a:80", "HOST:PORT"),
            ("", "HOST:PORT"),
        ] {
            let error = text.parse::<ServerAddress>().unwrap_err().to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }

    #[test]
    fn url_is_split_into_server_and_path() {
        let (server, path) = ServerAddress::split("http://a:8080/1/2/0/00").unwrap();
        assert_eq!((server.to_string().as_str(), path), ("http://a:8080", "/1/2/0/00"));
    }
}
