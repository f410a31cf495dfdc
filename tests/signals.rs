//! Signals to the daemon and to an import, as documented in OPERATIONS.md.

mod daemon_harness;

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use daemon_harness::{Daemon, Options, RawConnection, bytes, data_dir, path};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const TIMEOUT: Duration = Duration::from_secs(60);

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn has_checkpoint(dir: &std::path::Path) -> bool {
    let names = std::fs::read_dir(dir.join("data")).unwrap();
    names.map(|name| name.unwrap().path()).any(|name| name.extension().is_some_and(|e| e == "ckpt"))
}

#[test]
fn unused_signals_are_logged_and_ignored() {
    use Signal::{SIGALRM, SIGHUP, SIGIO, SIGPIPE, SIGPROF, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXFSZ};
    let dir = data_dir();
    let mut daemon = Daemon::start(dir.path(), &Options::default());
    let body = bytes(1, 1000);
    assert_eq!(daemon.client().put(&path(1), &body).unwrap().status, 201);
    for signal in [SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGXFSZ] {
        daemon.signal(signal);
        let line = format!("received {signal}: ");
        wait_for(&line, || daemon.log_text().contains(&line));
    }
    daemon.signal(SIGPIPE);
    let pid = daemon.child.id().to_string();
    // The `kill` of the shell supports names of real-time signals.
    let kill = Command::new("bash").args(["-c", "kill -s RTMIN+3 $0", &pid]).status().unwrap();
    assert!(kill.success());
    wait_for("SIGRTMIN+3", || daemon.log_text().contains("received SIGRTMIN+3: "));
    assert_eq!(daemon.client().get(&path(1)).unwrap().body, body);
    assert!(daemon.child.try_wait().unwrap().is_none());
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(has_checkpoint(dir.path()));
}

#[test]
fn stop_signals_start_a_drain() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGPWR] {
        let dir = data_dir();
        let mut daemon = Daemon::start(dir.path(), &Options::default());
        assert_eq!(daemon.client().put(&path(1), b"a photo").unwrap().status, 201);
        daemon.signal(signal);
        let status = daemon.wait(TIMEOUT).expect("it ends");
        assert_eq!(status.code(), Some(0), "{signal}: {}", daemon.log_text());
        let log = daemon.log_text();
        assert!(log.contains(&format!("received {signal}: draining")), "{log}");
        assert!(has_checkpoint(dir.path()), "{signal}");
    }
}

/// A daemon that drains and waits for the rest of an upload.
fn daemon_in_drain(dir: &std::path::Path) -> (Daemon, RawConnection) {
    let config = "[limits]\nbody_grace_seconds = 3600\ndrain_timeout_seconds = 300\n".to_owned();
    let daemon = Daemon::start(dir, &Options { config, ..Options::default() });
    let mut client = daemon.connect();
    let head = format!("PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", path(1));
    client.send(head.as_bytes()).unwrap();
    client.send(&[0; 10_000]).unwrap();
    wait_for("the upload to begin", || daemon.metric("hayloft_requests_total", "put") > 0.0);
    daemon.signal(Signal::SIGTERM);
    wait_for("the drain", || daemon.log_text().contains("draining"));
    (daemon, client)
}

#[test]
fn sighup_does_not_shorten_a_drain() {
    let dir = data_dir();
    let (mut daemon, mut client) = daemon_in_drain(dir.path());
    for signal in [Signal::SIGHUP, Signal::SIGUSR1] {
        daemon.signal(signal);
        let line = format!("received {signal}: ");
        wait_for(&line, || daemon.log_text().contains(&line));
    }
    assert!(daemon.child.try_wait().unwrap().is_none());
    client.send(&vec![0; 90_000]).unwrap();
    assert_eq!(client.reply(false).unwrap().status, 201);
    assert_eq!(daemon.wait(TIMEOUT).expect("it ends").code(), Some(0));
    assert!(has_checkpoint(dir.path()));
}

#[test]
fn second_stop_signal_ends_the_drain() {
    let dir = data_dir();
    let (mut daemon, _client) = daemon_in_drain(dir.path());
    daemon.signal(Signal::SIGQUIT);
    assert_eq!(daemon.wait(TIMEOUT).expect("it ends").code(), Some(0));
    assert!(daemon.log_text().contains("received SIGQUIT again"), "{}", daemon.log_text());
}

/// Starts an import that is long enough to receive a signal before its end.
fn start_import(dir: &std::path::Path, daemon: &Daemon, nohup: bool) -> Child {
    let photos = dir.join("photos");
    std::fs::create_dir(&photos).unwrap();
    for n in 0..4000 {
        let mut photo = std::fs::File::create(photos.join(format!("{n}.jpg"))).unwrap();
        photo.write_all(&bytes(n, 3000)).unwrap();
    }
    let binary = env!("CARGO_BIN_EXE_hayloft");
    // The tests themselves may run under nohup.
    let mut command = Command::new(if nohup { "nohup" } else { "env" });
    if !nohup {
        command.arg("--default-signal=HUP");
    }
    command
        .arg(binary)
        .args(["import", "--parallel", "1", "--server", &daemon.data.to_string()])
        .args(["--admin", &daemon.admin.to_string()])
        .arg("--manifest")
        .arg(dir.join("manifest.tsv"))
        .arg(&photos)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(dir.join("said")).unwrap())
        .spawn()
        .unwrap()
}

#[test]
fn import_stops_cleanly_on_sighup_and_continues_under_nohup() {
    for (signal, nohup) in [
        (libc::SIGHUP, false),
        (libc::SIGQUIT, false),
        (libc::SIGTERM, false),
        (libc::SIGHUP, true),
    ] {
        let dir = data_dir();
        let daemon = Daemon::start(dir.path(), &Options::default());
        let mut child = start_import(dir.path(), &daemon, nohup);
        wait_for("photos", || daemon.metric("hayloft_requests_total", "put") > 50.0);
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        // The kernel and the shell may both send SIGHUP.
        let times = if signal == libc::SIGHUP { 2 } else { 1 };
        for _ in 0..times {
            kill(pid, Signal::try_from(signal).unwrap()).unwrap();
        }
        wait_for("the import", || child.try_wait().unwrap().is_some());
        let code = child.wait().unwrap().code();
        let said = std::fs::read_to_string(dir.path().join("said")).unwrap();
        assert_eq!(code, Some(i32::from(!nohup)), "{signal}: {said}");
        assert_eq!(said.contains("The same command goes on from here"), !nohup, "{said}");
        assert_eq!(daemon.stop().code(), Some(0));
    }
}
