//! A low limit of open files (RLIMIT_NOFILE): warnings and refusals, and which descriptors stay reserved.

mod daemon_harness;

use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use daemon_harness::{Client, Daemon, Options, RawConnection, bytes, data_dir, path};

fn with_open_files(limit: u64) -> Options {
    let launcher = vec!["prlimit".to_owned(), format!("--nofile={limit}:{limit}")];
    Options { launcher, ..Options::default() }
}

/// Log lines that contain all of `words`.
fn lines(daemon: &Daemon, words: &[&str]) -> Vec<String> {
    let text = daemon.log_text();
    let lines = text.lines().filter(|line| words.iter().all(|word| line.contains(word)));
    lines.map(str::to_owned).collect()
}

/// Opens idle connections until the daemon has accepted, or refused, this many.
fn open_idle_connections(daemon: &Daemon, count: usize) -> Vec<TcpStream> {
    let clients: Vec<_> = (0..count).map(|_| TcpStream::connect(daemon.data).unwrap()).collect();
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    daemon.wait_until("all connections to be accepted", || {
        daemon.metric("hayloft_connections_accepted_total", "") >= count as f64
    });
    clients
}

#[test]
fn idle_clients_starve_neither_admin_api_nor_volumes_of_files() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &with_open_files(500));
    let warned =
        lines(&daemon, &["WARN", "limits.connections", "500", "LimitNOFILE", "ulimit -Hn"]);
    assert_eq!(warned.len(), 1, "{}", daemon.log_text());
    assert_eq!(daemon.client().put(&path(1), &bytes(1, 5000)).unwrap().status, 201);
    let clients = open_idle_connections(&daemon, 600);
    assert_eq!(daemon.admin("/healthz").status, 200);
    assert_eq!(daemon.admin("/readyz").status, 200);
    let refused = ["WARN", "connections at once, the limit", "limits.connections"];
    daemon.wait_until("the warning of refusals", || !lines(&daemon, &refused).is_empty());
    let open = daemon.metric("hayloft_connections", "");
    assert!((100.0..450.0).contains(&open), "{open} connections");
    // More volumes than descriptors are reserved for: the limit of connections is lowered for the rest.
    for id in 2..80 {
        let mut admin = Client::new(daemon.admin);
        let body = format!("{{\"id\": {id}, \"size\": \"16MiB\"}}");
        let json = [("Content-Type", "application/json")];
        let reply = admin.request("POST", "/volumes", &json, Some(body.as_bytes())).unwrap();
        assert!(matches!(reply.status, 201 | 202), "{} {}", reply.status, reply.text());
        daemon.wait_until("the new volume", || {
            let reply = daemon.admin(&format!("/volumes/{id}"));
            reply.status == 200 && reply.text().contains("\"writable\"")
        });
    }
    let warnings = lines(&daemon, &refused).len();
    assert!(warnings <= 4, "{warnings} warnings of hundreds of refusals");
    // A further client gets 503 or is disconnected; it does not wait.
    let mut late = daemon.connect();
    assert!(late.get(&path(1)).map_or(true, |reply| reply.status == 503));
    drop(clients);
    daemon
        .wait_until("connections to be closed", || daemon.metric("hayloft_connections", "") == 0.0);
    assert_eq!(daemon.client().get(&path(1)).unwrap().body, bytes(1, 5000));
    // The same number again: fewer are admitted than before, and accepting never fails.
    let accepted = daemon.metric("hayloft_connections_accepted_total", "");
    let clients: Vec<_> = (0..600).map(|_| TcpStream::connect(daemon.data).unwrap()).collect();
    daemon.wait_for_metric("hayloft_connections_accepted_total", "", accepted + 600.0);
    let fewer = daemon.metric("hayloft_connections", "");
    assert!(fewer < open, "{open} connections before there were 79 more volumes, {fewer} now");
    drop(clients);
    assert_eq!(lines(&daemon, &["cannot accept"]), [""; 0]);
    assert!(daemon.stop().success());
    assert!(dir.path().join("data/1.0.ckpt").exists(), "a checkpoint was written");
}

