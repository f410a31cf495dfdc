//! Binds the listening sockets: an exclusive probe first, then one SO_REUSEPORT listener per shard and
//! address. A socket passed by the service manager is bound already, and all shards share it.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::activation::{self, Passed};
use super::error::{Purpose, StartError};
use super::stores::Seen;
use crate::base::limits::LISTEN_BACKLOG;
use crate::base::new_name;
use crate::base::types::ShardId;
use crate::node::config::{ClusterAddresses, Config, ConfigError, Listen, ShardPorts};
use crate::node::shard::Listener;

fn socket(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted connections inherit TCP_NODELAY: a reply is sent in one piece and must not wait for more data.
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

/// Binds an address once for each shard. An exclusive bind must succeed first: a second daemon on the same
/// port would otherwise silently receive half of the connections.
fn bind_shared(address: SocketAddr, shards: usize) -> Result<Vec<OwnedFd>, StartError> {
    let failed = |error| StartError::listen(&Listen::Tcp(address), Purpose::Data, error);
    let probe = bind(address, false).map_err(failed)?;
    // Port 0 means any port: all shards must share the one that the kernel chose.
    let address = probe.local_addr().map_err(failed)?;
    drop(probe);
    (0..shards).map(|_| bind(address, true).map(OwnedFd::from).map_err(failed)).collect()
}

/// Checks whether [`bind_all`] would succeed for the configured addresses. Returns warnings about checks that
/// need the rights of another user. Nothing is created, removed or listened on; an address in use is not an
/// error, since it may belong to the daemon that is to be restarted.
///
/// # Errors
/// The error with which binding would fail: [`StartError::Listen`] for the first address that this machine
/// does not have, or whose socket cannot be created; a configuration error if two paths are the same socket.
pub fn look(config: &Config, stores: &Seen) -> Result<Vec<String>, StartError> {
    check_distinct(&config.listen)?;
    let mut warnings = Vec::new();
    for listen in &config.listen {
        match listen {
            Listen::Tcp(address) => look_at_address(*address, Purpose::Data)?,
            Listen::Unix(path) if stores.will_be_made(path) => {}
            Listen::Unix(path) => warnings.extend(look_at_path(path)?),
        }
    }
    look_at_address(config.admin, Purpose::Admin)?;
    if let Some(addresses) = config.cluster.addresses(&config.listen)? {
        look_at_address(addresses.grpc, Purpose::Cluster)?;
    }
    Ok(warnings)
}

fn look_at_address(address: SocketAddr, purpose: Purpose) -> Result<(), StartError> {
    let mut any_port = address;
    any_port.set_port(0);
    match socket(any_port).and_then(|socket| socket.bind(&any_port.into())) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            Err(StartError::listen(&Listen::Tcp(address), purpose, error))
        }
        _ => Ok(()),
    }
}

fn look_at_path(path: &Path) -> Result<Option<String>, StartError> {
    let parent = new_name::parent_of(path).unwrap_or(path);
    let looked = match in_place_of(path) {
        Ok(InPlace::Listener) => return Ok(None),
        Ok(InPlace::Nothing) if !parent.exists() => {
            return Ok(Some(format!(
                "{} does not exist: the daemon does not start unless it is made before, as RuntimeDirectory= \
                 of a unit does it for a directory in /run",
                parent.display()
            )));
        }
        Ok(InPlace::Nothing | InPlace::Stale) => new_name::check(parent),
        Err(error) => Err(error),
    };
    let Err(error) = looked else { return Ok(None) };
    let is_of_this_user = new_name::is_of_this_user(&error);
    let refused = cannot_listen(path, error);
    match is_of_this_user {
        true => Ok(Some(format!("not checked, as this user: {refused}"))),
        false => Err(refused),
    }
}

/// Checks that no two paths are the same socket, by another spelling, a symbolic link or a bind mount:
/// binding the second would fail on the first.
fn check_distinct(listen: &[Listen]) -> Result<(), ConfigError> {
    let mut seen = Vec::new();
    for address in listen {
        let Listen::Unix(path) = address else { continue };
        let parent = new_name::parent_of(path).and_then(|parent| inode_of(parent, true).ok());
        let Some(identity) = parent.map(|parent| (parent, path.file_name())) else { continue };
        if let Some((_, first)) = seen.iter().find(|(earlier, _)| *earlier == identity) {
            let problem = format!("{first} and {address} are the same socket");
            return Err(ConfigError::setting("listen", problem, "keep one of them"));
        }
        seen.push((identity, address));
    }
    Ok(())
}

/// Binds an address for one listener, without SO_REUSEPORT.
fn bind_alone(address: SocketAddr, purpose: Purpose) -> Result<TcpListener, StartError> {
    bind(address, false).map_err(|error| StartError::listen(&Listen::Tcp(address), purpose, error))
}

