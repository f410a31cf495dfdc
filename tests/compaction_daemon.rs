//! Compactions of the running daemon on a real file system, by the admin API and by the command line.

mod daemon_harness;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use daemon_harness::{COOKIE, Daemon, Options, bytes, data_dir, json};
use serde_json::Value;

const OBJECTS: u64 = 40;
const LEN: usize = 400_000;

fn shown(daemon: &Daemon) -> Value {
    json(&daemon.admin("/volumes/1"))
}

fn phase(daemon: &Daemon) -> String {
    shown(daemon)["compaction"]["phase"].as_str().unwrap_or("none").to_owned()
}

fn url(key: u64) -> String {
    format!("/1/{key}/0/{COOKIE}")
}

/// Stores objects, a large one among them, and deletes all but every fourth.
fn fill(daemon: &Daemon) {
    let mut client = daemon.client();
    for key in 0..OBJECTS {
        assert_eq!(client.put(&url(key), &bytes(key, LEN)).unwrap().status, 201);
    }
    assert_eq!(client.put(&url(OBJECTS), &bytes(OBJECTS, 3_000_000)).unwrap().status, 201);
    for key in (0..OBJECTS).filter(|key| key % 4 != 0) {
        assert_eq!(client.request("DELETE", &url(key), &[], None).unwrap().status, 204);
    }
}

fn check(daemon: &Daemon) {
    let mut client = daemon.client();
    for key in 0..OBJECTS {
        let got = client.get(&url(key)).unwrap();
        match key % 4 {
            0 => assert!(got.body == bytes(key, LEN), "object {key}: {}", got.status),
            _ => assert_eq!(got.status, 404, "object {key}"),
        }
    }
    assert!(client.get(&url(OBJECTS)).unwrap().body == bytes(OBJECTS, 3_000_000));
}

/// The volume files in a directory.
fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.contains(".vol")).collect();
    names.sort();
    names
}

/// Options of a daemon that keeps no tombstones, with two data directories.
fn options(dir: &Path, background: &str) -> Options {
    let second = dir.join("second").to_str().unwrap().to_owned();
    Options {
        config: format!("[compaction]\npolicy = \"off\"\ntombstone_keep = \"0s\"\n{background}"),
        args: vec!["--data".into(), second],
        shards: 2,
        ..Options::default()
    }
}

#[test]
fn volume_is_compacted_while_it_is_read_and_written() {
    let dir = data_dir();
    let quick = "[background]\nrate_min = \"256MiB\"\n";
    let daemon = Daemon::start(dir.path(), &options(dir.path(), quick));
    fill(&daemon);
    let (used, extents) = (shown(&daemon)["used"].as_u64().unwrap(), &shown(&daemon)["extents"]);
    assert!(extents.as_u64() > Some(0), "the file system reports no extents");
    let is_over = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let (daemon, is_over) = (&daemon, &is_over);
        let writer = scope.spawn(move || {
            let (mut client, mut key) = (daemon.client(), 1000);
            while !is_over.load(Ordering::Relaxed) {
                let put = client.put(&url(key), &bytes(key, 3000)).unwrap();
                assert_eq!(put.status, 201);
                key += 1;
            }
            key
        });
        let reader = scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                check(daemon);
            }
        });
        for round in 1..=3 {
            let begun = daemon.admin_request("POST", "/volumes/1/compact", "");
            assert_eq!(begun.status, 202, "{begun:?}");
            daemon.wait_until("its end", || shown(daemon)["compactions"] == round);
            let last = shown(daemon)["last_compaction"].clone();
            assert_eq!(last["outcome"], "done", "{last}");
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        writer.join().unwrap()
    });
    assert!(written > 1000);
    assert_eq!(files(&dir.path().join("data")), ["1.3.vol"]);
    let info = shown(&daemon);
    assert_eq!(info["generation"], 3);
    let added = (written - 1000) * 8192;
    assert!(info["used"].as_u64().unwrap() < used / 2 + added, "{info}");
    assert!(info["extents"].as_u64() > Some(0), "{info}");
    daemon.kill();
    let daemon = Daemon::start(dir.path(), &options(dir.path(), ""));
    check(&daemon);
    let mut client = daemon.client();
    for key in 1000..written {
        assert!(client.get(&url(key)).unwrap().body == bytes(key, 3000), "object {key}");
    }
}

#[test]
fn volume_moves_and_gets_another_size_by_the_command_line() {
    let dir = data_dir();
    let (first, second) = (dir.path().join("data"), dir.path().join("second"));
    let daemon = Daemon::start(dir.path(), &options(dir.path(), ""));
    fill(&daemon);
    let done = |args: &[&str]| {
        let (code, printed, said) = daemon.command(args);
        assert_eq!(code, 0, "{args:?}: {said}");
        assert!(printed.starts_with("volume 1: compacted, "), "{printed}");
    };
    done(&["volume", "move", "1", "--disk", "1", "--size", "32MiB", "--wait"]);
    assert_eq!((files(&first), files(&second)), (vec![], vec!["1.1.vol".to_owned()]));
    assert_eq!(std::fs::metadata(second.join("1.1.vol")).unwrap().len(), 32 << 20);
    let info = shown(&daemon);
    assert_eq!((&info["disk"], &info["size"]), (&1.into(), &(32 << 20).into()), "{info}");
    check(&daemon);
    done(&["volume", "compact", "1", "--size", "48MiB", "--wait"]);
    assert_eq!(files(&second), ["1.2.vol"]);
    let mut client = daemon.client();
    for key in 0..12 {
        assert_eq!(client.put(&url(2000 + key), &bytes(key, 1 << 20)).unwrap().status, 201);
    }
    let (code, printed, said) = daemon.command(&["volume", "compact", "1", "--size", "16MiB"]);
    assert_eq!((code, &printed[..]), (1, ""));
    assert!(said.contains("of it live, which need a file of"), "{said}");
    done(&["volume", "move", "1", "--disk", "0", "--wait"]);
    assert_eq!((files(&first), files(&second)), (vec!["1.3.vol".to_owned()], vec![]));
    drop(client);
    assert!(daemon.stop().success());
    let daemon = Daemon::start(dir.path(), &options(dir.path(), ""));
    check(&daemon);
    let mut client = daemon.client();
    for key in 0..12 {
        assert!(client.get(&url(2000 + key)).unwrap().body == bytes(key, 1 << 20));
    }
    let info = shown(&daemon);
    assert_eq!((&info["disk"], &info["size"]), (&0.into(), &(48 << 20).into()), "{info}");
}