#[test]
fn volume_creation_stops_while_restart_is_still_possible() {
    let dir = data_dir();
    let options = with_open_files(210);
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(daemon.client().put(&path(1), b"kept").unwrap().status, 201);
    let create = |id: u32| {
        let mut admin = Client::new(daemon.admin);
        let body = format!("{{\"id\": {id}, \"size\": \"16MiB\"}}");
        let json = [("Content-Type", "application/json")];
        admin.request("POST", "/volumes", &json, Some(body.as_bytes())).unwrap()
    };
    let mut last = 1;
    let refused = loop {
        assert!(last < 210, "more volumes than files may be open");
        let reply = create(last + 1);
        if !matches!(reply.status, 201 | 202) {
            break reply;
        }
        last += 1;
        let path = format!("/volumes/{last}");
        daemon.wait_until("the new volume", || {
            let reply = daemon.admin(&path);
            reply.status == 200 && reply.text().contains("\"writable\"")
        });
    };
    assert_eq!(refused.status, 507, "{}", refused.text());
    for word in ["limit of open files is 210", "LimitNOFILE", "ulimit -Hn", "delete a volume"] {
        assert!(refused.text().contains(word), "{}", refused.text());
    }
    assert!(last > 5, "only {last} volumes");
    // Clients are served with that many volumes.
    assert_eq!(daemon.client().get(&path(1)).unwrap().body, b"kept");
    assert!(daemon.stop().success());
    let daemon = Daemon::start(dir.path(), &options);
    daemon.wait_until("all volumes to be open", || daemon.admin("/readyz").status == 200);
    assert_eq!(daemon.client().get(&path(1)).unwrap().body, b"kept");
    assert!(daemon.stop().success());
}

#[test]
fn start_with_too_few_descriptors_fails_and_creates_nothing() {
    for limit in [40, 100] {
        let dir = data_dir();
        let mut daemon = Daemon::launch(dir.path(), &with_open_files(limit));
        let status = daemon.wait(Duration::from_secs(20)).expect("it should not run");
        assert_eq!(status.code(), Some(2), "{}", daemon.log_text());
        let words = ["the limit of open files", &limit.to_string(), "LimitNOFILE", "ulimit -Hn"];
        assert_eq!(lines(&daemon, &words).len(), 1, "{}", daemon.log_text());
        assert!(!dir.path().join("data").exists());
    }
}

fn set_open_files(daemon: &Daemon, limit: u64) {
    let pid = daemon.child.id().to_string();
    let limits = format!("--nofile={limit}:20000");
    let done = Command::new("prlimit").args(["--pid", &pid, &limits]).status().unwrap();
    assert!(done.success());
}

/// Lowers the soft limit of the running daemon from outside, so that accept fails with EMFILE.
#[test]
fn accept_without_descriptors_warns_once_and_recovers() {
    let dir = data_dir();
    let options = Options {
        launcher: vec!["prlimit".to_owned(), "--nofile=20000:20000".to_owned()],
        ..Options::default()
    };
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(daemon.client().put(&path(1), b"here").unwrap().status, 201);
    let (began, before) = (Instant::now(), daemon.metric("hayloft_turns_total", ""));
    set_open_files(&daemon, 8);
    let waiting: Vec<_> = (0..20).map(|_| daemon.connect()).collect();
    let mut admin = RawConnection::open(daemon.admin).unwrap();
    let word = "cannot accept a connection:";
    daemon.wait_until("the warning", || !lines(&daemon, &[word]).is_empty());
    let admin_word = "cannot accept a connection of the admin API";
    daemon.wait_until("the warning of the admin API", || !lines(&daemon, &[admin_word]).is_empty());
    std::thread::sleep(Duration::from_secs(1));
    set_open_files(&daemon, 20_000);
    // Retries are paced. Event loop iterations are counted, because CPU time depends on the load of the
    // machine.
    let tries = daemon.metric("hayloft_turns_total", "") - before;
    let most = 200.0 + 50.0 * began.elapsed().as_secs_f64();
    assert!(tries < most, "{tries} iterations, at most {most} expected: busy loop");
    assert_eq!(admin.request("GET", "/healthz", &[], None).unwrap().status, 200);
    for mut client in waiting {
        assert_eq!(client.get(&path(1)).unwrap().body, b"here");
    }
    for words in [[word, "LimitNOFILE"], [admin_word, "LimitNOFILE"]] {
        assert_eq!(lines(&daemon, &words).len(), 1, "{}", daemon.log_text());
    }
    assert!(daemon.stop().success());
}

fn config_check(limit: u64) -> Output {
    let nofile = format!("--nofile={limit}:{limit}");
    let binary = env!("CARGO_BIN_EXE_hayloft");
    Command::new("prlimit").args([&nofile, binary, "config", "check"]).output().unwrap()
}

#[test]
fn config_check_reports_the_open_files_limit_like_a_start() {
    let low = config_check(500);
    let said = String::from_utf8_lossy(&low.stderr);
    assert!(low.status.success(), "{said}");
    for word in ["warning", "limits.connections", "500", "LimitNOFILE"] {
        assert!(said.contains(word), "{said}");
    }
    let none = config_check(64);
    assert_eq!(none.status.code(), Some(2));
    let said = String::from_utf8_lossy(&none.stderr);
    assert!(said.contains("the limit of open files is 64"), "{said}");
    let ample = config_check(20_000);
    assert!(!String::from_utf8_lossy(&ample.stderr).contains("open files"));
}
