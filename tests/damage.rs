//! Bits flipped in a volume file of a real daemon: no wrong byte, no panic, no loss of another needle.

mod daemon_harness;

use std::os::unix::fs::FileExt;

use daemon_harness::{Daemon, Options, bytes, data_dir, path};
use hayloft::runtime::split_mix;

const NEEDLES: u64 = 60;

fn content(key: u64) -> Vec<u8> {
    let mut state = key;
    bytes(key, usize::try_from(split_mix(&mut state) % 90_000).unwrap())
}

/// Reads all needles and returns the number of damaged ones. Panics on a wrong byte.
fn damaged(daemon: &Daemon, what: &str) -> usize {
    let mut client = daemon.client();
    let mut damaged = 0;
    for key in 0..NEEDLES {
        let reply = client.get(&path(key)).unwrap();
        match reply.status {
            200 => assert!(reply.body == content(key), "{what}: needle {key} has wrong bytes"),
            500 => damaged += 1,
            other => panic!("{what}: needle {key} answers {other}"),
        }
    }
    damaged
}

/// A data directory with needles, cleanly stopped, and the end of its log.
fn filled() -> (tempfile::TempDir, u64) {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let mut client = daemon.client();
    for key in 0..NEEDLES {
        assert_eq!(client.put(&path(key), &content(key)).unwrap().status, 201);
    }
    let status: serde_json::Value = serde_json::from_slice(&daemon.admin("/status").body).unwrap();
    let tail = status["volumes"][0]["tail"].as_u64().unwrap();
    assert!(daemon.stop().success());
    (dir, tail)
}

#[test]
fn bit_flip_while_running_affects_at_most_one_needle() {
    let (dir, tail) = filled();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(dir.path().join("data/1.0.vol"))
        .unwrap();
    let (mut state, mut hits) = (7, 0);
    for _ in 0..150 {
        let at = 65_536 + split_mix(&mut state) % (tail - 65_536);
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        let flipped = [byte[0] ^ (1 << (split_mix(&mut state) % 8))];
        file.write_all_at(&flipped, at).unwrap();
        file.sync_all().unwrap();
        let affected = damaged(&daemon, &format!("byte {at}"));
        assert!(affected <= 1, "byte {at}: {affected} needles affected");
        hits += affected;
        file.write_all_at(&byte, at).unwrap();
        file.sync_all().unwrap();
    }
    assert!(hits > 100, "most of the log is needles, yet only {hits} flips were detected");
    assert_eq!(damaged(&daemon, "restored"), 0);
    assert!(daemon.metric("hayloft_checksum_failures_total", "") >= 100.0);
    assert!(daemon.stop().success());
}

#[test]
fn bit_flip_while_stopped_affects_at_most_one_needle() {
    let (dir, tail) = filled();
    let volume = dir.path().join("data/1.0.vol");
    let pristine = std::fs::read(&volume).unwrap();
    let places = [0, 40, 4096, 8192, 12_288, pristine.len() as u64 - 4096, 65_536, 65_600];
    let mut state = 11;
    let random = (0..12).map(|_| 65_536 + split_mix(&mut state) % (tail - 65_536));
    let places: Vec<u64> = places.into_iter().chain(random).collect();
    let mut hits = 0;
    for at in places {
        let mut bytes = pristine.clone();
        bytes[usize::try_from(at).unwrap()] ^= 4;
        std::fs::write(&volume, &bytes).unwrap();
        let daemon = Daemon::start(dir.path(), &Options { shards: 2, ..Options::default() });
        let affected = damaged(&daemon, &format!("byte {at}"));
        assert!(affected <= 1, "byte {at}: {affected} needles affected");
        assert!(at >= 65_600 || affected == 0, "byte {at} does not belong to a needle");
        hits += affected;
        assert_eq!(daemon.client().put(&path(1000), b"goes on").unwrap().status, 201);
        let log = daemon.log_text();
        assert!(!log.contains("panicked"), "{log}");
        assert!(daemon.stop().success());
    }
    assert!(hits >= 6, "most of the log is needles, yet only {hits} flips were detected");
}
