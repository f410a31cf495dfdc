//! A real daemon with two volumes, killed repeatedly, with modified checkpoints: every photo is readable, and
//! the status and the log show which checkpoints were used.

mod daemon_harness;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use daemon_harness::{COOKIE, Client, Daemon, Options, bytes, data_dir};
use hayloft::base::limits::LOG_START;
use serde_json::Value;

const VOLUMES: [u32; 2] = [1, 2];
const CLIENTS: u64 = 8;
/// Number of photos per volume at first, and number added after each start.
const FIRST: u64 = 1600;
const MORE: u64 = 40;

fn path(volume: u32, key: u64) -> String {
    format!("/{volume}/{key}/0/{COOKIE}")
}

/// Content of a photo; differs between volumes.
fn content(volume: u32, key: u64) -> Vec<u8> {
    let seed = u64::from(volume) << 32 | key;
    bytes(seed, 600 + usize::try_from(key % 500).unwrap())
}

fn each(daemon: &Daemon, keys: std::ops::Range<u64>, work: fn(&mut Client, u32, u64)) {
    let address = daemon.data;
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let keys = keys.clone();
            scope.spawn(move || {
                let mut connection = Client::new(address);
                for key in keys.filter(|key| key % CLIENTS == client) {
                    VOLUMES.iter().for_each(|volume| work(&mut connection, *volume, key));
                }
            });
        }
    });
}

fn fill(daemon: &Daemon, keys: std::ops::Range<u64>) {
    each(daemon, keys, |client, volume, key| {
        let reply = client.put(&path(volume, key), &content(volume, key)).unwrap();
        assert_eq!(reply.status, 201, "{}", reply.text());
    });
}

fn verify(daemon: &Daemon, keys: std::ops::Range<u64>) {
    each(daemon, keys, |client, volume, key| {
        let reply = client.get(&path(volume, key)).unwrap();
        assert_eq!(reply.status, 200, "photo {key} of volume {volume}");
        assert!(reply.body == content(volume, key), "photo {key} of volume {volume}");
    });
}

fn volumes(daemon: &Daemon) -> [Value; 2] {
    VOLUMES.map(|id| {
        let reply = daemon.admin(&format!("/volumes/{id}"));
        serde_json::from_slice(&reply.body).unwrap()
    })
}

fn field(volume: &Value, name: &str) -> u64 {
    volume[name].as_u64().unwrap_or_else(|| panic!("{name} in {volume}"))
}

fn file(dir: &Path, volume: u32) -> PathBuf {
    dir.join(format!("data/{volume}.0.ckpt"))
}

