//! The units under `systemd/`: systemd-analyze accepts them, the daemon implements the notification protocol
//! and socket passing, and makes no system call that the unit denies.

mod daemon_harness;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use daemon_harness::{Client, Daemon, Options, RawConnection, bytes, data_dir, free_ports, path};
use nix::sys::signal::Signal;

const UNIT: &str = include_str!("../systemd/hayloft.service");
const SOCKET: &str = include_str!("../systemd/hayloft.socket");

/// Runs a program of systemd. Returns whether it succeeded, and its output.
fn systemd(program: &str, args: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; install systemd"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn settings(key: &str) -> Vec<&'static str> {
    let lines = UNIT.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(name, _)| *name == key).map(|(_, value)| value).collect()
}

#[test]
fn systemd_analyze_accepts_the_units_and_their_exposure() {
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("hayloft.service");
    // The binary under test in place of the installed one.
    let here = UNIT.replace("/usr/bin/hayloft", env!("CARGO_BIN_EXE_hayloft"));
    assert_ne!(here, UNIT);
    let here = here.replace("Documentation=file:", "#");
    std::fs::write(&unit, here).unwrap();
    let socket = dir.path().join("hayloft.socket");
    std::fs::write(&socket, SOCKET.replace("Documentation=file:", "#")).unwrap();
    let (unit, socket) = (unit.to_str().unwrap(), socket.to_str().unwrap());
    for unit in [unit, socket] {
        let (ok, said) = systemd("systemd-analyze", &["verify", "--man=no", unit]);
        assert!(ok && !said.contains("hayloft."), "{said}");
    }
    // Exposure of at most 2.0 of 10.
    let (ok, said) =
        systemd("systemd-analyze", &["security", "--offline=true", "--threshold=20", unit]);
    assert!(ok, "{said}");
}

#[test]
fn sysusers_and_tmpfiles_create_user_and_directory() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("{}/systemd/{name}", env!("CARGO_MANIFEST_DIR"));
    let option = format!("--root={}", root.path().display());
    std::fs::create_dir_all(root.path().join("etc")).unwrap();
    let (ok, said) = systemd("systemd-sysusers", &[&option, &at("hayloft.sysusers.conf")]);
    assert!(ok, "{said}");
    let users = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    let user = users.lines().find(|line| line.starts_with("hayloft:")).expect("the user");
    let fields: Vec<&str> = user.split(':').collect();
    assert_eq!((fields[5], fields[6]), ("/var/lib/hayloft", "/usr/sbin/nologin"));
    if !nix::unistd::geteuid().is_root() {
        // Only root can change owners, so only the attempt can be tested.
        let (ok, said) =
            systemd("systemd-tmpfiles", &["--create", &option, &at("hayloft.tmpfiles.conf")]);
        return assert!(!ok && said.contains("/var/lib/hayloft"), "{said}");
    }
    let (ok, said) =
        systemd("systemd-tmpfiles", &["--create", &option, &at("hayloft.tmpfiles.conf")]);
    assert!(ok, "{said}");
    let data = std::fs::metadata(root.path().join("var/lib/hayloft")).unwrap();
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    assert_eq!(
        (data.uid().to_string().as_str(), data.permissions().mode() & 0o777),
        (fields[2], 0o700)
    );
}

/// Receives notifications of the daemon until `last`.
fn receive_until(socket: &UnixDatagram, last: &str) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut all = Vec::new();
    loop {
        assert!(Instant::now() < deadline, "no {last:?} in {all:?}");
        let mut datagram = [0; 4096];
        let Ok(len) = socket.recv(&mut datagram) else { continue };
        let text = String::from_utf8_lossy(&datagram[..len]).trim_end().to_owned();
        all.push(text.clone());
        if text == last {
            return all;
        }
    }
}

#[test]
fn daemon_notifies_ready_watchdog_and_stopping() {
    let dir = data_dir();
    let address = dir.path().join("notify");
    let socket = UnixDatagram::bind(&address).unwrap();
    let notify = format!("NOTIFY_SOCKET={}", address.display());
    let launcher = ["env", &notify, "WATCHDOG_USEC=1000000"].map(str::to_owned).to_vec();
    let daemon = Daemon::launch(dir.path(), &Options { shards: 2, launcher, ..Options::default() });
    receive_until(&socket, "READY=1");
    assert_eq!(daemon.client().get(&path(1)).map(|_| ()).map_err(|e| e.to_string()), Ok(()));
    let began = Instant::now();
    let messages: Vec<String> = (0..4).flat_map(|_| receive_until(&socket, "WATCHDOG=1")).collect();
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "four watchdog messages within four intervals"
    );
    assert!(messages.contains(&"STATUS=1 volumes, 1 writable".to_owned()), "{messages:?}");
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    receive_until(&socket, "STOPPING=1");
    assert!(daemon.stop().success());
}

