//! Suspect volumes in the running daemon: damage behind its back, restarts, and the operator's word.

mod daemon_harness;

use std::os::unix::fs::FileExt;
use std::path::Path;

use daemon_harness::{Daemon, Options, bytes, data_dir, json, path};
use hayloft::volume::Superblock;
use hayloft::volume::format::decode_header;
use serde_json::Value;

const PHOTOS: u64 = 24;
const LEN: usize = 500_000;

fn shown(daemon: &Daemon, volume: u32) -> Value {
    json(&daemon.admin(&format!("/volumes/{volume}")))
}

fn fill(daemon: &Daemon) {
    let mut client = daemon.client();
    for key in 0..PHOTOS {
        assert_eq!(client.put(&path(key), &bytes(key, LEN)).unwrap().status, 201);
    }
}

/// Flips a bit in the data of these photos.
fn damage(dir: &Path, keys: &[u64]) {
    let path = dir.join("data/1.0.vol");
    let bytes = std::fs::read(&path).unwrap();
    let incarnation = Superblock::decode(&bytes[..4096]).unwrap().incarnation;
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let mut count = 0;
    for at in (65_536..bytes.len() - 4096).step_by(512) {
        if let Some((header, 0)) = decode_header(&bytes[at..], incarnation, at as u64)
            && keys.contains(&header.id.key.0)
        {
            let place = at + header.layout().data_start + 100;
            file.write_all_at(&[bytes[place] ^ 4], place as u64).unwrap();
            count += 1;
        }
    }
    assert_eq!(count, keys.len());
    file.sync_all().unwrap();
}

fn get(daemon: &Daemon, key: u64) -> u16 {
    daemon.client().get(&path(key)).unwrap().status
}

#[test]
fn damaged_disk_takes_its_volume_out_until_an_operator_says_so() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    fill(&daemon);
    assert_eq!(daemon.admin_request("POST", "/volumes", r#"{"id": 2}"#).status, 201);
    damage(dir.path(), &[1, 8, 16]);
    // The first damage leads to the others: the burst reads all of the volume.
    assert_eq!(get(&daemon, 8), 500);
    daemon.wait_until("volume 1 is suspect", || !shown(&daemon, 1)["suspect"].is_null());
    let info = shown(&daemon, 1);
    assert_eq!((&info["state"], &info["write_state"]), (&"read_only".into(), &"fenced".into()));
    assert!(info["hard_errors"].as_u64() >= Some(3), "{info}");
    let (code, printed, _) = daemon.command(&["volume", "list"]);
    assert!(code == 0 && printed.contains("\n 1  suspect "), "{printed}");
    assert_eq!(daemon.metric("hayloft_volume_suspect", "volume=\"1\""), 1.0);
    let mut client = daemon.client();
    let put = client.put(&path(100), b"x").unwrap();
    assert_eq!(put.status, 503);
    assert!(put.header("retry-after").is_some(), "{put:?}");
    assert!(String::from_utf8_lossy(&put.body).contains("reads of its disk failed"), "{put:?}");
    assert_eq!(client.request("DELETE", &path(3), &[], None).unwrap().status, 503);
    assert_eq!(get(&daemon, 3), 200);
    // Uploads for which the store chooses go to the other volume, and the daemon is ready.
    let posted = client.request("POST", "/", &[], Some(b"elsewhere")).unwrap();
    assert_eq!(posted.status, 201);
    assert!(String::from_utf8_lossy(&posted.body).contains(r#""volume":2"#), "{posted:?}");
    assert!(daemon.ready());
    assert!(shown(&daemon, 2)["suspect"].is_null());
    let (code, _, said) = daemon.command(&["volume", "writable", "1"]);
    assert_eq!(code, 1);
    assert!(said.contains("hayloft volume clear"), "{said}");

    let log = daemon.log_text();
    assert!(log.contains("suspect: reads failed at 3 places for good"), "{log}");
    daemon.kill();
    let daemon = Daemon::start(dir.path(), &Options::default());
    assert!(!shown(&daemon, 1)["suspect"].is_null(), "also after a kill");
    assert_eq!(daemon.client().put(&path(100), b"x").unwrap().status, 503);
    let (code, printed, said) = daemon.command(&["volume", "clear", "1"]);
    assert_eq!((code, &printed[..]), (0, "volume 1: writable\n"), "{said}");
    assert_eq!(daemon.client().put(&path(100), b"x").unwrap().status, 201);
    let (code, _, said) = daemon.command(&["volume", "clear", "1"]);
    assert_eq!(code, 1);
    assert!(said.contains("Volume 1 is not suspect"), "{said}");

    // What is known does not count again, also not in the next start.
    for key in [1, 8, 16] {
        assert_eq!(get(&daemon, key), 500);
    }
    assert_eq!(daemon.stop().code(), Some(0));
    let daemon = Daemon::start(dir.path(), &Options::default());
    for key in [1, 8, 16] {
        assert_eq!(get(&daemon, key), 500);
    }
    daemon.wait_until("the errors were seen", || {
        daemon.metric("hayloft_checksum_failures_total", "") >= 3.0
    });
    let info = shown(&daemon, 1);
    assert!(info["suspect"].is_null() && info["hard_errors"] == 0, "{info}");
    assert_eq!(daemon.client().put(&path(101), b"x").unwrap().status, 201);
}

#[test]
fn one_damaged_popular_photo_fences_nothing() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    fill(&daemon);
    damage(dir.path(), &[5]);
    let mut client = daemon.client();
    for _ in 0..2000 {
        assert_eq!(client.get(&path(5)).unwrap().status, 500);
    }
    daemon.wait_until("a burst was read", || shown(&daemon, 1)["probes"].as_u64() >= Some(500));
    let info = shown(&daemon, 1);
    assert_eq!((&info["suspect"], &info["hard_errors"]), (&Value::Null, &1.into()), "{info}");
    assert_eq!(client.put(&path(100), b"x").unwrap().status, 201);
}

#[test]
fn volume_without_a_record_is_probed_before_it_takes_writes() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    fill(&daemon);
    assert_eq!(daemon.stop().code(), Some(0));
    let keys: Vec<u64> = (0..PHOTOS).collect();
    damage(dir.path(), &keys);
    std::fs::write(dir.path().join("data/health.json"), "lost").unwrap();
    let daemon = Daemon::start(dir.path(), &Options::default());
    assert_eq!(shown(&daemon, 1)["write_state"], "fenced");
    assert_eq!(daemon.client().put(&path(100), b"x").unwrap().status, 503);
    daemon.wait_until("it is recorded", || {
        let record = std::fs::read_to_string(dir.path().join("data/health.json")).unwrap();
        record.contains("reads failed before the volume served")
    });
}
