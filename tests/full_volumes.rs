//! Full volumes, and statistics that are current after each acknowledgement.

mod daemon_harness;

use std::path::Path;
use std::time::{Duration, Instant};

use daemon_harness::{COOKIE, Client, Daemon, Options, bytes, data_dir, json, path};

fn daemon(dir: &Path, volume_size: &'static str) -> Daemon {
    Daemon::start(dir, &Options { shards: 2, volume_size, ..Options::default() })
}

fn volume(daemon: &Daemon) -> serde_json::Value {
    json(&daemon.admin("/volumes/1"))
}

fn strict(daemon: &Daemon) -> (u16, String) {
    let reply = daemon.admin("/readyz?strict");
    (reply.status, reply.text())
}

/// Warnings in the log.
fn warnings(daemon: &Daemon) -> Vec<String> {
    let log = daemon.log_text();
    log.lines().filter(|line| line.contains(" WARN ")).map(str::to_owned).collect()
}

/// Waits until a warning contains `part`, since log lines are written with a delay; returns all warnings.
fn warnings_with(daemon: &Daemon, part: &str) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let lines = warnings(daemon);
        if lines.iter().any(|line| line.contains(part)) {
            return lines;
        }
        assert!(Instant::now() < deadline, "no warning of {part:?}: {lines:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Fills volume 1 with photos of this length (bytes); returns the number stored.
fn fill(client: &mut Client, len: usize) -> u64 {
    for key in 0..100_000 {
        match client.put(&path(key), &bytes(key, len)).unwrap().status {
            201 => {}
            507 => return key,
            status => panic!("{status}"),
        }
    }
    panic!("the volume never becomes full")
}

#[test]
fn full_volume_is_logged_once_and_fails_strict_readiness() {
    let dir = data_dir();
    let daemon = daemon(dir.path(), "16MiB");
    assert_eq!(strict(&daemon).0, 200);
    let mut client = daemon.client();
    let stored = fill(&mut client, 300_000);
    assert!(stored > 20, "{stored}");
    for key in 0..5 {
        assert_eq!(client.put(&path(1_000_000 + key), &bytes(key, 900_000)).unwrap().status, 507);
        assert_eq!(client.request("POST", "/", &[], Some(&bytes(1, 900_000))).unwrap().status, 507);
    }
    assert_eq!(volume(&daemon)["full"], true);
    // Longer than the free space of every volume: none is tried.
    for _ in 0..4 {
        let posted = daemon.client().request("POST", "/", &[], Some(&bytes(1, 3_000_000)));
        assert_eq!(posted.unwrap().status, 507);
    }
    let lines = warnings_with(&daemon, "no volume has room");
    let of_the_volume: Vec<_> = lines.iter().filter(|line| line.contains("volume=1")).collect();
    assert_eq!(of_the_volume.len(), 1, "{lines:?}");
    assert!(of_the_volume[0].contains("hayloft volume create"), "{lines:?}");
    let of_none = lines.iter().filter(|line| line.contains("no volume has room")).count();
    assert!((1..=2).contains(&of_none), "{lines:?}");
    let (status, body) = strict(&daemon);
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("No volume takes photos: 1 full."), "{body}");
    assert_eq!(daemon.admin("/readyz").status, 200);
    assert_eq!(daemon.metric("hayloft_volume_full", "volume=\"1\""), 1.0);

    // A second volume restores readiness; making it read-only removes it again.
    let mut admin = Client::new(daemon.admin);
    let made = admin.request("POST", "/volumes", &[], Some(b"{}")).unwrap();
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(strict(&daemon).0, 200);
    let mut admin = Client::new(daemon.admin);
    assert_eq!(admin.request("POST", "/volumes/2/read-only", &[], Some(b"")).unwrap().status, 200);
    let (status, body) = strict(&daemon);
    assert!(status == 503 && body.contains("1 full, 1 read_only"), "{body}");
    assert!(daemon.stop().success());
}

#[test]
fn upload_too_large_for_free_space_is_logged_once() {
    let dir = data_dir();
    let daemon = daemon(dir.path(), "16MiB");
    for _ in 0..3 {
        // Refused before the body is read, after which the connection ends.
        assert_eq!(daemon.client().put(&path(1), &bytes(1, 15 << 20)).unwrap().status, 507);
    }
    let mut lines = warnings_with(&daemon, "an upload did not fit");
    lines.retain(|line| line.contains("volume=1"));
    assert!(lines.len() == 1 && lines[0].contains("an upload did not fit"), "{lines:?}");
    assert_eq!((strict(&daemon).0, &volume(&daemon)["full"]), (200, &false.into()));
    assert_eq!(daemon.client().put(&path(1), &bytes(1, 1000)).unwrap().status, 201);
}