#[test]
fn compaction_is_paused_resumed_cancelled_and_ended_by_a_deletion() {
    let dir = data_dir();
    let (first, second) = (dir.path().join("data"), dir.path().join("second"));
    // Slow enough that it does not end while it is looked at.
    let slow = "[background]\nrate_min = \"64KiB\"\nrate_max = \"1MiB\"\n";
    let daemon = Daemon::start(dir.path(), &options(dir.path(), slow));
    fill(&daemon);
    let printed = |args: &[&str]| {
        let (code, printed, said) = daemon.command(args);
        assert_eq!(code, 0, "{args:?}: {said}");
        printed
    };
    assert!(printed(&["background", "pause"]).contains("paused"));
    let begun = printed(&["volume", "compact", "1"]);
    assert!(begun.contains("waits until background work is resumed"), "{begun}");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((phase(&daemon), files(&first)), ("waiting".to_owned(), vec!["1.0.vol".to_owned()]));
    assert!(printed(&["background", "resume"]).contains("resumed"));
    let read = || shown(&daemon)["compaction"]["read"].as_u64().unwrap_or(0);
    daemon
        .wait_until("some of it to be copied", || phase(&daemon) == "copying" && read() > 1 << 20);
    assert_eq!(files(&first), ["1.0.vol", "1.1.vol"]);
    let paused = daemon.admin_request("POST", "/background/pause", "");
    assert_eq!((paused.status, json(&paused)["paused"].clone()), (200, true.into()));
    // A step that had begun may end.
    std::thread::sleep(Duration::from_millis(500));
    let at = read();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!((phase(&daemon), read()), ("copying".to_owned(), at));
    check(&daemon);
    assert_eq!(daemon.admin_request("POST", "/background/resume", "").status, 200);
    daemon.wait_until("more to be copied", || read() > at);
    let refused = daemon.admin_request("POST", "/volumes/1/compact", "");
    assert_eq!(refused.status, 409, "{refused:?}");
    let cancelled = daemon.admin_request("POST", "/volumes/1/cancel-compaction", "");
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let last = json(&cancelled)["last_compaction"].clone();
    assert_eq!((&last["outcome"], &last["gained"]), (&"cancelled".into(), &0.into()), "{last}");
    // The figures of a compaction that came to nothing are those of its work.
    assert!(last["read"].as_u64() > Some(1 << 20), "{last}");
    assert_eq!(files(&first), ["1.0.vol"]);
    check(&daemon);
    // A move is cancelled by the command line, and leaves nothing on the other disk.
    printed(&["volume", "move", "1", "--disk", "1"]);
    daemon.wait_until("the new file", || files(&second) == ["1.1.vol"] && read() > 1 << 20);
    let said = printed(&["volume", "compact", "1", "--cancel"]);
    assert_eq!(said, "volume 1: the compaction is cancelled\n");
    assert_eq!((files(&first), files(&second)), (vec!["1.0.vol".to_owned()], vec![]));
    assert_eq!(daemon.admin_request("POST", "/volumes/1/cancel-compaction", "").status, 409);
    check(&daemon);
    printed(&["volume", "move", "1", "--disk", "1"]);
    daemon.wait_until("the new file", || files(&second) == ["1.1.vol"] && read() > 1 << 20);
    assert_eq!(daemon.admin_request("DELETE", "/volumes/1", "").status, 204);
    assert_eq!((files(&first), files(&second)), (vec![], vec![]));
}

#[test]
fn compaction_without_room_is_refused_with_figures() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &options(dir.path(), ""));
    fill(&daemon);
    let disk = json(&daemon.admin("/status"))["disks"][0].clone();
    let size = disk["size"].as_u64().unwrap();
    let wanted = (size >> 20) + 1;
    assert!(wanted < 1 << 20, "this test needs a disk of less than 1 TiB: set HAYLOFT_TEST_DIR");
    for place in [0, 1] {
        let body = format!(r#"{{"size": "{wanted}MiB", "disk": {place}}}"#);
        let refused = daemon.admin_request("POST", "/volumes/1/compact", &body);
        let why = json(&refused)["error"].as_str().unwrap().to_owned();
        assert_eq!(refused.status, 507, "{why}");
        let has_figures = why.contains("the new file needs ") && why.contains(" are free");
        assert!(has_figures && why.contains("iB"), "{why}");
    }
    assert_eq!(shown(&daemon)["compaction"], Value::Null);
    assert_eq!(files(&dir.path().join("data")), ["1.0.vol"]);
    assert!(files(&dir.path().join("second")).is_empty());
    check(&daemon);
    assert_eq!(daemon.admin_request("POST", "/volumes/1/compact", "").status, 202);
    daemon.wait_until("its end", || shown(&daemon)["compactions"] == 1);
    check(&daemon);
}
