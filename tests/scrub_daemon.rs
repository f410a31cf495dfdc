//! Scrubs of the running daemon on a real file system, by the admin API and by the command line.

mod daemon_harness;

use std::os::unix::fs::FileExt;
use std::path::Path;

use daemon_harness::{COOKIE, Daemon, Options, bytes, data_dir, json, path};
use hayloft::volume::Superblock;
use hayloft::volume::format::decode_header;
use serde_json::Value;

const PHOTOS: u64 = 40;
const LEN: usize = 30_000;
const LARGE: u64 = 1000;

fn shown(daemon: &Daemon) -> Value {
    json(&daemon.admin("/volumes/1"))
}

fn fill(daemon: &Daemon) {
    let mut client = daemon.client();
    for key in 0..PHOTOS {
        assert_eq!(client.put(&path(key), &bytes(key, LEN)).unwrap().status, 201);
    }
    assert_eq!(client.put(&path(LARGE), &bytes(LARGE, 3_000_000)).unwrap().status, 201);
}

/// Flips a bit in the data of a photo.
fn damage(dir: &Path, key: u64) {
    let path = dir.join("data/1.0.vol");
    let bytes = std::fs::read(&path).unwrap();
    let incarnation = Superblock::decode(&bytes[..4096]).unwrap().incarnation;
    let place = (65_536..bytes.len() - 4096).step_by(512).find_map(|at| {
        let (header, _) = decode_header(&bytes[at..], incarnation, at as u64)?;
        (header.id.key.0 == key).then(|| at + header.layout().data_start + 100)
    });
    let place = place.expect("the photo is in the file");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[bytes[place] ^ 4], place as u64).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn damage_is_found_listed_and_gone_after_the_photo_is_stored_again() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    fill(&daemon);
    let (code, printed, said) = daemon.command(&["volume", "scrub", "1", "--wait"]);
    assert_eq!(code, 0, "{said}");
    assert!(printed.starts_with("volume 1: 41 needles and 3 parts verified, "), "{printed}");
    assert!(printed.ends_with("read: no damage\n"), "{printed}");
    let before = shown(&daemon);
    assert_eq!(before["scrubs"], 1, "{before}");
    assert_eq!(before["last_scrub"]["index_compared"], true, "{before}");
    damage(dir.path(), 7);
    let (code, printed, said) = daemon.command(&["volume", "scrub", "1", "--wait"]);
    assert_eq!(code, 1, "{said}");
    assert!(printed.contains("1 damaged place (hayloft volume damage 1)"), "{printed}");
    let (code, printed, _) = daemon.command(&["volume", "damage", "1"]);
    assert_eq!(code, 0);
    assert!(printed.contains("photo 7/0: chunk 0 of its data is damaged, found 20"), "{printed}");
    assert!(!printed.contains(COOKIE), "{printed}");
    assert!(daemon.log_text().contains("hayloft volume damage lists all"), "{}", daemon.log_text());
    assert_eq!(daemon.metric("hayloft_volume_found_damage", "") as u64, 1);
    let mut client = daemon.client();
    assert_eq!(client.put(&path(7), &bytes(7, LEN)).unwrap().status, 204);
    let (code, printed, said) = daemon.command(&["volume", "scrub", "1", "--wait"]);
    assert_eq!(code, 0, "{printed}{said}");
    let (_, printed, _) = daemon.command(&["volume", "damage", "1"]);
    assert_eq!(printed, "volume 1: no damage is known\n");
    assert_eq!(daemon.metric("hayloft_volume_scrubs_total", "") as u64, 3);
    let verified = shown(&daemon)["verified"].as_u64().unwrap();
    assert!(verified >= before["verified"].as_u64().unwrap() && verified > 1_700_000_000);
    drop(client);
    assert!(daemon.stop().success());
    let daemon = Daemon::start(dir.path(), &Options::default());
    let after = shown(&daemon);
    assert_eq!((&after["verified"], &after["scrubs"]), (&verified.into(), &0.into()), "{after}");
    assert!(daemon.stop().success());
}

#[test]
fn neighbourhood_of_a_damaged_photo_is_read_at_once() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    fill(&daemon);
    [5, 20, 33].iter().for_each(|key| damage(dir.path(), *key));
    assert_eq!(shown(&daemon)["found_damage"], 0);
    assert_eq!(daemon.client().get(&path(20)).unwrap().status, 500);
    daemon.wait_until("the damage to be found", || shown(&daemon)["found_damage"] == 3);
    let listed = json(&daemon.admin("/volumes/1/damage"));
    let keys: Vec<_> = listed.as_array().unwrap().iter().map(|place| &place["key"]).collect();
    assert_eq!(keys, [5, 20, 33], "{listed}");
    assert_eq!(shown(&daemon)["scrubs"], 0, "nobody asked for a pass");
    assert!(daemon.stop().success());
}

#[test]
fn scrubs_of_volumes_that_cannot_be_scrubbed_are_refused() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    for (method, target) in [("POST", "/volumes/9/scrub"), ("GET", "/volumes/9/damage")] {
        let reply = daemon.admin_request(method, target, "");
        assert_eq!(reply.status, 404, "{target}: {reply:?}");
    }
    let (code, _, said) = daemon.command(&["volume", "scrub", "9", "--wait"]);
    assert_eq!(code, 1);
    assert!(said.contains("There is no volume 9."), "{said}");
    let read_only = daemon.admin_request("POST", "/volumes/1/read-only", "");
    assert_eq!(read_only.status, 200);
    let (code, printed, said) = daemon.command(&["volume", "scrub", "1", "--wait"]);
    assert_eq!(code, 0, "a volume that takes no writes is scrubbed: {printed}{said}");
    assert!(daemon.stop().success());
}
