//! End-to-end tests of the daemon over real connections.

mod daemon_harness;

use std::time::{Duration, Instant};

use daemon_harness::{COOKIE, Daemon, Options, RawConnection, bytes, data_dir, free_ports, path};

fn both(test: impl Fn(&Daemon)) {
    for shards in [1, 2] {
        let dir = data_dir();
        let daemon = Daemon::start(dir.path(), &Options { shards, ..Options::default() });
        test(&daemon);
        let log = daemon.log_text();
        assert!(daemon.stop().success(), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[test]
fn photo_is_stored_replaced_and_deleted() {
    both(|daemon| {
        let mut client = daemon.client();
        let photo = bytes(1, 70_001);
        let stored = client.put(&path(1), &photo).unwrap();
        assert_eq!(stored.status, 201);
        let got = client.get(&path(1)).unwrap();
        assert_eq!((got.status, got.body == photo), (200, true));
        assert_eq!(got.header("content-type"), Some("image/jpeg"));
        assert_eq!(got.header("etag"), stored.header("etag"));
        assert_eq!(got.header("x-hayloft-volume"), Some("writable"));
        let head = client.request("HEAD", &path(1), &[], None).unwrap();
        assert_eq!((head.status, head.header("content-length")), (200, Some("70001")));
        assert_eq!(head.header("etag"), stored.header("etag"));
        assert_eq!(client.put(&path(1), b"new").unwrap().status, 204);
        assert_eq!(client.get(&path(1)).unwrap().body, b"new");
        let foreign = format!("/1/1/0/{}", "f".repeat(16));
        assert_eq!(client.get(&foreign).unwrap().status, 404);
        assert_eq!(client.put(&foreign, b"x").unwrap().status, 409);
        assert_eq!(client.request("DELETE", &foreign, &[], None).unwrap().status, 404);
        assert_eq!(client.request("DELETE", &path(1), &[], None).unwrap().status, 204);
        assert_eq!(client.request("DELETE", &path(1), &[], None).unwrap().status, 404);
        assert_eq!(client.get(&path(1)).unwrap().status, 404);
        assert_eq!(client.get(&format!("/9/1/0/{COOKIE}")).unwrap().status, 404);
    });
}

#[test]
fn photos_of_every_size_read_back() {
    both(|daemon| {
        let mut client = daemon.connect();
        let sizes = [
            0, 1, 447, 448, 449, 511, 512, 513, 4095, 4096, 4097, 7000, 8192, 65_535, 65_536,
            65_537, 131_072, 500_000, 1_048_575, 1_048_576, 1_048_577, 1_114_113, 2_097_153,
            5_000_000,
        ];
        for (n, &size) in sizes.iter().enumerate() {
            assert_eq!(client.put(&path(n as u64), &bytes(n as u64, size)).unwrap().status, 201);
            let got = client.get(&path(n as u64)).unwrap();
            assert!(got.status == 200 && got.body == bytes(n as u64, size), "{size}");
        }
        // Above the largest body: refused before it arrives.
        client.send(put_head(99, (64 << 20) + 1).as_bytes()).unwrap();
        assert_eq!(client.reply(false).unwrap().status, 413);
        assert!(client.at_end());
    });
}

fn put_head(key: u64, len: u64) -> String {
    format!("PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n", path(key))
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    both(|daemon| {
        let mut client = daemon.connect();
        let mut stream = Vec::new();
        for key in 0..20 {
            let body = bytes(key, 300);
            let head =
                format!("PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n", path(key));
            stream.extend_from_slice(head.as_bytes());
            stream.extend_from_slice(&body);
        }
        for key in 0..20 {
            let head = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(key));
            stream.extend_from_slice(head.as_bytes());
        }
        client.send(&stream).unwrap();
        for _ in 0..20 {
            assert_eq!(client.reply(false).unwrap().status, 201);
        }
        for key in 0..20 {
            assert_eq!(client.reply(false).unwrap().body, bytes(key, 300));
        }
    });
}

#[test]
fn request_may_arrive_byte_by_byte() {
    both(|daemon| {
        let mut client = daemon.connect();
        let request =
            format!("PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", path(1));
        for byte in request.as_bytes() {
            client.send(&[*byte]).unwrap();
        }
        assert_eq!(client.reply(false).unwrap().status, 201);
        assert_eq!(client.get(&path(1)).unwrap().body, b"hello");
    });
}

#[test]
fn ranges_and_conditions_are_evaluated() {
    both(|daemon| {
        let mut client = daemon.client();
        let photo = bytes(5, 200_000);
        let etag = client.put(&path(1), &photo).unwrap().header("etag").unwrap().to_owned();
        let part =
            client.request("GET", &path(1), &[("Range", "bytes=65530-65540")], None).unwrap();
        assert_eq!((part.status, &part.body[..]), (206, &photo[65_530..=65_540]));
        assert_eq!(part.header("content-range"), Some("bytes 65530-65540/200000"));
        let beyond = client.request("GET", &path(1), &[("Range", "bytes=200000-")], None).unwrap();
        assert_eq!(beyond.status, 416);
        assert_eq!(beyond.header("content-range"), Some("bytes */200000"));
        let same = client.request("GET", &path(1), &[("If-None-Match", &etag)], None).unwrap();
        assert_eq!((same.status, same.header("etag")), (304, Some(&etag[..])));
        let other = client.request("GET", &path(1), &[("If-Match", "\"x\"")], None).unwrap();
        assert_eq!(other.status, 412);
        let once = client.request("PUT", &path(1), &[("If-None-Match", "*")], Some(b"x")).unwrap();
        assert_eq!(once.status, 412);
        let swap = client.request("PUT", &path(1), &[("If-Match", &etag)], Some(b"x")).unwrap();
        assert_eq!(swap.status, 204);
        let gone = client.request("DELETE", &path(1), &[("If-Match", &etag)], None).unwrap();
        assert_eq!(gone.status, 412);
    });
}

#[test]
fn malformed_requests_get_an_error_and_close_the_connection() {
    both(|daemon| {
        let p = path(1);
        for (want, request) in [
            (400, format!("GET {p} HTTP/1.1\r\n\r\n")),
            (400, format!("GET {p} HTTP/1.1\nHost: a\n\n")),
            (400, "GET /1/2/3/4 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
            (411, format!("PUT {p} HTTP/1.1\r\nHost: a\r\n\r\n")),
            (413, format!("PUT {p} HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")),
            (405, format!("PATCH {p} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")),
            (417, format!("PUT {p} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: x\r\n\r\n")),
            (
                501,
                format!(
                    "PUT {p} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                ),
            ),
            (505, format!("GET {p} HTTP/2.0\r\nHost: a\r\n\r\n")),
            (414, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "1".repeat(9000))),
            (431, format!("GET {p} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(20_000))),
        ] {
            let mut client = daemon.connect();
            client.send(request.as_bytes()).unwrap();
            let reply = client.reply(false).unwrap();
            assert_eq!(reply.status, want, "{}", &request[..40]);
            assert_eq!(reply.header("connection"), Some("close"));
            assert!(reply.text().ends_with('\n') && reply.text().len() > 5, "explains the error");
            assert!(client.at_end(), "stays open after {want}");
        }
        assert_eq!(daemon.client().get(&path(1)).unwrap().status, 404);
    });
}

#[test]
fn slow_clients_are_disconnected_at_their_deadlines() {
    let config = "[limits]\nhead_timeout_seconds = 1\nidle_timeout_seconds = 2\n\
                  body_grace_seconds = 1\nbody_min_bytes_per_second = 1000000\nsend_timeout_seconds = 1\n";
    let dir = data_dir();
    let options = Options { config: config.to_owned(), ..Options::default() };
    let daemon = Daemon::start(dir.path(), &options);
    let large = bytes(1, 1 << 20);
    daemon.client().put(&path(1), &large).unwrap();

    let mut half_head = daemon.connect();
    half_head.send(b"GET /1/1").unwrap();
    let mut half_body = daemon.connect();
    let head = format!("PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345", path(2));
    half_body.send(head.as_bytes()).unwrap();
    let mut idle = daemon.connect();
    let began = Instant::now();
    assert_eq!(half_head.reply(false).unwrap().status, 408);
    assert!(half_head.at_end());
    assert_eq!(half_body.reply(false).unwrap().status, 408);
    assert!(began.elapsed() >= Duration::from_millis(900), "ended before the deadline");
    assert!(idle.at_end());
    assert!(began.elapsed() >= Duration::from_millis(1900), "ended before the deadline");
    for kind in ["head", "body", "idle"] {
        assert_eq!(daemon.metric("hayloft_timeouts_total", kind), 1.0, "{kind}");
    }

    // A client that requests many megabytes and never reads.
    let stalled = daemon.connect();
    let request = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(1)).repeat(30);
    std::io::Write::write_all(&mut &stalled.stream, request.as_bytes()).unwrap();
    daemon.wait_for_metric("hayloft_timeouts_total", "send", 1.0);
    daemon.wait_until("the stalled reader to be disconnected", || {
        daemon.metric("hayloft_connections", "") == 0.0
    });
    assert!(daemon.stop().success());
}

#[test]
fn stop_finishes_requests_in_progress() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options { shards: 2, ..Options::default() });
    let mut slow = daemon.connect();
    let head = format!("PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345", path(7));
    slow.send(head.as_bytes()).unwrap();
    let mut idle = daemon.connect();
    assert_eq!(idle.get(&path(1)).unwrap().status, 404);
    let mut silent = daemon.connect();
    daemon.wait_for_metric("hayloft_connections", "", 3.0);
    daemon.wait_for_metric("hayloft_requests_total", "put", 1.0);
    let signalled = Instant::now();
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(idle.at_end(), "idle connections are closed");
    // A connection accepted just before is probably about to be used.
    assert!(silent.at_end() && signalled.elapsed() > Duration::from_millis(900));
    slow.send(b"67890").unwrap();
    let reply = slow.reply(false).unwrap();
    assert_eq!((reply.status, reply.header("connection")), (201, Some("close")));
    drop(slow);
    let log = daemon.log.clone();
    assert!(daemon.stop().success());
    assert!(!std::fs::read_to_string(log).unwrap().contains("clean-close hint could"));
    let daemon = Daemon::start(dir.path(), &Options::default());
    assert_eq!(daemon.client().get(&path(7)).unwrap().body, b"1234567890");
}

#[test]
fn stop_waits_no_longer_than_drain_timeout() {
    let dir = data_dir();
    let config = "[limits]\ndrain_timeout_seconds = 1\nbody_grace_seconds = 3600\n".to_owned();
    let mut daemon =
        Daemon::start(dir.path(), &Options { config, shards: 2, ..Options::default() });
    assert_eq!(daemon.client().put(&path(1), b"acknowledged").unwrap().status, 201);
    let mut slow = daemon.connect();
    slow.send((put_head(7, 10) + "12345").as_bytes()).unwrap();
    daemon.wait_for_metric("hayloft_requests_total", "put", 2.0);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = daemon.wait(Duration::from_secs(60));
    let log = daemon.log_text();
    assert_eq!(ended.and_then(|ended| ended.code()), Some(0), "{log}");
    assert!(slow.reply(false).is_err(), "it was not stored");
    let daemon = Daemon::start(dir.path(), &Options::default());
    assert_eq!(daemon.client().get(&path(1)).unwrap().body, b"acknowledged");
    assert_eq!(daemon.client().get(&path(7)).unwrap().status, 404);
}

#[test]
fn ten_thousand_idle_connections_cost_no_buffers() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options { shards: 2, ..Options::default() });
    let (_, hard) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    assert!(hard > 10_500, "this test needs 10,500 open files; raise `ulimit -Hn`");
    daemon.client().put(&path(1), &bytes(1, 8192)).unwrap();
    let before = daemon.metric("hayloft_buffer_used_bytes", "");
    let idle: Vec<RawConnection> = (0..10_000).map(|_| daemon.connect()).collect();
    daemon.wait_for_metric("hayloft_connections", "", 10_000.0);
    let with = daemon.metric("hayloft_buffer_used_bytes", "");
    assert!(with <= before, "{before} bytes of buffers before, {with} with idle connections");
    let mut client = daemon.client();
    for _ in 0..1000 {
        assert_eq!(client.get(&path(1)).unwrap().status, 200);
    }
    println!("10,000 idle connections: {} bytes of buffers more", with - before);
    drop(idle);
}

