//! Comparison of two copies of a volume in two running daemons, by digests.

mod daemon_harness;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt;
use std::path::Path;

use daemon_harness::{COOKIE, Daemon, Options, bytes, data_dir, json, path};
use hayloft::volume::Superblock;
use hayloft::volume::format::decode_header;
use serde_json::Value;

const PHOTOS: u64 = 60;
const LARGE: u64 = 1000;

fn options() -> Options {
    let config = "[compaction]\npolicy = \"off\"\n".to_owned();
    Options { config, ..Options::default() }
}

/// What a photo is stored with.
#[derive(Clone)]
struct Photo {
    url: String,
    body: Vec<u8>,
    content_type: &'static str,
    expires: Option<&'static str>,
    modified: u64,
}

/// The photo with this key. Several have an expiry, and one is stored in parts.
fn photo(key: u64) -> Photo {
    let len = if key == LARGE { 3_000_000 } else { usize::try_from(key * 997 % 40_000).unwrap() };
    Photo {
        url: path(key),
        body: bytes(key, len),
        content_type: ["image/png", "text/plain"][usize::try_from(key % 2).unwrap()],
        expires: (key % 4 == 1).then_some("4000000000.000000007"),
        modified: 1_000_000_000 + key,
    }
}

fn put(daemon: &Daemon, photo: &Photo) {
    let modified = photo.modified.to_string();
    let mut headers = vec![("Content-Type", photo.content_type), ("X-Hayloft-Modified", &modified)];
    headers.extend(photo.expires.map(|time| ("X-Hayloft-Expires", time)));
    let mut client = daemon.client();
    let reply = client.request("PUT", &photo.url, &headers, Some(&photo.body)).unwrap();
    assert!([201, 204].contains(&reply.status), "{reply:?}");
}

fn delete(daemon: &Daemon, key: u64) {
    let status = daemon.client().request("DELETE", &path(key), &[], None).unwrap().status;
    assert_eq!(status, 204);
}

/// Compares volume 1 of two daemons. Returns the exit code and standard output.
fn diff(here: &Daemon, there: &Daemon, more: &[&str]) -> (i32, String, String) {
    let with = format!("http://{}", there.admin);
    let mut args = vec!["volume", "diff", "--volume", "1", "--with", &with];
    args.extend(more);
    here.command(&args)
}

/// The differences as JSON by their keys, and the summary.
fn differences(here: &Daemon, there: &Daemon) -> (BTreeMap<u64, Value>, Value) {
    let (code, printed, said) = diff(here, there, &["--json"]);
    assert!(code < 2, "{said}");
    let mut lines: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().expect("a summary");
    assert_eq!(summary["equal"], code == 0, "{summary}");
    let found: BTreeMap<u64, Value> =
        lines.iter().map(|line| (line["key"].as_u64().unwrap(), line.clone())).collect();
    assert_eq!(found.len(), lines.len(), "each once: {printed}");
    (found, summary)
}

/// Two daemons with the same photos: stored in another order, with a history of its own, and compacted.
fn two_copies(dirs: [&Path; 2]) -> [Daemon; 2] {
    let here = Daemon::start(dirs[0], &options());
    let keys: Vec<u64> = (0..PHOTOS).chain([LARGE]).collect();
    keys.iter().for_each(|key| put(&here, &photo(*key)));
    let there = Daemon::start(dirs[1], &options());
    for key in keys.iter().rev() {
        if key % 3 == 0 {
            put(&there, &Photo { body: b"old".to_vec(), ..photo(*key) });
        }
        put(&there, &photo(*key));
        if key % 7 == 0 {
            put(&there, &photo(2000 + *key));
            delete(&there, 2000 + *key);
        }
    }
    let (code, printed, said) = there.command(&["volume", "compact", "1", "--wait"]);
    assert_eq!(code, 0, "{printed}{said}");
    [here, there]
}