/// The file of a unix socket; dropping this removes it, if the path is still the same file.
pub struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

/// Returns device and inode of a path; with `follow`, those of the target of a symbolic link.
fn inode_of(path: &Path, follow: bool) -> io::Result<(u64, u64)> {
    let found = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
    found.map(|found| (found.dev(), found.ino()))
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    inode_of(path, false)
}

fn cannot_listen(path: &Path, error: io::Error) -> StartError {
    StartError::listen(&Listen::Unix(path.to_owned()), Purpose::Data, error)
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

/// Binds a unix socket that all shards accept from, with mode 0660: owner and group may connect.
fn bind_unix(path: &Path, shards: usize) -> Result<(Vec<OwnedFd>, SocketFile), StartError> {
    let failed = |error| cannot_listen(path, error);
    remove_stale(path).map_err(failed)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    socket.bind(&SockAddr::unix(path).map_err(failed)?).map_err(failed)?;
    let file = SocketFile { path: path.to_owned(), inode: inode(path).map_err(failed)? };
    // Before the socket listens, so that no other user can connect meanwhile.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
    socket.listen(LISTEN_BACKLOG).map_err(failed)?;
    Ok((share(&socket, shards).map_err(failed)?, file))
}

/// Duplicates a listening socket, once for each shard.
fn share(socket: &Socket, shards: usize) -> io::Result<Vec<OwnedFd>> {
    (0..shards).map(|_| socket.try_clone().map(OwnedFd::from)).collect()
}

/// State of the path at which a unix socket is to be bound.
enum InPlace {
    /// The path does not exist.
    Nothing,
    /// A socket left behind by a daemon that was killed.
    Stale,
    /// A socket on which a process listens.
    Listener,
}

/// Returns the state of the path of a unix socket. Changes nothing.
///
/// # Errors
/// `AddrInUse` if the path is no socket; else the kernel's.
fn in_place_of(path: &Path) -> io::Result<InPlace> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(InPlace::Nothing),
        other => other?,
    };
    if !metadata.file_type().is_socket() {
        return Err(in_use("there is something else that is no socket"));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A listener with a full backlog must not block the check.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?).map_err(|error| (error.kind(), error)) {
        Ok(()) | Err((io::ErrorKind::WouldBlock, _)) => Ok(InPlace::Listener),
        Err((io::ErrorKind::ConnectionRefused, _)) => Ok(InPlace::Stale),
        Err((_, error)) => Err(error),
    }
}

fn in_use(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, what)
}

/// Removes a socket left behind by a daemon that was killed.
///
/// # Errors
/// `AddrInUse` if a process listens on it, or the path is no socket.
fn remove_stale(path: &Path) -> io::Result<()> {
    match in_place_of(path)? {
        InPlace::Nothing => Ok(()),
        InPlace::Stale => fs::remove_file(path),
        InPlace::Listener => Err(in_use("somebody listens there already")),
    }
}

/// The bound sockets of the data API.
pub struct Bound {
    /// Listeners of each shard.
    pub shards: Vec<Vec<Listener>>,
    /// Files of unix sockets bound here.
    pub files: Vec<SocketFile>,
    /// Addresses of the data API.
    pub places: Vec<Listen>,
    /// Port of shard 0, if shards have ports of their own.
    pub first_shard_port: Option<u16>,
}

/// Binds the configured addresses, or uses the sockets passed by the service manager: sockets for the data
/// API replace all of `listen`, and the shards then have ports of their own only if `shard_ports` names one.
/// The admin listener is bound last and returned separately.
///
/// # Errors
/// [`StartError`]: an address cannot be bound, or a passed socket cannot be used.
pub fn bind_all(config: &Config, shards: usize) -> Result<(Bound, TcpListener), StartError> {
    let Passed { data, admin } = Passed::from_environment()?;
    let ports = match config.shard_ports {
        // `auto` derives the ports from `listen`, which is not bound.
        ShardPorts::Auto if !data.is_empty() => None,
        _ => config.shard_port_range(shards)?,
    };
    let mut bound = Bound {
        shards: (0..shards).map(|_| Vec::new()).collect(),
        files: Vec::new(),
        places: Vec::new(),
        first_shard_port: ports.as_ref().map(|ports| *ports.start()),
    };
    if data.is_empty() {
        check_distinct(&config.listen)?;
        for address in &config.listen {
            bound.listen_on(address)?;
        }
    } else {
        bound.take(&data)?;
        let listen: Vec<String> = config.listen.iter().map(Listen::to_string).collect();
        tracing::info!(
            "the service manager passes listening sockets for photos ({}): listen = {} is not bound{}",
            data.len(),
            listen.join(", "),
            match config.shard_ports {
                ShardPorts::Auto =>
                    ", and shards have no ports of their own unless shard_ports names one",
                ShardPorts::Off | ShardPorts::Base(_) => "",
            }
        );
    }
    let host = bound.shard_port_host();
    let ports = ShardId::all(shards).zip(ports.into_iter().flatten());
    for ((shard, port), listeners) in ports.zip(&mut bound.shards) {
        let socket = bind_alone(SocketAddr::new(host, port), Purpose::Shard(shard))?;
        listeners.push(Listener::new(socket.into(), true));
    }
    let admin = admin.map_or_else(|| bind_alone(config.admin, Purpose::Admin), Ok)?;
    Ok((bound, admin))
}

