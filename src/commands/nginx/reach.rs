//! Whether the addresses of the daemon answer.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::node::Node;
use super::site::Site;
use crate::node::config::Listen;

/// Timeout of connecting to a port (see [`unreachable`]).
const CONNECT: Duration = Duration::from_secs(2);

/// Connects to the addresses of the daemon in the configuration, from this host. Returns a sentence for each
/// that does not answer.
#[must_use]
pub fn unreachable(node: &Node, site: &Site) -> Vec<String> {
    let own = node.own_ports().map(|(_, port)| Listen::Tcp(site.shard_address(port)));
    let all = std::iter::once(site.daemon.clone()).chain(own);
    let connect = |address: &Listen| match address {
        Listen::Tcp(address) => TcpStream::connect_timeout(address, CONNECT).map(drop),
        Listen::Unix(path) => UnixStream::connect(path).map(drop),
    };
    let problem = |address: Listen| {
        connect(&address).err().map(|error| format!("nothing answers at {address}: {error}"))
    };
    all.filter_map(problem).collect()
}
