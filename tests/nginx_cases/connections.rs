//! Connections between nginx and the daemon, and slow clients.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{assert_no_upstream_errors, has_body, options, over_tcp_and_unix};
use crate::daemon_harness::{Daemon, Options, RawConnection, bytes, data_dir, path};
use crate::nginx_harness::{Nginx, Setup, Upstream};

fn connections_accepted(daemon: &Daemon) -> f64 {
    daemon.metric("hayloft_connections_accepted_total", "")
}

#[test]
fn upstream_connections_are_reused() {
    over_tcp_and_unix(|daemon, nginx| {
        let photo = bytes(1, 3000);
        nginx.writer().put(&path(1), &photo).unwrap();
        let foreign = format!("/1/1/0/{}", "f".repeat(16));
        let before = connections_accepted(daemon);
        // nginx closes a client connection after 1000 requests.
        for _ in 0..4 {
            let mut client = nginx.writer();
            for n in 0..50 {
                for _ in 0..5 {
                    assert!(has_body(&client.get(&path(1)).unwrap(), &photo));
                }
                let status = |client: &mut RawConnection, method, path: &str, header, body| {
                    client.request(method, path, &[header], body).unwrap().status
                };
                let (none, path) = (("X", "y"), path(1));
                assert_eq!(status(&mut client, "GET", &foreign, none, None), 404);
                let range = ("Range", "bytes=3000-");
                assert_eq!(status(&mut client, "GET", &path, range, None), 416);
                assert_eq!(status(&mut client, "HEAD", &path, none, None), 200);
                let create = ("If-None-Match", "*");
                assert_eq!(status(&mut client, "PUT", &path, create, Some(b"x")), 412);
                let body = if n % 2 == 0 { &photo[..] } else { b"x" };
                assert_eq!(status(&mut client, "PUT", &foreign, none, Some(body)), 409);
            }
        }
        let opened = connections_accepted(daemon) - before;
        assert!(opened <= 1.0, "{opened} connections for 2,000 sequential requests");

        // The connection survives a few idle seconds.
        std::thread::sleep(Duration::from_secs(4));
        assert!(has_body(&nginx.connect().get(&path(1)).unwrap(), &photo));
        assert_eq!(connections_accepted(daemon) - before, opened);

        // The daemon closes the connection after a malformed request, so the next request opens another.
        for n in 1..=5 {
            let got = nginx.connect().get("/not/a/photo").unwrap();
            assert_eq!(got.status, 400);
            assert!(has_body(&nginx.connect().get(&path(1)).unwrap(), &photo));
            assert_eq!(
                connections_accepted(daemon) - before,
                opened + f64::from(n),
                "each of these opens a connection"
            );
        }
    });
}

/// nginx must close idle connections before the daemon does; here after 1 s, the daemon after 2 s.
#[test]
fn idle_upstream_connections_close_without_errors() {
    let dir = data_dir();
    let config = "[limits]\nidle_timeout_seconds = 2\n".to_owned();
    let daemon = Daemon::start(dir.path(), &Options { config, ..options(&dir) });
    let edits = [("keepalive_timeout 60s;", "keepalive_timeout 1s;")];
    daemon.client().put(&path(1), b"photo").unwrap();
    let before = connections_accepted(&daemon);
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let daemon = &daemon;
            scope.spawn(move || {
                let dir = data_dir();
                let nginx =
                    Nginx::start(dir.path(), daemon, &Setup { edits: &edits, ..Setup::default() });
                let mut client = nginx.writer();
                // Pauses (ms) around the timeout of nginx, and around that of the daemon.
                for pause in [970, 990, 1000, 1010, 1990, 2010] {
                    assert_eq!(client.get(&path(1)).unwrap().body, b"photo");
                    assert_eq!(client.put(&path(2 + thread), b"x").unwrap().status / 10, 20);
                    std::thread::sleep(Duration::from_millis(pause + 2 * thread));
                }
                assert_eq!(client.get(&path(1)).unwrap().body, b"photo");
                assert_no_upstream_errors(&nginx);
            });
        }
    });
    // Each of the 6 instances opens one, and at least two more after timeouts.
    let opened = connections_accepted(&daemon) - before;
    assert!(opened >= 18.0, "{opened} connections: none was closed when idle");
}

