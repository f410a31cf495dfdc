//! Lists of the objects of a running daemon, by the admin API and by the command line.

mod daemon_harness;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use daemon_harness::{COOKIE, Daemon, Options, bytes, data_dir, json, path};
use serde_json::Value;

const PHOTOS: u64 = 60;

fn fill(daemon: &Daemon) {
    let mut client = daemon.client();
    for key in 0..PHOTOS {
        let len = usize::try_from(1000 + key * 700).unwrap();
        assert_eq!(client.put(&path(key), &bytes(key, len)).unwrap().status, 201);
    }
    assert_eq!(client.put(&path(1000), &bytes(1000, 3_000_000)).unwrap().status, 201);
    for key in (0..PHOTOS).step_by(7) {
        assert_eq!(client.request("DELETE", &path(key), &[], None).unwrap().status, 204);
    }
    assert_eq!(client.put(&path(5), &bytes(5, 10)).unwrap().status, 204);
}

fn sizes_expected() -> BTreeMap<u64, u64> {
    let photos = (0..PHOTOS).filter(|key| key % 7 > 0).map(|key| (key, 1000 + key * 700));
    photos.chain([(1000, 3_000_000), (5, 10)]).collect()
}

/// The objects and the last line of a list as JSON.
fn split(text: &str) -> (Vec<Value>, Value) {
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let (positions, objects): (Vec<Value>, Vec<Value>) =
        lines.partition(|line: &Value| line.get("position").is_some());
    (objects, positions.last().expect("a list ends with its position").clone())
}

fn list(daemon: &Daemon, target: &str) -> (Vec<Value>, Value) {
    let reply = daemon.admin(target);
    assert_eq!(reply.status, 200, "{reply:?}");
    split(std::str::from_utf8(&reply.body).unwrap())
}

fn sizes(objects: &[Value]) -> BTreeMap<u64, u64> {
    let live = objects.iter().filter(|object| object["state"] == "live");
    let pairs: Vec<_> = live
        .map(|object| (object["key"].as_u64().unwrap(), object["size"].as_u64().unwrap()))
        .collect();
    let map: BTreeMap<_, _> = pairs.iter().copied().collect();
    assert_eq!(map.len(), pairs.len(), "each once");
    map
}

fn compact(daemon: &Daemon) {
    let (code, printed, said) = daemon.command(&["volume", "compact", "1", "--wait"]);
    assert_eq!(code, 0, "{printed}{said}");
}

#[test]
fn running_daemon_lists_its_photos_in_lines_and_columns() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options { shards: 2, ..Options::default() });
    fill(&daemon);
    let (objects, end) = list(&daemon, "/volumes/1/objects");
    assert_eq!(sizes(&objects), sizes_expected());
    assert_eq!(end["end"], true);
    let large = objects.iter().find(|object| object["key"] == 1000).unwrap();
    assert_eq!((&large["large"], &large["alt"]), (&Value::from(true), &Value::from(0)));
    assert!(large["modified"].as_u64().unwrap() > 1_700_000_000, "{large}");
    let (code, printed, said) = daemon.command(&["list", "--json"]);
    assert_eq!((code, &said[..]), (0, ""));
    assert!(!printed.contains(COOKIE) && !printed.contains("cookie"), "{printed}");
    let (by_command, command_end) = split(&printed);
    assert_eq!(sizes(&by_command), sizes_expected());
    assert!(by_command.iter().all(|object| object["volume"] == 1));
    assert_eq!(command_end["position"], end["position"]);

    let (code, printed, said) = daemon.command(&["list", "--volume", "1", "--deleted"]);
    assert_eq!((code, &said[..]), (0, ""));
    let mut lines = printed.lines();
    assert_eq!(
        lines.next(),
        Some("#volume\tkey\talt\tstate\tsize\tcontent_type\tmodified\tversion\texpires")
    );
    let position = end["position"].as_str().unwrap();
    assert_eq!(lines.next_back().unwrap(), format!("# volume 1: end, position {position}"));
    let deleted = lines.clone().filter(|line| line.contains("\tdeleted\t-\t-\t20")).count();
    assert_eq!(deleted, 9, "{printed}");
    assert_eq!(lines.count(), 9 + sizes_expected().len());
    assert!(printed.contains("\n1\t5\t0\tlive\t10\t"), "{printed}");

    // A second volume, and one that is not there.
    let made = daemon.admin_request("POST", "/volumes", r#"{"size": "16MiB"}"#);
    assert_eq!(made.status, 201, "{made:?}");
    let mut client = daemon.client();
    let second = path(77).replacen("/1/", "/2/", 1);
    assert_eq!(client.put(&second, b"x").unwrap().status, 201);
    let (code, printed, _) = daemon.command(&["list"]);
    assert_eq!(code, 0);
    assert!(printed.contains("\n2\t77\t0\tlive\t1\t"), "{printed}");
    assert_eq!(printed.lines().filter(|line| line.starts_with('#')).count(), 3);
    let (code, printed, said) = daemon.command(&["list", "--volume", "9", "--volume", "2"]);
    assert_eq!(code, 1);
    assert!(said.contains("There is no volume 9.") && printed.contains("\n2\t77\t"), "{said}");
    let (code, _, said) = daemon.command(&["list", "--since", "5"]);
    assert!(code == 2 && said.contains("--volume"), "{said}");
    drop(client);
    assert!(daemon.stop().success());
}