/// Binds the address on which the orders of the cluster arrive, if the node belongs to one. `listen`:
/// addresses of the data API.
///
/// # Errors
/// [`StartError`]: the address does not follow from those of the data API, or cannot be bound.
pub fn bind_cluster(
    config: &Config,
    listen: &[Listen],
) -> Result<Option<(ClusterAddresses, TcpListener)>, StartError> {
    let Some(addresses) = config.cluster.addresses(listen)? else { return Ok(None) };
    Ok(Some((addresses, bind_alone(addresses.grpc, Purpose::Cluster)?)))
}

impl Bound {
    /// Address of the shard ports: that of the first TCP listener, else loopback.
    pub fn shard_port_host(&self) -> IpAddr {
        let first = self.places.iter().find_map(Listen::tcp);
        first.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
    }

    fn listen_on(&mut self, address: &Listen) -> Result<(), StartError> {
        match address {
            Listen::Tcp(tcp) => {
                self.add(bind_shared(*tcp, self.shards.len())?);
            }
            Listen::Unix(path) => {
                let (sockets, file) = bind_unix(path, self.shards.len())?;
                self.files.push(file);
                self.add(sockets);
            }
        }
        self.place(address);
        Ok(())
    }

    fn take(&mut self, sockets: &[Socket]) -> Result<(), StartError> {
        for socket in sockets {
            let copies = share(socket, self.shards.len());
            self.add(copies.map_err(|error| StartError::Step("share a socket", error))?);
            if let Some(address) = activation::address(socket) {
                self.place(&address);
            }
        }
        Ok(())
    }

    fn place(&mut self, address: &Listen) {
        self.places.push(address.clone());
    }

    /// Adds one socket to the listeners of each shard.
    fn add(&mut self, sockets: Vec<OwnedFd>) {
        for (socket, listeners) in sockets.into_iter().zip(&mut self.shards) {
            listeners.push(Listener::new(socket, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_unix_socket_has_mode_0660_and_a_listener_for_each_shard() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("photos");
        let (sockets, file) = bind_unix(&path, 3).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
        let clients: Vec<_> = (0..3).map(|_| UnixStream::connect(&path).unwrap()).collect();
        let listeners = sockets.into_iter().map(UnixListener::from);
        assert_eq!(listeners.filter(|socket| socket.accept().is_ok()).count(), clients.len());
        drop(file);
        assert!(!path.exists(), "the file is removed with the daemon");
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_any_other_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("photos");
        let first = UnixListener::bind(&path).unwrap();
        assert!(matches!(in_place_of(&path), Ok(InPlace::Listener)));
        assert!(bind_unix(&path, 1).is_err(), "a process listens there");
        assert!(UnixStream::connect(&path).is_ok(), "it still does");
        drop(first);
        assert!(UnixStream::connect(&path).is_err());
        let (sockets, file) = bind_unix(&path, 1).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        drop((sockets, file));
        fs::write(&path, "a file").unwrap();
        let refused = remove_stale(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert!(bind_unix(&path, 1).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"a file");
    }

    #[test]
    fn the_file_of_another_daemons_socket_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("photos");
        let (_sockets, file) = bind_unix(&path, 1).unwrap();
        fs::rename(&path, dir.path().join("moved")).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn listeners_share_a_port_but_not_with_another_daemon() {
        let sockets = bind_shared(([127, 0, 0, 1], 0).into(), 3).unwrap();
        let local = |socket| TcpListener::from(socket).local_addr().unwrap();
        let copies = sockets.iter().map(|socket| socket.try_clone().unwrap());
        let addresses: Vec<SocketAddr> = copies.map(local).collect();
        assert_eq!(addresses, [addresses[0]; 3]);
        assert_ne!(addresses[0].port(), 0);
        let refused = bind_shared(addresses[0], 1);
        assert!(matches!(refused, Err(StartError::Listen { .. })));
        drop(sockets);
        assert!(bind_shared(addresses[0], 1).is_ok());
    }
}