#[test]
fn full_volume_is_reported_full_after_restart() {
    let dir = data_dir();
    let first = daemon(dir.path(), "16MiB");
    fill(&mut first.client(), 900_000);
    assert!(first.stop().success());
    let again = daemon(dir.path(), "16MiB");
    let (status, body) = strict(&again);
    assert!(status == 503 && body.contains("1 full"), "{body}");
    warnings_with(&again, "the volume is full");
}

/// What a cache in front needs to know: photos of a volume that takes no more of them do not become old.
#[test]
fn full_volume_is_announced_as_read_only_by_reads_and_uploads() {
    let dir = data_dir();
    let daemon = daemon(dir.path(), "16MiB");
    let mut client = daemon.client();
    let announced = |reply: &daemon_harness::Reply| {
        reply.header("x-hayloft-volume").expect("the field is there").to_owned()
    };
    let stored = client.put(&path(1_000_000), &bytes(1, 5000)).unwrap();
    assert_eq!((stored.status, announced(&stored).as_str()), (201, "writable"));
    assert_eq!(announced(&client.get(&path(1_000_000)).unwrap()), "writable");
    fill(&mut client, 900_000);
    let read = client.get(&path(1_000_000)).unwrap();
    assert_eq!((read.status, announced(&read).as_str()), (200, "read-only"));
    let head = client.request("HEAD", &path(1_000_000), &[], None).unwrap();
    assert_eq!((head.status, announced(&head).as_str()), (200, "read-only"));
    // Short photos still fit, new and old ones, and so do deletes.
    let new = client.put(&path(2_000_000), &bytes(2, 100)).unwrap();
    assert_eq!((new.status, announced(&new).as_str()), (201, "read-only"));
    let posted = client.request("POST", "/1", &[], Some(b"photo")).unwrap();
    assert_eq!((posted.status, announced(&posted).as_str()), (201, "read-only"));
    let replaced = client.put(&path(2_000_000), &bytes(3, 100)).unwrap();
    assert_eq!((replaced.status, announced(&replaced).as_str()), (204, "read-only"));
    let deleted = client.request("DELETE", &path(2_000_000), &[], None).unwrap();
    assert_eq!(deleted.status, 204);
}

/// Statistics requested after an acknowledgement include its photo, however soon.
#[test]
fn volume_statistics_include_every_acknowledged_write() {
    let dir = data_dir();
    let daemon = daemon(dir.path(), "64MiB");
    let mut clients = [daemon.client(), daemon.client(), daemon.client(), daemon.client()];
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut needles = 0;
    let assert_needles = |wanted: u64, what: &str| {
        assert!(Instant::now() < deadline, "the test takes too long");
        assert_eq!(volume(&daemon)["needles"], wanted, "after {what}");
    };
    for key in 0..40 {
        let client = &mut clients[usize::try_from(key).unwrap() % 4];
        assert_eq!(client.put(&path(key), &bytes(key, 5000)).unwrap().status, 201);
        needles += 1;
        assert_needles(needles, "PUT");
        assert_eq!(client.request("POST", "/1", &[], Some(b"photo")).unwrap().status, 201);
        needles += 1;
        assert_needles(needles, "POST");
        if key % 4 == 0 {
            assert_eq!(client.request("DELETE", &path(key), &[], None).unwrap().status, 204);
            needles -= 1;
            assert_needles(needles, "DELETE");
        }
        if key % 10 == 0 {
            assert_eq!(client.put(&path(1000 + key), &bytes(key, 1_500_000)).unwrap().status, 201);
            needles += 1;
            assert_needles(needles, "a large PUT");
            let tar = batch(10_000 + key * 10, 5);
            assert_eq!(client.request("POST", "/1/batch", &[], Some(&tar)).unwrap().status, 201);
            needles += 5;
            assert_needles(needles, "a batch");
        }
    }
}

/// A tar of small photos under neighbouring keys.
fn batch(first: u64, count: u64) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for key in first..first + count {
        let mut header = tar::Header::new_gnu();
        let photo = bytes(key, 2000);
        header.set_size(photo.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("{key}/0/{COOKIE}"), &photo[..]).unwrap();
    }
    tar.into_inner().unwrap()
}
