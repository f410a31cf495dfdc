//! `config check` refuses what `serve` refuses, with the same message, and changes nothing. Cases that need
//! mounts are in `tests/file_systems.rs`.

mod daemon_harness;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use daemon_harness::{Daemon, data_dir, free_ports};

/// Runs hayloft; returns the exit code and the last line of standard error.
fn hayloft(place: &Path, args: &[&str]) -> (i32, String) {
    let log = place.with_extension("message");
    let mut child = Command::new(env!("CARGO_BIN_EXE_hayloft"))
        .args(args)
        .current_dir(place)
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{args:?} has not ended: {}", fs::read_to_string(&log).unwrap());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let message = fs::read_to_string(&log).unwrap();
    (status.code().unwrap(), message.lines().last().unwrap_or_default().to_owned())
}

/// All entries below a directory, with size and modification time.
fn tree(place: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut left = vec![place.to_owned()];
    while let Some(path) = left.pop() {
        let there = fs::symlink_metadata(&path).unwrap();
        if there.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, (there.size(), there.mtime(), there.mtime_nsec()));
    }
    found
}

/// Writes a configuration of these lines, with addresses of its own unless they set them.
fn configure(place: &Path, lines: &str) {
    let port = free_ports(2);
    let mut text = lines.to_owned();
    for (key, value) in [
        ("listen", format!("[\"127.0.0.1:{port}\"]")),
        ("admin", format!("\"127.0.0.1:{}\"", port + 1)),
        ("data", "[\"data\"]".to_owned()),
        ("volume_size", "\"16MiB\"".to_owned()),
        ("cores", "\"0\"".to_owned()),
        ("shard_ports", "\"off\"".to_owned()),
        ("limits.largest_body", "\"16MiB\"".to_owned()),
    ] {
        if !lines.lines().any(|line| line.starts_with(&format!("{key} ="))) {
            text += &format!("{key} = {value}\n");
        }
    }
    fs::write(place.join("c.toml"), text).unwrap();
}

/// Asserts that both commands refuse the configuration with the same message, which contains `words`.
fn assert_refused(place: &Path, lines: &str, words: &str) {
    configure(place, lines);
    let before = tree(place);
    let (code, message) = hayloft(place, &["config", "check", "c.toml"]);
    assert_eq!(tree(place), before, "config check changed something: {lines}");
    let (started, refused) = hayloft(place, &["serve", "--config", "c.toml"]);
    assert_eq!((started, code), (2, 2), "{lines}\nserve: {refused}\nconfig check: {message}");
    assert_eq!(message, refused, "{lines}");
    assert!(message.contains(words), "{lines}: {message}");
}

fn base() -> (tempfile::TempDir, PathBuf) {
    let dir = data_dir();
    let place = dir.path().join("w");
    fs::create_dir(&place).unwrap();
    (dir, place)
}

#[test]
fn unusable_data_directories_are_refused() {
    let (_dir, place) = base();
    symlink("nowhere", place.join("broken")).unwrap();
    fs::create_dir_all(place.join("locked/LOCK")).unwrap();
    fs::write(place.join("file"), "").unwrap();
    for (data, words) in [
        ("broken", "broken is not a directory"),
        ("broken/new", "does not exist"),
        ("/proc/hayloft", "its file system makes no new directories"),
        ("locked", "cannot open the lock file"),
        ("file", "is not a directory"),
        ("file/new", "file is not a directory"),
        ("absent/new", "absent does not exist"),
    ] {
        assert_refused(&place, &format!("data = [{data:?}]\n"), words);
        // Also refused beside another, new directory.
        assert_refused(&place, &format!("data = [\"other\", {data:?}]\n"), words);
    }
}

#[test]
fn unusable_unix_sockets_are_refused() {
    let (_dir, place) = base();
    fs::create_dir(place.join("sub")).unwrap();
    symlink("sub", place.join("link")).unwrap();
    fs::write(place.join("file"), "").unwrap();
    symlink("nowhere", place.join("broken")).unwrap();
    let _datagram = UnixDatagram::bind(place.join("datagram")).unwrap();
    let _listener = UnixListener::bind(place.join("other")).unwrap();
    let unix = |name: &str| format!("unix:{}/{name}", place.display());
    for (names, words) in [
        (&["file"][..], "something else that is no socket"),
        (&["sub"], "something else that is no socket"),
        (&["broken"], "something else that is no socket"),
        (&["datagram"], "cannot listen on unix:"),
        (&["file/s"], "Not a directory"),
        (&["s", "sub/../s"], "are the same socket; keep one"),
        (&["sub/s", "link/s"], "are the same socket; keep one"),
        (&["s", "./s"], "same port"),
    ] {
        let listen: Vec<String> = names.iter().map(|name| format!("{:?}", unix(name))).collect();
        assert_refused(&place, &format!("listen = [{}]\n", listen.join(", ")), words);
    }
    // Warnings only: the service manager may create the directory first, and the daemon that listens may be
    // the one to restart.
    for (name, refused, words) in [
        ("absent/s", "No such file or directory", "absent does not exist"),
        ("other", "somebody listens", ""),
    ] {
        configure(&place, &format!("listen = [{:?}]\n", unix(name)));
        let (code, message) = hayloft(&place, &["config", "check", "c.toml"]);
        assert!(code == 0 && message.contains(words), "{name}: {message}");
        assert_eq!(message.is_empty(), words.is_empty(), "{name}: {message}");
        let (code, message) = hayloft(&place, &["serve", "--config", "c.toml"]);
        assert!(code == 2 && message.contains(refused), "{name}: {message}");
    }
}

