//! Settings of the site that the daemon's `/status` does not give, or not reliably.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::error::NginxError;
use super::network::Network;
use crate::base::size::ByteSize;
use crate::node::config::Listen;

/// Port of the server for writes, unless another is named.
const WRITES_PORT: u16 = 8082;

/// Settings of the site, which the daemon's `/status` does not give, or not reliably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Address at which nginx reaches the data API of all shards. The shard ports are on the same address;
    /// on 127.0.0.1 if it is a unix socket.
    pub daemon: Listen,
    /// Where nginx listens for public reads: a port, `IP:PORT`, or `unix:/path`.
    pub listen: String,
    /// Where nginx listens for writes, in the same form; `None`: port 8082, on loopback if `allow_writes` is
    /// empty, else on all addresses.
    pub listen_writes: Option<String>,
    /// Networks that may write. Empty: all clients that reach `listen_writes`, which must be loopback or a
    /// unix socket then.
    pub allow_writes: Vec<Network>,
    /// Host names of the site; empty: all requests to `listen`.
    pub server_names: Vec<String>,
    /// Largest body that nginx passes on, 1 B or more.
    pub largest_body: ByteSize,
}

impl Site {
    /// Checks that the settings fit together and can be used in an nginx configuration.
    ///
    /// # Errors
    /// [`NginxError`].
    pub fn validate(&self) -> Result<(), NginxError> {
        self.check_listen()?;
        if let Some(address) = self.daemon.tcp().filter(|address| address.ip().is_unspecified()) {
            return Err(NginxError::Unspecified(address));
        }
        let mut words = vec![self.daemon.to_string(), self.listen.clone()];
        words.extend(self.listen_writes.clone());
        for word in words.iter().chain(&self.server_names) {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:/-_*[]".contains(&byte);
            if word.is_empty() || !word.bytes().all(is_plain) {
                return Err(NginxError::NotPlain(word.clone()));
            }
        }
        if self.largest_body.bytes() == 0 { Err(NginxError::NoBody) } else { Ok(()) }
    }

    fn check_listen(&self) -> Result<(), NginxError> {
        let writes = self.writes_listen();
        for listen in writes.iter().chain([&self.listen]) {
            if port_of(listen).is_none_or(|port| port == 0) && !listen.starts_with("unix:/") {
                return Err(NginxError::NotListen(listen.clone()));
            }
        }
        let is_public = |writes: &&String| match port_of(writes) {
            None => **writes == self.listen,
            port => port == port_of(&self.listen),
        };
        if let Some(writes) = writes.iter().find(is_public) {
            return Err(NginxError::Shared(writes.clone(), "the public and writes"));
        }
        let daemon = self.daemon.to_string();
        if writes.iter().chain([&self.listen]).any(|listen| *listen == daemon) {
            return Err(NginxError::Shared(daemon, "nginx and the daemon"));
        }
        let mut writes = writes.into_iter();
        let problem = if self.allow_writes.is_empty() {
            writes.find(|listen| !is_local(listen)).map(NginxError::OpenWrites)
        } else {
            writes.find(|listen| listen.starts_with("unix:")).map(NginxError::NoNetwork)
        };
        problem.map_or(Ok(()), Err)
    }

    /// Returns where the server for writes listens. For nginx a bare port means IPv4 only.
    pub(super) fn writes_listen(&self) -> Vec<String> {
        if let Some(listen) = &self.listen_writes {
            return vec![listen.clone()];
        }
        let is_ipv4 = |network: &Network| network.is_ipv4();
        let mut all = Vec::new();
        if self.allow_writes.is_empty() {
            all.push(format!("127.0.0.1:{WRITES_PORT}"));
        }
        if self.allow_writes.iter().any(is_ipv4) {
            all.push(WRITES_PORT.to_string());
        }
        if !self.allow_writes.iter().all(is_ipv4) {
            all.push(format!("[::]:{WRITES_PORT}"));
        }
        all
    }

    /// Returns the address of the port of a shard.
    pub(super) fn shard_address(&self, port: u16) -> SocketAddr {
        let host =
            self.daemon.tcp().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip());
        SocketAddr::new(host, port)
    }
}

/// Returns the port of a listen address of nginx.
fn port_of(listen: &str) -> Option<u16> {
    let address = || listen.parse::<Listen>().ok()?.tcp().map(|address| address.port());
    listen.parse().ok().or_else(address)
}

/// Returns whether a listen address of nginx is reached only from this machine. A bare port is on all
/// addresses.
fn is_local(listen: &str) -> bool {
    listen.parse::<Listen>().is_ok_and(|listen| {
        listen.tcp().is_none_or(|address| address.ip().to_canonical().is_loopback())
    })
}
