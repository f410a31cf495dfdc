//! Listening sockets passed by the service manager, so that connections wait in the queue while no daemon
//! runs: sd_listen_fds(3).

use std::net::TcpListener;
use std::os::fd::OwnedFd;

use socket2::{Domain, Socket, Type};
use thiserror::Error;

use crate::base::sys;
use crate::node::config::Listen;

/// Names of a socket without `FileDescriptorName=` in sd_listen_fds(3).
const UNNAMED: [&str; 2] = ["", "unknown"];
/// Suffix of the name of such a socket if systemd uses the name of its socket unit (systemd.socket(5)).
const UNIT: &str = ".socket";

/// Why the passed sockets cannot be used.
#[derive(Debug, Error)]
pub enum PassedError {
    /// The environment variables do not match the descriptors.
    #[error(
        "the sockets that LISTEN_FDS announces cannot be taken: {0}; start the daemon from a socket unit \
         (systemd/hayloft.socket), or unset LISTEN_FDS and LISTEN_PID"
    )]
    Environment(std::io::Error),
    /// The name of a socket is unknown.
    #[error(
        "the service manager passes a socket with the unknown name {0:?}; write \
         FileDescriptorName=data or FileDescriptorName=admin in its unit"
    )]
    Name(String),
    /// A descriptor is not a socket that accepts connections.
    #[error(
        "the socket {name:?} that the service manager passes {problem}; use ListenStream= and Accept=no \
         in its unit"
    )]
    Kind {
        /// Name of the socket.
        name: String,
        /// What is wrong with it, as a verb phrase.
        problem: &'static str,
    },
    /// Two sockets are named for the admin API.
    #[error("the service manager passes two sockets named admin; there is one admin API: keep one")]
    TwoAdmins,
}

/// Sockets passed by the service manager. All of them listen.
#[derive(Debug, Default)]
pub struct Passed {
    /// For the data API.
    pub data: Vec<Socket>,
    /// For the admin API.
    pub admin: Option<TcpListener>,
}

impl Passed {
    /// Returns the sockets that the environment announces (`LISTEN_FDS`), if `LISTEN_PID` is this process.
    ///
    /// # Errors
    /// [`PassedError`].
    pub fn from_environment() -> Result<Self, PassedError> {
        let announced = sd_notify::listen_fds_with_names().map_err(PassedError::Environment)?;
        let mut sockets = Vec::new();
        for (descriptor, name) in announced {
            let socket = sys::duplicate(descriptor).map_err(PassedError::Environment)?;
            sockets.push((name, socket));
        }
        Self::sort(sockets)
    }

    fn sort(sockets: Vec<(String, OwnedFd)>) -> Result<Self, PassedError> {
        let mut passed = Self::default();
        for (name, socket) in sockets {
            let is_data = name == "data" || UNNAMED.contains(&&name[..]) || name.ends_with(UNIT);
            if !is_data && name != "admin" {
                return Err(PassedError::Name(name));
            }
            let socket = Socket::from(socket);
            if let Err(problem) = prepare(&socket, is_data) {
                return Err(PassedError::Kind { name, problem });
            }
            if is_data {
                passed.data.push(socket);
            } else if passed.admin.replace(socket.into()).is_some() {
                return Err(PassedError::TwoAdmins);
            }
        }
        Ok(passed)
    }
}

/// Checks a socket, and sets its options as for sockets bound by the daemon.
///
/// # Errors
/// What is wrong with the socket, as a verb phrase.
fn prepare(socket: &Socket, may_be_unix: bool) -> Result<(), &'static str> {
    let kind = socket.r#type().map_err(|_| "is no socket")?;
    if kind != Type::STREAM {
        return Err("takes datagrams, not connections");
    }
    if !socket.is_listener().unwrap_or(false) {
        return Err("does not listen");
    }
    let domain = socket.domain().map_err(|_| "is no socket")?;
    let is_tcp = domain == Domain::IPV4 || domain == Domain::IPV6;
    let is_possible = is_tcp || (domain == Domain::UNIX && may_be_unix);
    if !is_possible {
        return Err(if may_be_unix { "is neither TCP nor unix" } else { "is not TCP" });
    }
    if is_tcp {
        // As for sockets bound by the daemon.
        socket.set_tcp_nodelay(true).map_err(|_| "does not take TCP_NODELAY")?;
    }
    // With O_NONBLOCK an accept on the ring returns EAGAIN instead of waiting for a connection.
    socket.set_nonblocking(false).map_err(|_| "cannot be made blocking")
}

/// Returns the address of a listening socket; `None` for an abstract unix socket.
pub fn address(socket: &Socket) -> Option<Listen> {
    let address = socket.local_addr().ok()?;
    let unix = || address.as_pathname().map(|path| Listen::Unix(path.to_owned()));
    address.as_socket().map(Listen::Tcp).or_else(unix)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn tcp() -> OwnedFd {
        TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    fn sorted(sockets: Vec<(&str, OwnedFd)>) -> Result<Passed, String> {
        let sockets = sockets.into_iter().map(|(name, socket)| (name.to_owned(), socket));
        Passed::sort(sockets.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn sockets_are_assigned_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let unix = UnixListener::bind(&path).unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        other.set_nonblocking(true).unwrap();
        let sockets = vec![
            ("data", tcp()),
            ("unknown", unix.into()),
            ("admin", tcp()),
            ("hayloft.socket", other.into()),
        ];
        let passed = sorted(sockets).unwrap();
        assert_eq!((passed.data.len(), passed.admin.is_some()), (3, true));
        assert_eq!(address(&passed.data[1]), Some(Listen::Unix(path)));
        assert!(address(&passed.data[0]).is_some_and(|address| address.tcp().is_some()));
        assert!(!passed.data[2].nonblocking().unwrap() && passed.data[0].tcp_nodelay().unwrap());
        assert!(sorted(Vec::new()).unwrap().data.is_empty());
    }

    #[test]
    fn unusable_sockets_are_refused_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        let unbound = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap().into();
        let datagram = || UdpSocket::bind("127.0.0.1:0").unwrap().into();
        let file = || std::fs::File::create(dir.path().join("file")).unwrap().into();
        let unix = || UnixListener::bind(dir.path().join("s")).unwrap().into();
        for (sockets, advice) in [
            (vec![("adnim", tcp())], "FileDescriptorName=admin"),
            (
                vec![("data", tcp()), ("data", unbound())],
                "\"data\" that the service manager passes does not",
            ),
            (vec![("data", datagram())], "takes datagrams"),
            (vec![("data", file())], "is no socket"),
            (vec![("admin", unix())], "is not TCP"),
            (vec![("admin", tcp()), ("admin", tcp())], "keep one"),
        ] {
            let error = sorted(sockets).unwrap_err();
            assert!(error.contains(advice), "{error}");
        }
    }
}
