//! Binding: an exclusive probe first, then one shared listener per shard and address.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::StartError;
use crate::limits::LISTEN_BACKLOG;
use crate::shard::Listener;

fn socket(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted connections inherit it: replies leave in one piece and must not wait for more.
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

fn bind(address: SocketAddr, shared: bool) -> std::io::Result<TcpListener> {
    let socket = socket(address)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// Binds each address once for each shard. An exclusive bind must succeed first: a second daemon on
/// the same port would otherwise silently get half of the connections.
pub fn bind_shared(
    addresses: &[SocketAddr],
    shards: usize,
) -> Result<Vec<Vec<Listener>>, StartError> {
    let mut all: Vec<Vec<Listener>> = (0..shards).map(|_| Vec::new()).collect();
    for &address in addresses {
        let failed = |error| StartError::Listen { address, error };
        let probe = bind(address, false).map_err(failed)?;
        // Port 0 means any: all shards must then share the one that was given.
        let address = probe.local_addr().map_err(failed)?;
        drop(probe);
        for listeners in &mut all {
            let socket = bind(address, true).map_err(failed)?;
            listeners.push(Listener { socket: socket.into(), own: false });
        }
    }
    Ok(all)
}

/// Binds the port that belongs to one shard alone.
pub fn bind_own(address: SocketAddr) -> Result<Listener, StartError> {
    let socket = bind(address, false).map_err(|error| StartError::Listen { address, error })?;
    Ok(Listener { socket: socket.into(), own: true })
}

/// Binds the admin listener.
pub fn bind_admin(address: SocketAddr) -> Result<TcpListener, StartError> {
    bind(address, false).map_err(|error| StartError::Listen { address, error })
}