#[test]
fn uploads_holding_all_buffers_do_not_block_the_log() {
    let dir = data_dir();
    let config = "[limits]\nbuffer_memory_per_shard = \"8MiB\"\nbody_grace_seconds = 3\n";
    let options = Options { config: config.to_owned(), ..Options::default() };
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(daemon.client().put(&path(1), b"before").unwrap().status, 201);
    // Each client announces a body and sends just enough to be given a buffer: bodies hold all of the pool
    // that they may use while the idle log has to write its tail hint.
    let hints = daemon.metric("hayloft_hint_writes_total", "");
    let mut refused = 0;
    let mut held = Vec::new();
    for (n, len) in (0..400u64).map(|n| (n, 16_000)).chain((400..1200).map(|n| (n, 3000))) {
        let mut client = daemon.connect();
        let head =
            format!("PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n", path(n + 10));
        client.send(&[head.as_bytes(), &[0; 1500]].concat()).unwrap();
        held.push(client);
    }
    daemon.wait_for_metric("hayloft_hint_writes_total", "", hints + 1.0);
    for client in &mut held {
        let _ = client.stream.set_read_timeout(Some(Duration::from_secs(6)));
        refused += usize::from(client.reply(false).is_ok_and(|reply| reply.status == 503));
    }
    assert!(refused > 100, "the pool was not exhausted: {refused} refusals");
    drop(held);
    assert!(!daemon.log_text().contains("failed"), "{}", daemon.log_text());
    assert_eq!(daemon.client().put(&path(2), b"after").unwrap().status, 201);
    assert!(daemon.stop().success());
}

