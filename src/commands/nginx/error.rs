//! Why no configuration can be generated.

use std::net::SocketAddr;

use thiserror::Error;

/// Why no configuration can be generated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NginxError {
    /// A character that may end a word in nginx's configuration.
    #[error(
        "{0:?} cannot be used in an nginx configuration; use letters, digits and the characters \
         . : / - _ * [ ] only"
    )]
    NotPlain(String),
    /// Not a port, address or unix socket.
    #[error(
        "{0:?} is not an address to listen on; write a port such as 80, IP:PORT, or unix:/path"
    )]
    NotListen(String),
    /// The public server and the one for writes, or nginx and the daemon, on one port.
    #[error("{0} would serve both {1}; give one of them another port (--listen, --listen-writes)")]
    Shared(String, &'static str),
    /// Networks that may write, with a unix socket, which no network reaches.
    #[error(
        "{0} is a unix socket, which no network reaches; leave out --allow-writes, or write a port or \
         IP:PORT for --listen-writes"
    )]
    NoNetwork(String),
    /// A server for writes that other machines reach, without networks that may write.
    #[error(
        "{0} is reached from other machines, so that everybody could write; say who may write: \
         --allow-writes CIDR, or write 127.0.0.1:PORT or unix:/path for --listen-writes"
    )]
    OpenWrites(String),
    /// An unspecified address, which means all addresses.
    #[error(
        "{0} means every address of the daemon's host; name the one at which nginx reaches it, for \
         instance 127.0.0.1:{port}", port = .0.port()
    )]
    Unspecified(SocketAddr),
    /// A body limit of 0, which nginx takes for no limit.
    #[error(
        "nginx takes 0 for no limit; write the daemon's limits.largest_body, for instance 64MiB"
    )]
    NoBody,
}
