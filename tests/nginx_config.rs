//! The output of `hayloft nginx-config` in the real nginx, in front of the real daemon: requests are routed
//! to the shard that owns the volume, and only reads are retried.

mod daemon_harness;
mod nginx_harness;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use daemon_harness::{COOKIE, Daemon, Options, RawConnection, bytes, data_dir, free_ports};
use nginx_harness::{Nginx, Setup};

fn path(volume: u32, key: u64) -> String {
    format!("/{volume}/{key}/0/{COOKIE}")
}

/// Starts a daemon with two shards and one volume on each; `args` are additional arguments.
fn daemon(dir: &Path, args: &[&str]) -> Daemon {
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    let daemon = Daemon::start(dir, &Options { shards: 2, args, ..Options::default() });
    let admin = daemon.admin.to_string();
    let mut create = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    let output = create.args(["volume", "create", "--admin", &admin]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "volume 2: writable, 64.0 MiB\n");
    daemon
}

fn daemon_with_shard_ports(dir: &Path) -> (Daemon, u16) {
    let ports = free_ports(2);
    (daemon(dir, &["--shard-ports", &ports.to_string()]), ports)
}

/// Runs the command. Returns exit code, stdout and stderr.
fn nginx_config(daemon: &Daemon, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hayloft"))
        .args(["nginx-config", "--admin", &daemon.admin.to_string()])
        .args(args)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn config_of(daemon: &Daemon) -> String {
    let (code, config, errors) = nginx_config(daemon, &[]);
    assert_eq!((code, &errors[..]), (0, ""));
    config
}

/// Number of requests of this method at each shard.
fn requests_by_shard(daemon: &Daemon, method: &str) -> [f64; 2] {
    let text = daemon.admin("/metrics").text();
    [0, 1].map(|shard| {
        let (shard, method) = (format!("shard=\"{shard}\""), format!("method=\"{method}\""));
        let lines = text.lines().filter(|line| line.starts_with("hayloft_requests_total{"));
        let mut lines = lines.filter(|line| line.contains(&shard) && line.contains(&method));
        let line = lines.next().unwrap_or_else(|| panic!("no {shard} {method} in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    })
}

/// Number of messages between the shards.
fn messages_sent(daemon: &Daemon) -> f64 {
    daemon.metric("hayloft_messages_sent_total", "")
}

#[test]
fn requests_are_routed_to_the_shard_that_owns_the_volume() {
    let dir = data_dir();
    let (daemon, _) = daemon_with_shard_ports(dir.path());
    let nginx = Nginx::start_as(dir.path(), &config_of(&daemon), &Setup::default());
    let before = (
        requests_by_shard(&daemon, "get"),
        requests_by_shard(&daemon, "put"),
        messages_sent(&daemon),
    );
    // Clients reconnect in each round, and the requested volumes alternate.
    for round in 0..10 {
        let (mut client, mut reader) = (nginx.writer(), nginx.connect());
        for volume in [1, 2] {
            let photo = bytes(u64::from(volume), 20_000);
            let status = client.put(&path(volume, round), &photo).unwrap().status;
            assert_eq!(status, 201, "{}", nginx.errors());
            for n in 0..10 * volume {
                let client = if n % 2 == 0 { &mut reader } else { &mut client };
                let got = client.get(&path(volume, round)).unwrap();
                assert!(got.status == 200 && got.body == photo, "{}", got.status);
            }
        }
    }
    let now = (
        requests_by_shard(&daemon, "get"),
        requests_by_shard(&daemon, "put"),
        messages_sent(&daemon),
    );
    let grown = |now: [f64; 2], before: [f64; 2]| [now[0] - before[0], now[1] - before[1]];
    // Volumes are assigned to shards round-robin: 1 to shard 0, 2 to shard 1.
    assert_eq!(grown(now.0, before.0), [100.0, 200.0], "reads");
    assert_eq!(grown(now.1, before.1), [10.0, 10.0], "writes");
    assert_eq!(now.2 - before.2, 0.0, "no message between shards was needed");

    // Other targets go to the shared address and are answered as without nginx.
    let mut client = nginx.writer();
    assert_eq!(client.get(&path(9, 1)).unwrap().status, 404);
    assert_eq!(client.get("/").unwrap().status, daemon.client().get("/").unwrap().status);
    assert_eq!(client.get("/1x/1/0/0123456789abcdef").unwrap().status, 400);
    assert_eq!(client.get("/1/%31/0/0123456789abcdef").unwrap().status, 400, "undecoded");
    assert_eq!(client.request("POST", "/", &[], Some(b"x")).unwrap().status, 201);
    for volume in [1, 2] {
        let url = format!("/{volume}");
        let posted = client.request("POST", &url, &[], Some(b"photo")).unwrap();
        assert_eq!(posted.status, 201);
        let url = posted.header("location").unwrap().to_owned();
        assert_eq!(client.get(&url).unwrap().body, b"photo");
        let deleted = client.request("DELETE", &url, &[], None).unwrap();
        assert_eq!(deleted.status, 204);
    }
    let shared = daemon.data.to_string();
    for logged in nginx.logged() {
        let listed = ["/1/", "/2/", "/1 ", "/2 "].iter().any(|begin| {
            logged.request.split_once(' ').is_some_and(|(_, rest)| rest.starts_with(begin))
        });
        assert_eq!(logged.upstreams.len(), 1, "{logged:?}");
        assert_eq!(logged.upstreams[0] != shared, listed, "{logged:?}");
    }
}

/// Uploads with Expect: 100-continue, with chunked coding, and of a large body.
#[test]
fn continue_chunked_and_large_uploads_are_routed_correctly() {
    let dir = data_dir();
    let (daemon, _) = daemon_with_shard_ports(dir.path());
    let nginx = Nginx::start_as(dir.path(), &config_of(&daemon), &Setup::default());
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        path(2, 1)
    );
    let mut client = nginx.writer();
    client.send(head.as_bytes()).unwrap();
    assert_eq!(client.reply(false).unwrap().status, 100);
    client.send(b"photo").unwrap();
    assert_eq!(client.reply(false).unwrap().status, 201);
    assert_eq!(client.get(&path(2, 1)).unwrap().body, b"photo");
    let chunked = format!(
        "PUT {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        path(1, 2)
    );
    client.send(chunked.as_bytes()).unwrap();
    assert_eq!(client.reply(false).unwrap().status, 201);
    assert_eq!(client.get(&path(1, 2)).unwrap().body, b"abc");
    let large = bytes(3, 5 << 20);
    assert_eq!(client.put(&path(2, 3), &large).unwrap().status, 201);
    assert!(client.get(&path(2, 3)).unwrap().body == large);
}

/// A server in place of a shard port that receives a request and closes the connection.
struct BreakingServer {
    address: SocketAddr,
    requests: AtomicUsize,
}

impl BreakingServer {
    fn start() -> &'static Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let this: &Self = Box::leak(Box::new(Self { address, requests: AtomicUsize::new(0) }));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream: TcpStream = stream.unwrap();
                if stream.read(&mut [0; 4096]).is_ok_and(|len| len > 0) {
                    this.requests.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        this
    }

    fn received(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

#[test]
fn failed_reads_are_retried_and_writes_are_not() {
    let dir = data_dir();
    let (daemon, ports) = daemon_with_shard_ports(dir.path());
    let photo = bytes(1, 20_000);
    assert_eq!(daemon.client().put(&path(2, 1), &photo).unwrap().status, 201);
    let breaking = BreakingServer::start();
    let unused = SocketAddr::from(([127, 0, 0, 1], free_ports(1)));
    let port_of_2 = format!("    server 127.0.0.1:{} max_fails=0;", ports + 1);
    for (instead, expected_received) in [(breaking.address, 1), (unused, 0)] {
        let place = tempfile::tempdir_in(dir.path()).unwrap();
        let edit = format!("    server {instead} max_fails=0;");
        let edits = [(&port_of_2[..], &edit[..])];
        let setup = Setup { edits: &edits, ..Setup::default() };
        let nginx = Nginx::start_as(place.path(), &config_of(&daemon), &setup);
        for round in 0..3 {
            let received = breaking.received();
            let got = nginx.connect().get(&path(2, 1)).unwrap();
            assert!(got.status == 200 && got.body == photo, "{}: {}", got.status, nginx.errors());
            let head = nginx.connect().request("HEAD", &path(2, 1), &[], None).unwrap();
            assert_eq!(
                (head.status, breaking.received() - received),
                (200, 2 * expected_received),
                "{round}"
            );
        }
        let before = ["put", "delete", "post"].map(|method| requests_by_shard(&daemon, method));
        for (method, path, body) in [
            ("PUT", path(2, 1), Some(&b"new"[..])),
            ("DELETE", path(2, 1), None),
            ("POST", "/2".to_owned(), Some(b"new")),
        ] {
            let received = breaking.received();
            let got = nginx.writer().request(method, &path, &[], body).unwrap();
            assert_eq!(
                (got.status, breaking.received() - received),
                (502, expected_received),
                "{method}"
            );
        }
        let after = ["put", "delete", "post"].map(|method| requests_by_shard(&daemon, method));
        assert_eq!(before, after, "no refused request reached the daemon");
        assert_eq!(daemon.client().get(&path(2, 1)).unwrap().body, photo);
        let shared = daemon.data.to_string();
        for logged in nginx.logged() {
            let is_read = ["GET", "HEAD"].contains(&logged.request.split(' ').next().unwrap());
            let wanted = if is_read {
                vec![instead.to_string(), shared.clone()]
            } else {
                vec![instead.to_string()]
            };
            assert_eq!(logged.upstreams, wanted, "{logged:?}");
        }
    }
}

/// The example configuration has one server only: nginx itself repeats a read that fails on a kept
/// connection.
#[test]
fn broken_keepalive_connection_fails_writes_but_not_reads() {
    let dir = data_dir();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    // A server that answers the first request of each connection and closes it on the second.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                if stream.read(&mut request).is_ok_and(|len| len > 0) {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
                    let _ = stream.read(&mut request);
                }
            });
        }
    });
    let nginx = Nginx::start_before(dir.path(), &server.to_string(), &Setup::default());
    let mut client = nginx.connect();
    assert_eq!(client.get(&path(1, 1)).unwrap().body, b"ok");
    assert_eq!(client.get(&path(1, 1)).unwrap().body, b"ok", "repeated on a new connection");
    for method in ["PUT", "DELETE"] {
        // The kept connection has already answered its one request.
        let broken = nginx.writer().request(method, &path(1, 1), &[], Some(b"x")).unwrap();
        assert_eq!(broken.status, 502, "{method}");
        assert_eq!(client.get(&path(1, 1)).unwrap().body, b"ok");
    }
    let tries: Vec<usize> =
        nginx.logged_all(6).iter().map(|logged| logged.upstreams.len()).collect();
    assert_eq!(tries, [1, 2, 1, 1, 1, 1]);
}