#[test]
fn error_reply_to_head_has_no_body() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let mut client = daemon.connect();
    client.send(format!("HEAD {} HTTP/1.1\r\n\r\n", path(1)).as_bytes()).unwrap();
    assert_eq!(client.reply(true).unwrap().status, 400);
    assert!(client.at_end(), "nothing but the head");
    let mut client = daemon.connect();
    client.send(format!("PATCH {} HTTP/1.1\r\nHost: a\r\n\r\n", path(1)).as_bytes()).unwrap();
    assert_eq!(client.reply(false).unwrap().header("allow"), Some("GET, HEAD, PUT, POST, DELETE"));
}

#[test]
fn connections_above_the_limit_are_refused_immediately() {
    let dir = data_dir();
    let config = "[limits]\nconnections = 10\n";
    let options = Options { shards: 2, config: config.to_owned(), ..Options::default() };
    let daemon = Daemon::start(dir.path(), &options);
    let mut held: Vec<RawConnection> = (0..10).map(|_| daemon.connect()).collect();
    for client in &mut held {
        assert_eq!(client.get(&path(1)).unwrap().status, 404);
    }
    let mut beyond = daemon.connect();
    let reply = beyond.reply(false).unwrap();
    assert_eq!((reply.status, reply.header("retry-after").is_some()), (503, true));
    assert!(beyond.at_end());
    held.pop();
    daemon.wait_until("the free connection slot to be reused", || {
        daemon.client().get(&path(1)).map_or(503, |reply| reply.status) == 404
    });
}