/// Flips a bit in the attributes of a photo that is stored once in a file.
fn damage(file: &Path, key: u64) {
    let bytes = std::fs::read(file).unwrap();
    let incarnation = Superblock::decode(&bytes[..4096]).unwrap().incarnation;
    let places = (65_536..bytes.len() - 4096).step_by(512).filter(|at| {
        let header = decode_header(&bytes[*at..], incarnation, *at as u64);
        header.is_some_and(|(header, _)| header.id.key.0 == key)
    });
    let places: Vec<usize> = places.collect();
    assert_eq!(places.len(), 1, "it is stored once");
    let place = places[0] + 135;
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.write_all_at(&[bytes[place] ^ 4], place as u64).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn copies_with_other_histories_are_equal_and_every_difference_is_found() {
    let dirs = [data_dir(), data_dir()];
    let [here, there] = two_copies([dirs[0].path(), dirs[1].path()]);
    let (code, printed, said) = diff(&here, &there, &[]);
    assert_eq!((code, &said[..]), (0, ""), "{printed}");
    let start =
        format!("volume 1 equals volume 1 of http://{}: 61 photos, positions ", there.admin);
    assert!(printed.starts_with(&start) && printed.lines().count() == 1, "{printed}");

    // One photo is missing, one is extra, and of the others one thing differs.
    delete(&there, 3);
    put(&there, &photo(500));
    put(&there, &Photo { content_type: "image/webp", ..photo(10) });
    put(&there, &Photo { expires: Some("4000000000.000000008"), ..photo(13) });
    put(&there, &Photo { expires: None, ..photo(17) });
    put(&there, &Photo { modified: 999, ..photo(20) });
    let mut body = photo(LARGE).body;
    body[2_500_000] ^= 1;
    put(&there, &Photo { body, ..photo(LARGE) });
    delete(&there, 22);
    let url = path(22).replace(COOKIE, "0123456789abcdee");
    put(&there, &Photo { url, ..photo(22) });
    put(&there, &photo(24));
    damage(&dirs[1].path().join("data/1.1.vol"), 30);

    let (found, summary) = differences(&here, &there);
    let kinds: BTreeMap<u64, &str> =
        found.iter().map(|(key, line)| (*key, line["difference"].as_str().unwrap())).collect();
    let differ = [10, 13, 17, 20, 22, 30, LARGE].map(|key| (key, "differs"));
    let expected: BTreeMap<u64, &str> =
        differ.into_iter().chain([(3, "only_here"), (500, "only_there")]).collect();
    assert_eq!(kinds, expected);
    assert_eq!(found[&3]["there"], Value::Null);
    assert_eq!(found[&10]["here"]["content_type"], "image/png");
    assert_eq!(found[&10]["there"]["content_type"], "image/webp");
    assert_eq!(found[&17]["there"]["expires"], Value::Null);
    assert_eq!(found[&20]["there"]["modified"], 999);
    assert_eq!(found[&LARGE]["here"], found[&LARGE]["there"], "the body alone differs");
    assert_eq!(found[&30]["there"]["damaged"], true);
    assert_eq!((&summary["only_here"], &summary["only_there"]), (&1.into(), &1.into()));
    assert_eq!((&summary["differ"], &summary["there"]["damaged"]), (&7.into(), &1.into()));

    let (code, printed, said) = diff(&here, &there, &[]);
    assert_eq!(code, 1);
    let lines: BTreeSet<&str> = printed.lines().filter_map(|line| line.get(..9)).collect();
    for line in ["- 3/0: 29", "+ 500/0: ", "! 10/0: h", "! 22/0: 2", "! 30/0: h"] {
        assert!(lines.contains(line), "{line}: {printed}");
    }
    let summary = printed.lines().last().unwrap();
    assert!(summary.contains("1 only here, 1 only there, 7 differ; 61 photos here"), "{summary}");
    assert!(said.contains("1 damaged photos; hayloft volume scrub"), "{said}");
    assert!(!printed.contains(COOKIE) && !printed.contains("0123456789abcdee"), "{printed}");
    // The other way round.
    let (code, printed, _) = diff(&there, &here, &[]);
    assert!(code == 1 && printed.contains("+ 3/0: ") && printed.contains("- 500/0: "), "{printed}");
    assert!(here.stop().success());
    assert!(there.stop().success());
}

#[test]
fn copies_that_differ_everywhere_are_compared_whole() {
    let dirs = [data_dir(), data_dir()];
    let [here, there] = dirs.each_ref().map(|dir| Daemon::start(dir.path(), &options()));
    for key in 0..300 {
        let small = Photo { body: vec![1; 100], ..photo(key) };
        put(&here, &small);
        if key % 5 == 0 {
            put(&there, &small);
        }
    }
    let (found, summary) = differences(&here, &there);
    assert_eq!(found.len(), 240);
    assert!(found.iter().all(|(key, line)| key % 5 > 0 && line["difference"] == "only_here"));
    assert_eq!(
        (&summary["here"]["objects"], &summary["there"]["objects"]),
        (&300.into(), &60.into())
    );
    // Another volume of the same store, which is empty.
    let made = here.admin_request("POST", "/volumes", r#"{"size": "16MiB"}"#);
    assert_eq!(made.status, 201, "{made:?}");
    let (code, printed, _) = diff(&here, &here, &["--with-volume", "2"]);
    assert!(code == 1 && printed.contains("300 only here, 0 only there, 0 differ"), "{printed}");
    let (code, printed, _) = diff(&here, &here, &[]);
    assert!(code == 0 && printed.contains("300 photos"), "{printed}");
    let (code, printed, said) = diff(&here, &there, &["--with-volume", "7"]);
    assert_eq!((code, &printed[..]), (2, ""));
    let expected = format!("volume 7 of http://{}: There is no volume 7.", there.admin);
    assert!(said.contains(&expected), "{said}");
    assert!(here.stop().success());
    let address = there.admin;
    assert!(there.stop().success());
    let dir = data_dir();
    let alone = Daemon::start(dir.path(), &options());
    let with = address.to_string();
    let (code, _, said) = alone.command(&["volume", "diff", "--volume", "1", "--with", &with]);
    assert!(code == 2 && said.contains("cannot reach") && said.contains("--with"), "{said}");
    assert!(alone.stop().success());
}

#[test]
fn tokens_are_sent_to_the_daemon_to_which_they_belong() {
    let dirs = [data_dir(), data_dir()];
    let daemons = dirs.each_ref().map(|dir| {
        let token = dir.path().join("token");
        std::fs::write(&token, format!("the-token-of-{}\n", dir.path().display())).unwrap();
        let config = format!("admin_token_file = {:?}\n", token.display().to_string());
        Daemon::start(dir.path(), &Options { config, ..Options::default() })
    });
    let [here, there] = &daemons;
    put(here, &photo(1));
    let tokens = dirs.each_ref().map(|dir| dir.path().join("token").display().to_string());
    let [own, other] = tokens.each_ref().map(String::as_str);
    let (code, _, said) = diff(here, there, &["--token-file", own, "--with-token-file", other]);
    assert_eq!((code, &said[..]), (1, ""));
    for wrong in [["--token-file", other], ["--with-token-file", own]] {
        let (code, _, said) = diff(here, there, &wrong);
        assert!(code == 2 && said.contains("This is not the admin token"), "{said}");
    }
    let digest = here.admin("/volumes/1/digest?buckets=1");
    assert_eq!((digest.status, &json(&digest)["objects"]), (200, &1.into()));
    for daemon in daemons {
        assert!(daemon.stop().success());
    }
}