#[test]
fn without_shard_ports_requests_go_to_the_shared_address() {
    let dir = data_dir();
    let daemon = daemon(dir.path(), &[]);
    let config = config_of(&daemon);
    assert!(
        !config.contains("hayloft_shard") && config.contains("no ports of their own"),
        "{config}"
    );
    let nginx = Nginx::start_as(dir.path(), &config, &Setup { cache: true, ..Setup::default() });
    for volume in [1, 2] {
        assert_eq!(nginx.writer().put(&path(volume, 1), b"photo").unwrap().status, 201);
        assert_eq!(nginx.connect().get(&path(volume, 1)).unwrap().body, b"photo");
    }
}

/// Connects from the local address `source`.
fn client_from(source: [u8; 4], to: SocketAddr) -> RawConnection {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    RawConnection::over(socket.into())
}

#[test]
fn writes_are_accepted_from_allowed_networks_only() {
    let dir = data_dir();
    let (daemon, _) = daemon_with_shard_ports(dir.path());
    let args = ["--allow-writes", "127.0.0.4/31", "--allow-writes", "127.0.0.9"];
    let (code, config, errors) = nginx_config(&daemon, &args);
    assert_eq!((code, &errors[..]), (0, ""));
    let nginx = Nginx::start_as(dir.path(), &config, &Setup::default());
    let writer_from = |last: u8| client_from([127, 0, 0, last], nginx.writes);
    for (key, last) in [(4, 4), (5, 5), (9, 9)] {
        let mut client = writer_from(last);
        assert_eq!(client.put(&path(1, key), b"photo").unwrap().status, 201);
        assert_eq!(client.get(&path(1, key)).unwrap().body, b"photo");
    }
    let before = ["put", "post", "delete"].map(|method| requests_by_shard(&daemon, method));
    for last in [1, 3, 6, 8] {
        for (method, path, body) in [
            ("PUT", path(1, 4), Some(&b"other"[..])),
            ("POST", "/1".to_owned(), Some(b"other")),
            ("DELETE", path(1, 4), None),
            ("GET", path(1, 4), None),
        ] {
            let refused = writer_from(last).request(method, &path, &[], body).unwrap();
            assert_eq!(refused.status, 403, "{method} from 127.0.0.{last}");
        }
        let mut public = client_from([127, 0, 0, last], nginx.address);
        assert_eq!(public.get(&path(1, 4)).unwrap().body, b"photo");
    }
    // The public server refuses writes from allowed networks, too.
    let mut public = client_from([127, 0, 0, 4], nginx.address);
    assert_eq!(public.put(&path(1, 4), b"other").unwrap().status, 403);
    let after = ["put", "post", "delete"].map(|method| requests_by_shard(&daemon, method));
    assert_eq!(before, after, "no refused request reached the daemon");
    assert!(nginx.errors().contains("access forbidden by rule"), "nginx refused them");
    assert!(!nginx.error_log().contains(COOKIE), "{}", nginx.error_log());
}