fn get(key: u64) -> Vec<u8> {
    format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(key)).into_bytes()
}

/// systemd-socket-activate listens and starts the daemon at the first connection.
#[test]
fn passed_sockets_replace_the_configured_addresses() {
    let dir = data_dir();
    let port = free_ports(2);
    let (data, admin) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", port + 1));
    let launcher = ["systemd-socket-activate", "-l", &data, "-l", &admin, "--fdname=data:admin"];
    let launcher = launcher.map(str::to_owned).to_vec();
    let options = Options { shards: 2, launcher, ..Options::default() };
    // The configured addresses are not bound, so they may be in use.
    let taken = free_ports(2);
    let configured = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let (own, others) = (configured(taken), configured(taken + 1));
    let _taken = [TcpListener::bind(own).unwrap(), TcpListener::bind(others).unwrap()];
    let mut daemon = Daemon::launch_on(dir.path(), &options, own, others);
    (daemon.data, daemon.admin) = (data.parse().unwrap(), admin.parse().unwrap());
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut first = loop {
        assert!(Instant::now() < deadline, "{}", daemon.log_text());
        match RawConnection::open(daemon.data) {
            Ok(client) => break client,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    // The first connection starts the daemon; the others arrive before it is ready.
    let mut early: Vec<RawConnection> = (0..20).map(|_| daemon.connect()).collect();
    early.push(daemon.connect());
    first.send(&get(1)).unwrap();
    for client in &mut early {
        client.send(&get(1)).unwrap();
    }
    for client in early.iter_mut().chain([&mut first]) {
        let status = client.reply(false).unwrap().status;
        assert!([404, 503].contains(&status), "{status}: {}", daemon.log_text());
    }
    while !daemon.ready() {
        assert!(Instant::now() < deadline, "{}", daemon.log_text());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(first.put(&path(1), b"photo").unwrap().status, 201);
    let log = daemon.log_text();
    assert!(log.contains(&format!("listen = {own} is not bound")), "{log}");
    assert!(log.contains(&format!("photos on http://{data}, admin on http://{admin}")), "{log}");
    assert!(daemon.stop().success());
}

#[test]
fn restart_under_a_socket_unit_refuses_no_connection() {
    let dir = data_dir();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let data = listener.local_addr().unwrap();
    let passed = Some(("hayloft.socket", listener.into()));
    let options = Options { shards: 2, passed, ..Options::default() };
    let unused = free_ports(2);
    let configured = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let (own, admin) = (configured(unused), configured(unused + 1));
    let ready = |daemon: &Daemon| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !daemon.ready() {
            assert!(Instant::now() < deadline, "{}", daemon.log_text());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let mut daemon = Daemon::launch_on(dir.path(), &options, own, admin);
    ready(&daemon);
    assert_eq!(Client::new(data).put(&path(1), b"photo").unwrap().status, 201);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        daemon.signal(signal);
        assert!(daemon.wait(Duration::from_secs(20)).is_some(), "{}", daemon.log_text());
        // The daemon is down; connections are queued, not refused.
        let mut waiting: Vec<RawConnection> =
            (0..50).map(|_| RawConnection::open(data).unwrap()).collect();
        for client in &mut waiting {
            client.send(&get(1)).unwrap();
        }
        daemon = Daemon::launch_on(dir.path(), &options, own, admin);
        for client in &mut waiting {
            let reply = client.reply(false).unwrap();
            assert!([200, 503].contains(&reply.status), "{}: {}", reply.status, daemon.log_text());
        }
        ready(&daemon);
        for client in &mut waiting {
            assert_eq!(client.get(&path(1)).unwrap().body, b"photo");
        }
    }
    assert!(daemon.stop().success());
}

#[test]
fn with_a_passed_socket_shard_ports_need_an_explicit_setting() {
    let base = free_ports(2);
    let configured = |port| SocketAddr::from(([127, 0, 0, 1], port));
    for (ports, wanted) in
        [("auto", [None, None]), ("off", [None, None]), ("base", [Some(0), Some(1)])]
    {
        let dir = data_dir();
        // The shard ports use the address of the passed socket, not of `listen`.
        let listener = TcpListener::bind("127.0.0.2:0").unwrap();
        let passed = Some(("hayloft.socket", listener.into()));
        let number = base.to_string();
        let setting = if ports == "base" { &number[..] } else { ports };
        let args = ["--shard-ports", setting].map(str::to_owned).to_vec();
        let options = Options { shards: 2, passed, args, ..Options::default() };
        let unused = free_ports(2);
        let daemon =
            Daemon::launch_on(dir.path(), &options, configured(unused), configured(unused + 1));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !daemon.ready() {
            assert!(Instant::now() < deadline, "{}", daemon.log_text());
            std::thread::sleep(Duration::from_millis(10));
        }
        let status: serde_json::Value =
            serde_json::from_slice(&daemon.admin("/status").body).unwrap();
        let ports_in_status = [0, 1].map(|shard: usize| status["shards"][shard]["port"].as_u64());
        assert_eq!(
            ports_in_status,
            wanted.map(|port| port.map(|port| u64::from(base) + port)),
            "{ports}"
        );
        if ports == "base" {
            let own = SocketAddr::from(([127, 0, 0, 2], base));
            assert_eq!(Client::new(own).get(&path(1)).unwrap().status, 404);
            assert!(
                RawConnection::open(configured(base)).is_err(),
                "no shard port on the address of listen"
            );
        }
        let is_explained = daemon.log_text().contains("no ports of their own unless shard_ports");
        assert_eq!(is_explained, ports == "auto", "{}", daemon.log_text());
        assert!(daemon.stop().success());
    }
}

#[test]
fn passed_datagram_socket_fails_the_start() {
    let dir = data_dir();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let options = Options { passed: Some(("data", socket.into())), ..Options::default() };
    let mut daemon = Daemon::launch(dir.path(), &options);
    let ended = daemon.wait(Duration::from_secs(20)).expect("the daemon does not start");
    let log = daemon.log_text();
    assert_eq!(ended.code(), Some(2), "{log}");
    assert!(log.contains("takes datagrams, not connections; use ListenStream="), "{log}");
}

/// Adds the system calls of a systemd filter set.
fn expand_set(name: &str, into: &mut BTreeSet<String>) {
    let (ok, said) = systemd("systemd-analyze", &["syscall-filter", "--no-pager", name]);
    assert!(ok, "{said}");
    for line in said.lines().filter(|line| line.starts_with(' ')) {
        match line.trim() {
            "" => {}
            comment if comment.starts_with('#') => {}
            nested if nested.starts_with('@') => expand_set(nested, into),
            call => {
                into.insert(call.to_owned());
            }
        }
    }
}

fn allowed_calls() -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for line in settings("SystemCallFilter") {
        let (denied, names) = match line.strip_prefix('~') {
            Some(names) => (true, names),
            None => (false, line),
        };
        let mut calls = BTreeSet::new();
        for name in names.split_whitespace() {
            if name.starts_with('@') {
                expand_set(name, &mut calls);
            } else {
                calls.insert(name.to_owned());
            }
        }
        if denied {
            allowed.retain(|call| !calls.contains(call));
        } else {
            allowed.extend(calls);
        }
    }
    allowed
}

fn calls_in(trace: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(trace).unwrap();
    let name = |line: &str| {
        let rest = line.split_once(' ')?.1.trim_start();
        let rest = rest.strip_prefix("<... ").unwrap_or(rest);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        (end > 0 && !rest.starts_with(['+', '-'])).then(|| rest[..end].to_owned())
    };
    text.lines().filter_map(name).collect()
}

#[test]
fn unit_allows_every_system_call_of_the_daemon() {
    let dir = data_dir();
    let trace = dir.path().join("trace");
    let socket = dir.path().join("data.sock");
    let launcher =
        ["strace", "-f", "-qq", "-o", trace.to_str().unwrap()].map(str::to_owned).to_vec();
    let args = vec!["--listen".to_owned(), format!("unix:{}", socket.display())];
    let options = Options { shards: 2, launcher, args, ..Options::default() };
    let mut daemon = Daemon::start(dir.path(), &options);
    let mut client = daemon.connect();
    for (key, len) in [(1, 100), (2, 3 << 20)] {
        assert_eq!(client.put(&path(key), &bytes(key, len)).unwrap().status, 201);
        assert_eq!(client.get(&path(key)).unwrap().body, bytes(key, len));
    }
    assert_eq!(client.request("DELETE", &path(1), &[], None).unwrap().status, 204);
    assert_eq!(client.request("POST", "/", &[], Some(b"x")).unwrap().status, 201);
    assert!(!daemon.admin("/status").body.is_empty());
    drop(client);
    let tracer = daemon.child.id();
    let children = std::fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children"));
    let traced = nix::unistd::Pid::from_raw(children.unwrap().trim().parse().unwrap());
    nix::sys::signal::kill(traced, nix::sys::signal::Signal::SIGTERM).unwrap();
    let ended = daemon.wait(Duration::from_secs(40)).expect("the daemon stops");
    assert!(ended.success(), "{}", daemon.log_text());
    let (made, allowed) = (calls_in(&trace), allowed_calls());
    assert!(made.contains("io_uring_enter") && made.contains("sched_setaffinity"), "{made:?}");
    assert!(allowed.len() > 200 && !allowed.contains("setpriority"), "{allowed:?}");
    let refused: Vec<&String> = made.difference(&allowed).collect();
    assert!(refused.is_empty(), "the unit refuses {refused:?}");
}