#[test]
fn shards_have_own_ports_and_share_connections() {
    let dir = data_dir();
    let base = free_ports(2);
    let args = vec!["--shard-ports".to_owned(), base.to_string()];
    let daemon = Daemon::start(dir.path(), &Options { shards: 2, args, ..Options::default() });
    let status: serde_json::Value = serde_json::from_slice(&daemon.admin("/status").body).unwrap();
    for (shard, port) in [(0, base), (1, base + 1)] {
        assert_eq!(status["shards"][shard]["port"], port);
        let mut client = RawConnection::open(([127, 0, 0, 1], port).into()).unwrap();
        assert_eq!(client.put(&path(u64::from(port)), b"x").unwrap().status, 201);
        let mine = daemon.metric("hayloft_connections", &format!("shard=\"{shard}\""));
        assert_eq!(mine, 1.0, "a connection to a shard's own port stays there");
        drop(client);
        daemon.wait_until("the connection to end", || {
            daemon.metric("hayloft_connections", "") == 0.0
        });
    }
    let held: Vec<RawConnection> = (0..40).map(|_| daemon.connect()).collect();
    daemon.wait_for_metric("hayloft_connections", "", 40.0);
    for shard in 0..2 {
        let share = daemon.metric("hayloft_connections", &format!("shard=\"{shard}\""));
        assert!((15.0..=25.0).contains(&share), "shard {shard} has {share} of 40 connections");
    }
    drop(held);
    assert!(daemon.stop().success());
}