#[test]
fn full_option_prints_a_valid_nginx_conf() {
    let dir = data_dir();
    let (daemon, _) = daemon_with_shard_ports(dir.path());
    let listen = free_ports(1).to_string();
    let args = ["--full", "--listen", &listen, "--server-name", "photos.example"];
    let (code, config, errors) = nginx_config(&daemon, &args);
    assert_eq!((code, &errors[..]), (0, ""));
    assert!(config.contains("        server_name photos.example;\n"), "{config}");
    let file = dir.path().join("nginx.conf");
    let pid = format!("pid {};\n", dir.path().join("pid").display());
    std::fs::write(&file, pid + &config).unwrap();
    let mut nginx = Command::new("/usr/sbin/nginx");
    nginx.arg("-t").arg("-c").arg(&file).arg("-e").arg(dir.path().join("errors"));
    let output = nginx.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !said.contains("[warn]"), "{said}");
}

#[test]
fn invalid_options_and_unreachable_daemon_are_reported() {
    let dir = data_dir();
    let (daemon, _) = daemon_with_shard_ports(dir.path());
    let free = free_ports(1);
    let (code, config, errors) = nginx_config(&daemon, &["--full"]);
    assert!(code == 0 && errors.is_empty() && !config.is_empty());
    // The configuration is printed, but its upstream does not answer.
    let elsewhere = format!("127.0.0.1:{free}");
    let output = Command::new(env!("CARGO_BIN_EXE_hayloft"))
        .args(["nginx-config", "--admin", &daemon.admin.to_string(), "--daemon", &elsewhere])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("nothing answers at {elsewhere}: ")), "{said}");
    assert!(said.contains("check --daemon") && !output.stdout.is_empty(), "{said}");
    for (args, what) in [
        (["--listen", "80;"], "write a port such as 80"),
        (["--server-name", "a b"], "letters, digits"),
        (["--largest-body", "0"], "limits.largest_body"),
        (["--listen-writes", "127.0.0.1:80"], "another port"),
        (["--listen-writes", "8082"], "say who may write: --allow-writes CIDR"),
        (["--listen-writes", "[::]:8082"], "say who may write: --allow-writes CIDR"),
        (["--allow-writes", "10.0.0.1/8"], "write 10.0.0.0/8"),
        (["--allow-writes", "0.0.0.0/0"], "everybody could write"),
    ] {
        let (code, config, errors) = nginx_config(&daemon, &args);
        assert!((code, &config[..]) == (2, "") && errors.contains(what), "{errors}");
    }
    let admin = daemon.admin;
    let began = Instant::now();
    assert!(daemon.stop().success());
    let output = Command::new(env!("CARGO_BIN_EXE_hayloft"))
        .args(["nginx-config", "--admin", &admin.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("is the daemon running?"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(RawConnection::open(admin).is_err());
}