#[test]
fn pages_go_on_after_compactions_and_restarts() {
    let dir = data_dir();
    let config = "[compaction]\npolicy = \"off\"\n".to_owned();
    let options = Options { config, ..Options::default() };
    let mut daemon = Daemon::start(dir.path(), &options);
    fill(&daemon);
    let (whole, _) = list(&daemon, "/volumes/1/objects?deleted");
    let (mut objects, mut position) = (Vec::new(), "0".to_owned());
    for page in 0.. {
        let target = format!("/volumes/1/objects?limit=9&deleted&since={position}");
        let (more, end) = list(&daemon, &target);
        assert!(more.len() <= 9);
        objects.extend(more);
        position = end["position"].as_str().unwrap().to_owned();
        if end["end"] == true {
            break;
        }
        match page {
            1 => compact(&daemon),
            2 => {
                daemon.kill();
                daemon = Daemon::start(dir.path(), &options);
            }
            _ => {}
        }
    }
    assert_eq!(objects, whole);
    let mut client = daemon.client();
    assert_eq!(client.put(&path(500), b"new").unwrap().status, 201);
    let (code, printed, _) =
        daemon.command(&["list", "--volume", "1", "--json", "--since", &position]);
    assert_eq!(code, 0);
    let (new, _) = split(&printed);
    assert_eq!(sizes(&new), BTreeMap::from([(500, 3)]));
    drop(client);
    assert!(daemon.stop().success());
}

#[test]
fn deletions_that_a_compaction_has_forgotten_are_gone() {
    let dir = data_dir();
    let config = "[compaction]\npolicy = \"off\"\ntombstone_keep = \"0s\"\n".to_owned();
    let daemon = Daemon::start(dir.path(), &Options { config, ..Options::default() });
    fill(&daemon);
    let (_, page) = list(&daemon, "/volumes/1/objects?limit=5");
    let position = page["position"].as_str().unwrap();
    compact(&daemon);
    let target = format!("/volumes/1/objects?since={position}");
    let gone = daemon.admin(&format!("{target}&deleted"));
    assert_eq!(gone.status, 410, "{gone:?}");
    let reason = json(&gone)["error"].as_str().unwrap().to_owned();
    assert!(reason.contains("begin from the start"), "{reason}");
    let (code, _, said) =
        daemon.command(&["list", "--volume", "1", "--deleted", "--since", position]);
    assert!(code == 1 && said.contains("begin from the start"), "{said}");
    let (rest, _) = list(&daemon, &target);
    let keys: BTreeSet<_> = sizes(&rest).into_keys().collect();
    assert!(keys.contains(&1000) && keys.contains(&5), "objects are complete all the same");
    let (all, _) = list(&daemon, "/volumes/1/objects?deleted");
    assert_eq!(sizes(&all), sizes_expected());
    assert!(daemon.stop().success());
}

#[test]
fn lists_hold_no_buffer_and_a_closed_pipe_is_no_failure() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    fill(&daemon);
    let used = daemon.metric("hayloft_buffer_bytes_used", "");
    let mut listing = Command::new(env!("CARGO_BIN_EXE_hayloft"))
        .args(["list", "--admin", &daemon.admin.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(listing.stdout.take());
    let ended = listing.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), &ended.stderr[..]), (Some(0), &b""[..]));
    daemon.wait_until("the buffers", || daemon.metric("hayloft_buffer_bytes_used", "") <= used);
    let (code, _, said) = daemon.command(&["list"]);
    assert_eq!(code, 0, "{said}");
    assert!(daemon.stop().success());
}
