//! The data API on a unix socket.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use crate::daemon_harness::{Daemon, Options, RawConnection, bytes, data_dir, path};

fn options(shards: usize, socket: &Path) -> Options {
    let args = vec!["--listen".to_owned(), format!("unix:{}", socket.display())];
    Options { shards, args, ..Options::default() }
}

/// Asserts that the start is refused; returns the log.
fn refused(dir: &Path, socket: &Path) -> String {
    let mut daemon = Daemon::launch(dir, &options(1, socket));
    let status = daemon.wait(Duration::from_secs(10)).expect("the daemon did not exit");
    assert!(!status.success());
    daemon.log_text()
}

#[test]
fn unix_socket_serves_beside_tcp() {
    for shards in [1, 2] {
        let dir = data_dir();
        let socket = dir.path().join("s");
        let daemon = Daemon::start(dir.path(), &options(shards, &socket));
        let metadata = std::fs::metadata(&socket).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o660);
        let sizes = [0, 5, 70_000, 1 << 20, 3_000_000];
        // Several connections, so that each shard accepts some.
        for (n, size) in sizes.into_iter().cycle().take(20).enumerate() {
            let (name, photo) = (path(n as u64), bytes(n as u64, size));
            let mut client = RawConnection::open_unix(&socket).unwrap();
            assert_eq!(client.put(&name, &photo).unwrap().status, 201);
            for got in [client.get(&name).unwrap(), daemon.client().get(&name).unwrap()] {
                assert!(got.status == 200 && got.body == photo, "{size}");
            }
        }
        let mut client = RawConnection::open_unix(&socket).unwrap();
        client.send(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(client.reply(false).unwrap().status, 400);
        assert!(client.at_end());
        let mut idle = RawConnection::open_unix(&socket).unwrap();
        assert_eq!(idle.get(&path(1)).unwrap().status, 200);
        assert!(daemon.stop().success());
        assert!(idle.at_end());
        assert!(!socket.exists(), "a stop removes the socket");
    }
}

#[test]
fn stale_socket_is_replaced() {
    let dir = data_dir();
    let socket = dir.path().join("s");
    let daemon = Daemon::start(dir.path(), &options(1, &socket));
    assert_eq!(RawConnection::open_unix(&socket).unwrap().put(&path(1), b"x").unwrap().status, 201);
    daemon.kill();
    assert!(socket.exists(), "the killed daemon left its socket");
    let daemon = Daemon::start(dir.path(), &options(2, &socket));
    assert_eq!(RawConnection::open_unix(&socket).unwrap().get(&path(1)).unwrap().body, b"x");
    assert!(daemon.stop().success());
    assert!(!socket.exists());
}

#[test]
fn foreign_socket_or_file_is_left_untouched() {
    let dir = data_dir();
    let socket = dir.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let log = refused(dir.path(), &socket);
    assert!(log.contains("listens there already") && log.contains("unix:"), "{log}");
    drop(listener);
    std::fs::remove_file(&socket).unwrap();
    std::fs::write(&socket, "mine").unwrap();
    let log = refused(dir.path(), &socket);
    assert!(log.contains("no socket"), "{log}");
    assert_eq!(std::fs::read(&socket).unwrap(), b"mine");
    std::fs::remove_file(&socket).unwrap();
    std::os::unix::fs::symlink(dir.path().join("nowhere"), &socket).unwrap();
    refused(dir.path(), &socket);
    assert!(std::fs::symlink_metadata(&socket).unwrap().is_symlink());
}

#[test]
fn second_daemon_does_not_replace_the_socket_of_the_first() {
    let (first, second) = (data_dir(), data_dir());
    let socket = first.path().join("s");
    let daemon = Daemon::start(first.path(), &options(1, &socket));
    assert!(refused(second.path(), &socket).contains("listens there already"));
    assert_eq!(RawConnection::open_unix(&socket).unwrap().put(&path(1), b"x").unwrap().status, 201);
    // A foreign socket that has replaced ours is not removed.
    std::fs::remove_file(&socket).unwrap();
    let _other = UnixListener::bind(&socket).unwrap();
    assert!(daemon.stop().success());
    assert!(socket.exists());
}