/// Waits until both volumes have recent checkpoints.
fn settle(daemon: &Daemon) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let is_fresh = |volume: &Value| {
        field(volume, "checkpoint_tail") > 0 && field(volume, "checkpoint_age") < 1 << 20
    };
    while !volumes(daemon).iter().all(is_fresh) {
        assert!(Instant::now() < deadline, "{:?}", volumes(daemon));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Number of log bytes read when a volume was opened, from the daemon's log after its first `before` bytes.
fn opened(daemon: &Daemon, volume: u64, before: usize) -> u64 {
    let mark = format!("volume={volume}");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let log = daemon.log_text().split_off(before);
        let is_it = |line: &&str| {
            line.contains("open after") && line.split_whitespace().any(|word| word == mark)
        };
        if let Some(line) = log.lines().find(is_it) {
            let (_, rest) = line.split_once(" ms, ").expect(line);
            return rest.split_once(' ').expect(line).0.parse().expect(line);
        }
        assert!(Instant::now() < deadline, "the opening of volume {volume} was not logged: {log}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

type Change<'a> = &'a dyn Fn(&Path);

#[test]
fn every_photo_is_readable_whatever_happens_to_checkpoints() {
    let dir = data_dir();
    let options = Options {
        shards: 2,
        config: "checkpoint_interval = \"1MiB\"\n".to_owned(),
        ..Options::default()
    };
    let daemon = Daemon::start(dir.path(), &options);
    let mut admin = Client::new(daemon.admin);
    let made = admin.request("POST", "/volumes", &[], Some(b"{\"id\": 2}")).unwrap();
    assert!([201, 202].contains(&made.status), "{}", made.text());
    let deadline = Instant::now() + Duration::from_secs(20);
    while daemon.admin("/volumes/2").text().contains("creating") || !daemon.ready() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    fill(&daemon, 0..FIRST / 2);
    assert!(daemon.stop().success());
    let older = VOLUMES.map(|volume| std::fs::read(file(dir.path(), volume)).unwrap());

    // After a clean stop recovery reads only what might follow the checkpoint.
    let daemon = Daemon::start(dir.path(), &options);
    for volume in volumes(&daemon) {
        assert_eq!(field(&volume, "checkpoint_age"), 0, "{volume}");
        assert_eq!(field(&volume, "checkpoint_tail"), field(&volume, "tail"), "{volume}");
        assert_eq!(field(&volume, "checkpoints_discarded"), 0, "{volume}");
        assert!(field(&volume, "open_read") <= 2 << 20, "{volume}");
    }
    verify(&daemon, 0..FIRST / 2);
    fill(&daemon, FIRST / 2..FIRST);
    settle(&daemon);
    let length = Cell::new(daemon.log_text().len());
    daemon.kill();

    let edit = |dir: &Path, change: &dyn Fn(&mut Vec<u8>)| {
        for volume in VOLUMES {
            let mut bytes = std::fs::read(file(dir, volume)).unwrap();
            change(&mut bytes);
            std::fs::write(file(dir, volume), bytes).unwrap();
        }
    };
    // Name of the change, whether the checkpoint is used, whether it is discarded.
    let changes: [(&str, bool, bool, Change<'_>); 6] = [
        ("intact", true, false, &|_| ()),
        ("deleted", false, false, &|dir| {
            VOLUMES.iter().for_each(|volume| std::fs::remove_file(file(dir, *volume)).unwrap());
        }),
        ("truncated", false, true, &|dir| edit(dir, &|bytes| bytes.truncate(6000))),
        ("swapped", false, true, &|dir| {
            let [one, other] = VOLUMES.map(|volume| file(dir, volume));
            let aside = dir.join("aside");
            std::fs::rename(&one, &aside).unwrap();
            std::fs::rename(&other, &one).unwrap();
            std::fs::rename(&aside, &other).unwrap();
        }),
        ("bit-flipped", false, true, &|dir| edit(dir, &|bytes| bytes[5000] ^= 4)),
        ("older", true, false, &|dir| {
            for (volume, older) in VOLUMES.iter().zip(&older) {
                std::fs::write(file(dir, *volume), older).unwrap();
            }
        }),
    ];
    let mut stored = FIRST;
    for (what, used, discarded, change) in changes {
        change(dir.path());
        let before = length.get();
        let daemon = Daemon::start(dir.path(), &options);
        let log = daemon.log_text();
        for volume in volumes(&daemon) {
            assert_eq!(
                field(&volume, "checkpoints_discarded"),
                u64::from(discarded),
                "{what}: {log}"
            );
            // The status may already show a checkpoint written after the start; the log shows what was read.
            let read = opened(&daemon, field(&volume, "id"), before);
            let log = field(&volume, "tail") - LOG_START;
            assert_eq!(read < log, used, "{what}: {read} bytes of {log}: {volume}");
        }
        verify(&daemon, 0..stored);
        fill(&daemon, stored..stored + MORE);
        stored += MORE;
        settle(&daemon);
        length.set(daemon.log_text().len());
        daemon.kill();
    }
    let daemon = Daemon::start(dir.path(), &options);
    verify(&daemon, 0..stored);
    let warnings = daemon.log_text().matches("the checkpoint cannot be used").count();
    assert_eq!(warnings, 6, "{}", daemon.log_text());

    // Deleting a volume deletes its checkpoint.
    let deleted = admin_request(&daemon, "DELETE", "/volumes/2");
    assert!([200, 204].contains(&deleted), "{deleted}");
    assert!(!file(dir.path(), 2).exists() && file(dir.path(), 1).exists());
    assert!(daemon.stop().success());
}

fn admin_request(daemon: &Daemon, method: &str, path: &str) -> u16 {
    Client::new(daemon.admin).request(method, path, &[], None).unwrap().status
}

#[test]
fn status_and_metrics_say_since_when_something_is_dead_also_after_a_restart() {
    let dir = data_dir();
    let options = Options::default();
    let daemon = Daemon::start(dir.path(), &options);
    let volume = |daemon: &Daemon| {
        let reply = daemon.admin("/volumes/1");
        serde_json::from_slice::<Value>(&reply.body).unwrap()
    };
    let metric = |daemon: &Daemon, value: u64| {
        let line =
            format!("hayloft_volume_oldest_dead_timestamp_seconds{{volume=\"1\"}} {value}\n");
        let metrics = daemon.admin("/metrics").text();
        assert!(metrics.contains(&line), "{line} in {metrics}");
    };
    let mut client = Client::new(daemon.data);
    client.put(&path(1, 7), &content(1, 7)).unwrap();
    assert_eq!(volume(&daemon)["oldest_dead"], Value::Null);
    metric(&daemon, 0);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = now();
    let deleted = client.request("DELETE", &path(1, 7), &[], None).unwrap().status;
    assert_eq!(deleted, 204);
    let seconds = field(&volume(&daemon), "oldest_dead");
    assert!((before..=now()).contains(&seconds), "{seconds}");
    metric(&daemon, seconds);
    drop(client);
    assert!(daemon.stop().success());

    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(field(&volume(&daemon), "checkpoint_age"), 0, "the checkpoint was used");
    assert_eq!(field(&volume(&daemon), "oldest_dead"), seconds);
    daemon.kill();
    // Without the checkpoint.
    std::fs::remove_file(file(dir.path(), 1)).unwrap();
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(field(&volume(&daemon), "oldest_dead"), seconds);
    assert!(daemon.stop().success());
}
