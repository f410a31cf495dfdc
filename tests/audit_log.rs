//! The audit log: one line for each delete and for each refused or failed write, and no others.

mod daemon_harness;

use std::time::{Duration, Instant};

use daemon_harness::{COOKIE, Daemon, Options, RawConnection, data_dir, path};

const OTHER: &str = "fedcba9876543210";

/// Waits until the audit log has `count` lines; returns all of them, from the message on.
fn audited(daemon: &Daemon, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = daemon.log_text();
        let lines = text.lines().filter_map(|line| line.split_once(" INFO hayloft::audit: "));
        let lines: Vec<String> = lines.map(|(_, message)| message.to_owned()).collect();
        if lines.len() >= count {
            return lines;
        }
        assert!(Instant::now() < deadline, "waited for {count} lines:\n{text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn options(config: &str) -> Options {
    Options { shards: 2, config: config.to_owned(), ..Options::default() }
}

#[test]
fn deletes_and_failed_writes_are_logged_without_cookies() {
    let dir = data_dir();
    // The audit log does not depend on the log level.
    let daemon = Daemon::start(dir.path(), &options("audit_log = true\nlog = \"off\"\n"));
    let mut client = daemon.connect();
    let peer = client.stream.local_addr().unwrap();
    let mut ask = |method: &str, path: &str, body: Option<&[u8]>| {
        client.request(method, path, &[("Content-Type", "image/jpeg")], body).unwrap().status
    };
    assert_eq!(ask("PUT", &path(6), Some(b"a photo")), 201);
    assert_eq!(ask("PUT", &path(7), Some(b"a photo")), 201);
    assert_eq!(ask("GET", &path(7), None), 200);
    assert_eq!(ask("GET", &path(8), None), 404);
    assert_eq!(ask("POST", "/1", Some(b"a photo")), 201);
    let foreign = format!("/1/7/0/{OTHER}");
    assert_eq!(ask("DELETE", &foreign, None), 404);
    assert_eq!(ask("PUT", &foreign, Some(b"another")), 409);
    assert_eq!(ask("POST", "/9", Some(b"a photo")), 404);
    assert_eq!(ask("POST", "/1/batch", Some(b"no tar")), 400);
    let mut delete_all = |body: &[u8]| {
        let headers = [("Content-Type", "text/plain")];
        client.request("POST", "/1/delete", &headers, Some(body)).unwrap().status
    };
    assert_eq!(delete_all(b"not/a/photo"), 400);
    let names = format!("6/0/{COOKIE}\n7/0/{OTHER}\n6/3/{COOKIE}\n");
    assert_eq!(delete_all(names.as_bytes()), 200);
    // Another connection may be on another shard, whose lines come in any order unless one waits.
    audited(&daemon, 8);
    let other = {
        let mut client = daemon.connect();
        let peer = client.stream.local_addr().unwrap();
        assert_eq!(client.request("DELETE", &path(7), &[], None).unwrap().status, 204);
        peer
    };
    audited(&daemon, 9);
    let mut client = daemon.connect();
    let last = client.stream.local_addr().unwrap();
    assert_eq!(client.request("PUT", &path(5), &[], None).unwrap().status, 411);
    audited(&daemon, 10);
    let mut client = daemon.connect();
    let gone = client.stream.local_addr().unwrap();
    let head = format!("PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf", path(4));
    client.send(head.as_bytes()).unwrap();
    drop(client);
    let expected = [
        format!("DELETE refused peer=\"{peer}\" volume=1 key=7 alt=0 status=404"),
        format!("PUT refused peer=\"{peer}\" volume=1 key=7 alt=0 status=409"),
        format!("POST refused peer=\"{peer}\" volume=9 status=404"),
        format!("POST refused peer=\"{peer}\" volume=1 status=400"),
        format!("DELETE refused peer=\"{peer}\" volume=1 status=400"),
        format!("DELETE carried out peer=\"{peer}\" volume=1 key=6 alt=0 status=204"),
        format!("DELETE refused peer=\"{peer}\" volume=1 key=7 alt=0 status=404"),
        format!("DELETE refused peer=\"{peer}\" volume=1 key=6 alt=3 status=404"),
        format!("DELETE carried out peer=\"{other}\" volume=1 key=7 alt=0 status=204"),
        format!("PUT refused peer=\"{last}\" volume=1 key=5 alt=0 status=411"),
        format!("PUT ended without an answer peer=\"{gone}\" volume=1 key=4 alt=0"),
    ];
    assert_eq!(audited(&daemon, expected.len()), expected);
    let text = daemon.log_text();
    assert!(!text.contains(COOKIE) && !text.contains(OTHER), "{text}");
    assert_eq!(text.lines().count(), expected.len(), "nothing else is logged: {text}");
    assert!(daemon.stop().success());
}

#[test]
fn unix_socket_client_is_logged_by_user_id() {
    let dir = data_dir();
    let socket = dir.path().join("socket");
    let address = format!("unix:{}", socket.display());
    let options =
        Options { args: vec!["--listen".to_owned(), address], ..options("audit_log = true\n") };
    let daemon = Daemon::start(dir.path(), &options);
    let mut client = RawConnection::open_unix(&socket).unwrap();
    assert_eq!(client.request("DELETE", &path(1), &[], None).unwrap().status, 404);
    let user = nix::unistd::geteuid();
    let line = format!("DELETE refused peer=\"unix:uid={user}\" volume=1 key=1 alt=0 status=404");
    assert_eq!(audited(&daemon, 1), [line]);
    assert!(daemon.stop().success());
}

#[test]
fn nothing_is_audited_unless_enabled() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &options("log = \"trace\"\n"));
    assert_eq!(daemon.client().put(&path(1), b"a photo").unwrap().status, 201);
    assert_eq!(daemon.client().request("DELETE", &path(1), &[], None).unwrap().status, 204);
    let log = daemon.log.clone();
    assert!(daemon.stop().success());
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.contains("stopped") && !text.contains("DELETE"), "{text}");
}