#[test]
fn daemon_restart_needs_no_action_on_nginx() {
    for upstream in [Upstream::Tcp, Upstream::Unix] {
        let dir = data_dir();
        let options = options(&dir);
        let mut daemon = Daemon::start(dir.path(), &options);
        let nginx = Nginx::start(dir.path(), &daemon, &Setup { upstream, ..Setup::default() });
        let photo = bytes(1, 5000);
        assert_eq!(nginx.writer().put(&path(1), &photo).unwrap().status, 201);
        for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGTERM] {
            // nginx holds several upstream connections.
            let mut clients: Vec<RawConnection> = (0..8).map(|_| nginx.writer()).collect();
            for client in &mut clients {
                client
                    .send(format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(1)).as_bytes())
                    .unwrap();
            }
            for client in &mut clients {
                assert!(has_body(&client.reply(false).unwrap(), &photo));
            }
            let (data, admin) = (daemon.data, daemon.admin);
            daemon.signal(signal);
            assert!(daemon.wait(Duration::from_secs(10)).is_some(), "{upstream:?} {signal}");
            for client in &mut clients {
                assert_eq!(client.get(&path(1)).unwrap().status, 502, "the daemon is down");
            }
            daemon = Daemon::launch_on(dir.path(), &options, data, admin);
            let deadline = Instant::now() + Duration::from_secs(20);
            while !daemon.ready() {
                assert!(Instant::now() < deadline, "{}", daemon.log_text());
                std::thread::sleep(Duration::from_millis(10));
            }
            // Once the daemon is ready, no request may fail.
            for client in &mut clients {
                for _ in 0..20 {
                    assert!(has_body(&client.get(&path(1)).unwrap(), &photo));
                }
                assert!(has_body(&nginx.connect().get(&path(1)).unwrap(), &photo));
                assert_eq!(client.put(&path(2), b"x").unwrap().status / 10, 20);
            }
        }
        for request in nginx.logged() {
            let is_read = request.request.starts_with("GET ");
            assert!(request.upstreams.len() == 1 || is_read, "sent twice: {request:?}");
        }
    }
}

/// Clients that pause longer than the timeouts of the daemon succeed through nginx, because
/// `proxy_request_buffering` and the temporary file of `proxy_buffers` decouple them.
#[test]
fn nginx_buffers_slow_uploads_and_downloads() {
    let dir = data_dir();
    let config = "[limits]\nsend_timeout_seconds = 1\nbody_grace_seconds = 1\n\
                  body_min_bytes_per_second = 1000000\n";
    let daemon = Daemon::start(dir.path(), &Options { config: config.to_owned(), ..options(&dir) });
    let nginx = Nginx::start(dir.path(), &daemon, &Setup::default());
    let photo = bytes(1, 30_000_000);
    let pause = Duration::from_millis(3500);
    let head = format!("PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n", path(1));
    let (first, second) = photo.split_at(100_000);
    let upload = |mut client: RawConnection| {
        client.send(&[head.as_bytes(), first].concat()).unwrap();
        std::thread::sleep(pause);
        let _ = client.send(second);
        client.reply(false).map(|reply| reply.status).ok()
    };
    assert_ne!(upload(daemon.connect()), Some(201), "without nginx the upload times out");
    assert_eq!(upload(nginx.writer()), Some(201));
    let download = |mut client: RawConnection| {
        client.send(format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(1)).as_bytes()).unwrap();
        std::thread::sleep(pause);
        client.reply(false).is_ok_and(|got| has_body(&got, &photo))
    };
    assert!(!download(daemon.connect()), "without nginx the download times out");
    assert!(download(nginx.connect()) && download(nginx.writer()));
    assert_no_upstream_errors(&nginx);
}
