//! Binding: an exclusive probe first, then one shared listener per shard and address.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::StartError;
use crate::config::Listen;
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
fn bind_shared(address: SocketAddr, shards: usize) -> Result<Vec<OwnedFd>, StartError> {
    let failed = |error| StartError::listen(&Listen::Tcp(address), error);
    let probe = bind(address, false).map_err(failed)?;
    // Port 0 means any: all shards must then share the one that was given.
    let address = probe.local_addr().map_err(failed)?;
    drop(probe);
    (0..shards).map(|_| bind(address, true).map(OwnedFd::from).map_err(failed)).collect()
}

/// The file of a unix socket; it goes when this is dropped, if it still is ours.
pub struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Binds a unix socket, which all shards accept from. Owner and group may connect.
fn bind_unix(path: &Path, shards: usize) -> Result<(Vec<OwnedFd>, SocketFile), StartError> {
    let failed = |error| StartError::listen(&Listen::Unix(path.to_owned()), error);
    remove_stale(path).map_err(failed)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    socket.bind(&SockAddr::unix(path).map_err(failed)?).map_err(failed)?;
    let file = SocketFile { path: path.to_owned(), inode: inode(path).map_err(failed)? };
    // Before it listens, so that nobody else gets in meanwhile.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
    socket.listen(LISTEN_BACKLOG).map_err(failed)?;
    let sockets: io::Result<Vec<OwnedFd>> =
        (0..shards).map(|_| socket.try_clone().map(OwnedFd::from)).collect();
    Ok((sockets.map_err(failed)?, file))
}

/// Removes the socket that a daemon left behind which was killed.
fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let in_use = |what| Err(io::Error::new(io::ErrorKind::AddrInUse, what));
    if !metadata.file_type().is_socket() {
        return in_use("there is something else that is no socket");
    }
    match UnixStream::connect(path) {
        Ok(_) => in_use("somebody listens there already"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// Binds all addresses of the data API for so many shards.
pub fn bind_all(
    addresses: &[Listen],
    shards: usize,
) -> Result<(Vec<Vec<Listener>>, Vec<SocketFile>), StartError> {
    let mut all: Vec<Vec<Listener>> = (0..shards).map(|_| Vec::new()).collect();
    let mut files = Vec::new();
    for address in addresses {
        let sockets = match address {
            Listen::Tcp(address) => bind_shared(*address, shards)?,
            Listen::Unix(path) => {
                let (sockets, file) = bind_unix(path, shards)?;
                files.push(file);
                sockets
            }
        };
        for (socket, listeners) in sockets.into_iter().zip(&mut all) {
            listeners.push(Listener { socket, own: false });
        }
    }
    Ok((all, files))
}

/// Binds the port that belongs to one shard alone.
pub fn bind_own(address: SocketAddr) -> Result<Listener, StartError> {
    let socket =
        bind(address, false).map_err(|error| StartError::listen(&Listen::Tcp(address), error))?;
    Ok(Listener { socket: socket.into(), own: true })
}

/// Binds the admin listener.
pub fn bind_admin(address: SocketAddr) -> Result<TcpListener, StartError> {
    bind(address, false).map_err(|error| StartError::listen(&Listen::Tcp(address), error))
}