#[test]
fn unusable_addresses_are_refused() {
    let (_dir, place) = base();
    let port = free_ports(1);
    for (lines, words) in [
        (format!("listen = [\"127.0.0.1:{port}\", \"[::ffff:127.0.0.1]:{port}\"]"), "same port"),
        (format!("listen = [\"0.0.0.0:{port}\", \"[::ffff:127.0.0.1]:{port}\"]"), "same port"),
        (format!("listen = [\"[::ffff:0.0.0.0]:{port}\", \"127.0.0.1:{port}\"]"), "same port"),
        (
            format!("listen = [\"127.0.0.1:{port}\"]\nadmin = \"[::ffff:127.0.0.1]:{port}\""),
            "is taken by",
        ),
        (format!("listen = [\"192.0.2.1:{port}\"]"), "this machine has no such address"),
        (format!("admin = \"192.0.2.1:{port}\""), "this machine has no such address"),
        // A link-local address needs a scope.
        (format!("listen = [\"[fe80::1]:{port}\"]"), "cannot listen on [fe80::1]"),
    ] {
        assert_refused(&place, &(lines + "\n"), words);
    }
}

#[test]
fn unusable_access_trace_files_are_refused() {
    let (_dir, place) = base();
    fs::create_dir(place.join("sub")).unwrap();
    fs::write(place.join("letter"), "dear all, this is no access trace").unwrap();
    for (file, words) in [
        ("sub", "it is no regular file"),
        ("/dev/null", "it is no regular file"),
        ("absent/trace", "No such file or directory"),
        ("letter/trace", "Not a directory"),
        ("/proc/trace", "No such file or directory"),
        ("letter", "no access trace"),
    ] {
        assert_refused(&place, &format!("access_trace.file = {file:?}\n"), words);
    }
    assert_eq!(fs::read(place.join("letter")).unwrap().len(), 33);
    // A new data directory beside one in use is not created.
    fs::create_dir(place.join("used")).unwrap();
    let init = hayloft(&place, &["init", "used"]);
    assert_eq!(init.0, 0, "{}", init.1);
    let lines = "data = [\"used\", \"new\"]\naccess_trace.file = \"new/trace\"\n";
    assert_refused(&place, lines, "No such file or directory");
}

/// Asserts that both commands accept the configuration, `config check` also while the daemon runs and after
/// it.
fn assert_accepted(place: &Path, lines: &str) {
    let port = free_ports(2);
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let (data, admin) = (address(port), address(port + 1));
    let listen = format!("\"{data}\", \"127.0.0.2:{port}\", \"unix:{}/s\"", place.display());
    configure(place, &format!("listen = [{listen}]\nadmin = \"{admin}\"\n{lines}"));
    let before = tree(place);
    for round in 0..2 {
        let (code, message) = hayloft(place, &["config", "check", "c.toml"]);
        assert_eq!((code, &message[..]), (0, ""), "{lines}");
        assert!(round > 0 || tree(place) == before, "config check changed something: {lines}");
        let log = place.with_extension("log");
        let child = Command::new(env!("CARGO_BIN_EXE_hayloft"))
            .args(["serve", "--config", "c.toml"])
            .current_dir(place)
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut daemon = Daemon { child, data, admin, log };
        daemon.wait_ready();
        let (code, message) = hayloft(place, &["config", "check", "c.toml"]);
        assert_eq!((code, &message[..]), (0, ""), "while the daemon runs: {lines}");
        assert!(daemon.stop().success());
    }
}

#[test]
fn config_check_accepts_what_serve_accepts() {
    let (_dir, place) = base();
    // Left behind by a daemon that was killed.
    drop(UnixListener::bind(place.join("s")).unwrap());
    symlink("target", place.join("trace")).unwrap();
    assert_accepted(&place, "data = [\"one\", \"two\"]\naccess_trace.file = \"trace\"\n");
    let (_dir, place) = base();
    assert_accepted(&place, "data = [\"new\"]\naccess_trace.file = \"new/trace\"\n");
    let (_dir, place) = base();
    let data = format!("data = [{:?}]\n", place.join("new"));
    let socket = format!("listen = [\"unix:{}/new/s\"]\n", place.display());
    configure(&place, &(data + &socket));
    assert_eq!(hayloft(&place, &["config", "check", "c.toml"]), (0, String::new()));
}
