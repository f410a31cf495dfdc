//! `check`, `dump` and `export` where the kernel refuses io_uring, as in a container with the default seccomp
//! profile: their output is the same as with io_uring.

mod daemon_harness;

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use daemon_harness::{COOKIE, Daemon, Options, bytes, data_dir, path};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use serde_json::Value;

const SETUP: i64 = 425;
const ENTER: i64 = 426;
const REGISTER: i64 = 427;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// A seccomp rule: system calls that fail, and with which errno.
#[derive(Clone, Copy, Debug)]
struct Refusal(&'static [i64], u32);

const REFUSALS: [Refusal; 4] = [
    Refusal(&[SETUP, ENTER, REGISTER], EPERM),
    Refusal(&[SETUP, ENTER, REGISTER], ENOSYS),
    Refusal(&[ENTER], EPERM),
    Refusal(&[REGISTER], EPERM),
];

/// Runs `launch` on a thread with a seccomp filter, which the processes that it starts inherit.
fn with_filter<T: Send>(refusal: Refusal, launch: impl FnOnce() -> T + Send) -> T {
    let Refusal(calls, errno) = refusal;
    let rules: BTreeMap<i64, Vec<_>> = calls.iter().map(|call| (*call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch);
    let filter: BpfProgram = filter.unwrap().try_into().unwrap();
    std::thread::scope(|scope| {
        let filtered = scope.spawn(|| {
            apply_filter(&filter).unwrap();
            launch()
        });
        filtered.join().unwrap()
    })
}

fn hayloft(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    command.arg(args[0]).arg("--data").arg(dir.join("data")).args(&args[1..]);
    command.stdin(Stdio::null()).output().unwrap()
}

/// The JSON of a check without the durations.
fn findings(output: &Output) -> Value {
    let mut document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let volumes = document["volumes"].as_array_mut().unwrap();
    volumes.iter_mut().for_each(|volume| volume["seconds"] = Value::Null);
    document["total"]["seconds"] = Value::Null;
    document
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asserts that the commands give the same output for this directory without io_uring.
fn assert_same_without_io_uring(dir: &Path, sound: bool) {
    let commands = [
        &["check", "--json"][..],
        &["check", "--json", "--buffered"],
        &["dump", "--json"],
        &["export"],
    ];
    for args in commands {
        let with = hayloft(dir, args);
        assert_eq!(with.status.success(), sound, "{}", text(&with.stderr));
        assert!(!text(&with.stderr).contains("io_uring"), "{}", text(&with.stderr));
        for refusal in REFUSALS {
            let without = with_filter(refusal, || hayloft(dir, args));
            let said = text(&without.stderr);
            assert_eq!(without.status.code(), with.status.code(), "{refusal:?}: {said}");
            if args[0] == "check" {
                assert_eq!(findings(&without), findings(&with), "{refusal:?}");
            } else {
                assert!(without.stdout == with.stdout, "{args:?} differs under {refusal:?}");
            }
            // The only difference on stderr is one note.
            let notes = said.lines().filter(|line| line.contains("without io_uring"));
            assert_eq!(notes.count(), 1, "{said}");
            assert!(said.contains("slower") && said.contains("refused"), "{said}");
            for line in text(&with.stderr).lines() {
                assert!(said.contains(line), "{line} is missing in {said}");
            }
        }
    }
}

fn killed_store() -> tempfile::TempDir {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let mut client = daemon.client();
    for (key, len) in [(1, 0), (2, 700), (3, 1 << 20), (4, 3_000_000), (5, 70_000), (2, 900)] {
        client.put(&path(key), &bytes(key ^ len as u64, len)).unwrap();
    }
    client.request("DELETE", &path(5), &[], None).unwrap();
    daemon.kill();
    dir
}

#[test]
fn offline_commands_without_io_uring_read_a_killed_store() {
    assert_same_without_io_uring(killed_store().path(), true);
}

#[test]
fn offline_commands_without_io_uring_report_the_same_damage() {
    let dir = killed_store();
    let volume = dir.path().join("data/1.0.vol");
    let content = std::fs::read(&volume).unwrap();
    let body = bytes(3 ^ (1 << 20), 1 << 20);
    let at = content.windows(64).position(|window| window == &body[..64]).expect("it is stored");
    let file = std::fs::File::options().write(true).open(&volume).unwrap();
    file.write_all_at(&[!body[100]], at as u64 + 100).unwrap();
    file.sync_all().unwrap();
    assert_same_without_io_uring(dir.path(), false);
}

#[test]
fn offline_commands_without_io_uring_change_nothing() {
    let dir = killed_store();
    let volume = dir.path().join("data/1.0.vol");
    let before = std::fs::read(&volume).unwrap();
    let modified = std::fs::metadata(&volume).unwrap().modified().unwrap();
    for args in [&["check"][..], &["dump"], &["export"]] {
        assert!(with_filter(REFUSALS[0], || hayloft(dir.path(), args)).status.success());
    }
    assert!(std::fs::read(&volume).unwrap() == before);
    assert_eq!(std::fs::metadata(&volume).unwrap().modified().unwrap(), modified);
    let daemon = Daemon::start(dir.path(), &Options::default());
    assert_eq!(daemon.client().get(&path(2)).unwrap().body, bytes(2 ^ 900, 900));
    let reply = daemon.client().get(&format!("/1/5/0/{COOKIE}")).unwrap();
    assert_eq!(reply.status, 404);
}

#[test]
fn daemon_without_io_uring_fails_with_advice_and_creates_nothing() {
    for refusal in REFUSALS {
        let dir = data_dir();
        let mut daemon = with_filter(refusal, || Daemon::launch(dir.path(), &Options::default()));
        let status = daemon.wait(Duration::from_secs(20)).expect("it should not run");
        let log = daemon.log_text();
        assert_eq!(status.code(), Some(2), "{refusal:?}: {log}");
        assert!(log.contains("io_uring") && log.contains("seccomp"), "{refusal:?}: {log}");
        assert!(!log.contains("panicked"), "{log}");
        assert!(!dir.path().join("data").exists(), "{refusal:?} left a data directory");
    }
}
