//! Copies of volumes between two running daemons.

mod daemon_harness;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use daemon_harness::{Client, Daemon, Options, bytes, data_dir, json};

const COOKIE: &str = "5f0c9a3be7d21486";

fn url(key: u64) -> String {
    format!("/2/{key}/0/{COOKIE}")
}

fn options(tombstones: &str) -> Options {
    let config = format!("[compaction]\npolicy = \"off\"\ntombstone_keep = \"{tombstones}\"\n");
    Options { config, ..Options::default() }
}

fn put(client: &mut Client, key: u64, len: usize) {
    let body = bytes(key, len);
    let status = client.request("PUT", &url(key), &[], Some(&body)).unwrap().status;
    assert!(status == 201 || status == 204, "{status}");
}

fn delete(client: &mut Client, key: u64) {
    assert_eq!(client.request("DELETE", &url(key), &[], None).unwrap().status, 204);
}

/// A daemon with a volume 2 that has photos of all kinds.
fn source(dir: &Path, options: &Options) -> Daemon {
    let daemon = Daemon::start(dir, options);
    let (code, _, said) = daemon.command(&["volume", "create", "2", "--size", "48MiB"]);
    assert_eq!(code, 0, "{said}");
    let mut client = daemon.client();
    for key in 0..60u64 {
        put(&mut client, key, usize::try_from(key * 3001 % 90_000).unwrap());
    }
    let time = [
        ("X-Hayloft-Modified", "1000000000.000000009"),
        ("X-Hayloft-Expires", "4000000000.5"),
        ("Content-Type", "image/png"),
    ];
    let special = client.request("PUT", &url(900), &time, Some(b"special"));
    assert_eq!(special.unwrap().status, 201);
    put(&mut client, 901, 3_500_000);
    put(&mut client, 902, 1_100_000);
    daemon
}

fn hayloft(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hayloft")).args(args).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap() + &String::from_utf8_lossy(&output.stdout);
    (output.status.code().unwrap(), said)
}

fn pull(from: &Daemon, to: &Daemon, more: &[&str]) -> (i32, String) {
    let (from, to) = (from.admin.to_string(), to.admin.to_string());
    let mut args = vec!["volume", "pull", "--from", &from, "--volume", "2", "--admin", &to];
    args.extend(more);
    hayloft(&args)
}

/// Everything in volume 2, as a tar in the order of the names.
fn contents(daemon: &Daemon) -> Vec<(String, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    let (server, tar) = (daemon.admin.to_string(), dir.path().join("tar"));
    let tar = tar.display().to_string();
    let (code, said) = hayloft(&["export", "--server", &server, "--volume", "2", "-o", &tar]);
    assert_eq!(code, 0, "{said}");
    let mut archive = tar::Archive::new(std::fs::File::open(&tar).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut all = Vec::new();
        for record in entry.pax_extensions().unwrap().unwrap() {
            let record = record.unwrap();
            all.extend_from_slice(record.key_bytes());
            all.extend_from_slice(record.value_bytes());
        }
        std::io::Read::read_to_end(&mut entry, &mut all).unwrap();
        (name, all)
    });
    let mut all: Vec<_> = entries.collect();
    all.sort();
    all
}

#[test]
fn volume_becomes_a_copy_follows_its_source_and_is_its_own_master_at_the_end() {
    let (dir, other) = (data_dir(), data_dir());
    let from = source(dir.path(), &options("30d"));
    let to = Daemon::start(other.path(), &options("30d"));
    let (code, said) = pull(&from, &to, &[]);
    assert!(code == 0 && said.contains("63 photos"), "{said}");
    assert_eq!(contents(&to), contents(&from));
    let mut reader = to.client();
    for url in [url(5), url(900), url(901)] {
        let (here, there) = (reader.get(&url).unwrap(), from.client().get(&url).unwrap());
        assert_eq!(here.status, 200);
        for name in ["ETag", "Last-Modified", "Content-Type", "X-Hayloft-Expires"] {
            assert_eq!(here.header(name), there.header(name), "{name} of {url}");
        }
        assert!(here.body == there.body);
    }
    // It takes no writes, and says why.
    let refused = reader.put(&url(5), b"other").unwrap();
    assert_eq!(refused.status, 503, "{refused:?}");
    let shown = json(&to.admin("/volumes/2"));
    assert_eq!(shown["write_state"], "read_only");
    assert_eq!(
        (&shown["replica"]["complete"], shown["size"].as_u64()),
        (&true.into(), Some(48 << 20))
    );
    let mut writer = from.client();
    put(&mut writer, 950, 1_500_000);
    put(&mut writer, 5, 77);
    delete(&mut writer, 6);
    delete(&mut writer, 901);
    let (code, said) = pull(&from, &to, &[]);
    assert!(code == 0 && said.contains("2 photos") && said.contains("2 deleted"), "{said}");
    assert_eq!(contents(&to), contents(&from));
    let pulled_at = "hayloft_volume_replica_pulled_timestamp_seconds";
    let before = to.metric(pulled_at, "volume=\"2\"");
    let (code, said) = pull(&from, &to, &[]);
    assert!(code == 0 && said.contains("0 photos"), "{said}");
    assert_eq!(to.metric("hayloft_volume_replica", "volume=\"2\""), 1.0);
    let after = to.metric(pulled_at, "volume=\"2\"");
    assert!(0.0 < before && before <= after, "{before} {after}");
    assert_eq!(from.metric(pulled_at, "volume=\"2\""), 0.0);
    // A restart, and a compaction of each.
    let (data, admin) = (to.data, to.admin);
    assert!(to.stop().success());
    let mut to = Daemon::launch_on(other.path(), &options("30d"), data, admin);
    to.wait_ready();
    delete(&mut writer, 7);
    for daemon in [&from, &to] {
        let (code, _, said) = daemon.command(&["volume", "compact", "2", "--wait"]);
        assert_eq!(code, 0, "{said}");
    }
    put(&mut writer, 951, 10);
    let (code, said) = pull(&from, &to, &[]);
    assert!(code == 0 && said.contains("1 deleted") && !said.contains("compared"), "{said}");
    assert_eq!(contents(&to), contents(&from));
    // Its own master.
    let (code, _, said) = to.command(&["volume", "writable", "2"]);
    assert_eq!(code, 0, "{said}");
    put(&mut to.client(), 999, 55);
    let (code, said) = pull(&from, &to, &[]);
    assert!(code == 2 && said.contains("--replace"), "{said}");
    assert_eq!(to.client().get(&url(999)).unwrap().status, 200);
    let (code, said) = pull(&from, &to, &["--replace"]);
    assert!(code == 0 && said.contains("1 deleted") && said.contains("compared"), "{said}");
    assert_eq!(contents(&to), contents(&from));
    let (code, said) = pull(&from, &from, &["--replace"]);
    assert!(code == 1 && said.contains("copy of itself"), "{said}");
    let (code, said) = pull(&from, &to, &["--from-volume", "77"]);
    assert!(code == 2 && said.contains("no volume 77"), "{said}");
    assert!(to.stop().success() && from.stop().success());
}

#[test]
fn copy_that_was_cut_off_beyond_the_horizon_is_compared_and_equal() {
    let (dir, other) = (data_dir(), data_dir());
    let from = source(dir.path(), &options("0s"));
    let to = Daemon::start(other.path(), &options("0s"));
    assert_eq!(pull(&from, &to, &[]).0, 0);
    let mut writer = from.client();
    for key in (0..60).step_by(3) {
        delete(&mut writer, key);
    }
    put(&mut writer, 3, 500);
    put(&mut writer, 960, 2_000_000);
    let (code, _, said) = from.command(&["volume", "compact", "2", "--wait"]);
    assert_eq!(code, 0, "{said}");
    let position =
        json(&to.admin("/volumes/2"))["replica"]["position"].as_str().unwrap().to_owned();
    let behind = from.admin(&format!("/volumes/2/records?since={position}&deleted"));
    assert_eq!(behind.status, 410, "{behind:?}");
    let (code, said) = pull(&from, &to, &[]);
    assert!(code == 0 && said.contains("19 deleted") && said.contains("compared"), "{said}");
    assert_eq!(contents(&to), contents(&from));
    assert_eq!(json(&to.admin("/volumes/2"))["replica"]["complete"], true);
    let (code, said) = pull(&from, &to, &[]);
    assert!(code == 0 && !said.contains("compared"), "{said}");
    assert!(to.stop().success() && from.stop().success());
}

/// Begins a pull between two addresses.
fn begin(from: SocketAddr, to: SocketAddr) -> Child {
    let (from, to) = (from.to_string(), to.to_string());
    let args = ["volume", "pull", "--from", &from, "--volume", "2", "--admin", &to];
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The number of photos in the copy, as far as its daemon says.
fn photos(admin: SocketAddr) -> u64 {
    let reply = Client::new(admin).get("/volumes/2").ok().filter(|reply| reply.status == 200);
    reply.map_or(0, |reply| json(&reply)["needles"].as_u64().unwrap_or(0))
}

#[test]
fn pull_goes_on_after_kills_of_every_side() {
    let (dir, other) = (data_dir(), data_dir());
    let options = options("30d");
    let mut from = source(dir.path(), &options);
    let mut to = Daemon::start(other.path(), &options);
    for (round, victim) in
        ["command", "source", "copy", "command", "copy", "source"].iter().enumerate()
    {
        let mut writer = from.client();
        for key in 0..40 {
            put(&mut writer, 2000 + 100 * round as u64 + key, 120_000);
        }
        delete(&mut writer, 1 + round as u64);
        drop(writer);
        let before = photos(to.admin);
        let mut pull = begin(from.admin, to.admin);
        // In the middle, if it is not over before.
        let deadline = Instant::now() + Duration::from_secs(20);
        while photos(to.admin) == before && pull.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the pull stores something");
        }
        match *victim {
            "command" => pull.kill().unwrap(),
            "source" => {
                let (data, admin) = (from.data, from.admin);
                from.kill();
                from = Daemon::launch_on(dir.path(), &options, data, admin);
                from.wait_ready();
            }
            _ => {
                let (data, admin) = (to.data, to.admin);
                to.kill();
                to = Daemon::launch_on(other.path(), &options, data, admin);
                to.wait_ready();
            }
        }
        let status = pull.wait().unwrap();
        // A command that was not killed has gone on by itself.
        assert!(*victim == "command" || status.success(), "round {round}: {status}");
        if *victim == "command" {
            let (code, said) = self::pull(&from, &to, &[]);
            assert_eq!(code, 0, "{said}");
        }
        assert_eq!(contents(&to), contents(&from), "round {round}");
    }
    assert!(to.stop().success() && from.stop().success());
}

#[test]
fn uploads_of_records_need_rights_and_what_is_cut_stores_nothing_that_is_not_whole() {
    let (dir, other) = (data_dir(), data_dir());
    let from = source(dir.path(), &options("30d"));
    let token = other.path().join("token");
    std::fs::write(&token, "0123456789abcdef-0123\n").unwrap();
    let config = format!("admin_token_file = {:?}\n", token.display().to_string());
    let to = Daemon::start(other.path(), &Options { config, ..Options::default() });
    let new =
        to.admin_request("POST", "/volumes", r#"{"id": 2, "size": "48MiB", "replica": true}"#);
    assert_eq!(new.status, 201, "{new:?}");
    let stream = from.admin("/volumes/2/records?deleted").body;
    let send = |headers: &[(&str, &str)], path: &str, body: &[u8]| {
        Client::new(to.admin).request("POST", path, headers, Some(body)).unwrap()
    };
    let path = "/volumes/2/records";
    for (headers, status) in [
        (&[("Origin", "http://evil.example")][..], 403),
        (&[("Authorization", "Bearer wrong-wrong-wrong-")][..], 401),
    ] {
        assert_eq!(send(headers, path, &stream).status, status, "{headers:?}");
    }
    assert_eq!(send(&[], "/volumes/2/records?complet", &stream).status, 400);
    assert_eq!(send(&[], "/volumes/9/records", &stream).status, 404);
    assert_eq!(send(&[], "/volumes/1/records", &stream).status, 409, "volume 1 is no copy");
    assert_eq!(send(&[], path, b"no records").status, 400);
    assert_eq!(send(&[], path, &stream[..stream.len() - 1]).status, 400);
    let mut changed = stream.clone();
    changed[70_000] ^= 1;
    let refused = send(&[], path, &changed);
    assert_eq!(refused.status, 400, "{}", String::from_utf8_lossy(&refused.body));
    // A client that goes away in the middle of a large body.
    let mut gone = TcpStream::connect(to.admin).unwrap();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", stream.len());
    gone.write_all(head.as_bytes()).unwrap();
    gone.write_all(&stream[..stream.len() - 2_000_000]).unwrap();
    drop(gone);
    let right = [("Authorization", "Bearer 0123456789abcdef-0123")];
    let stored = send(&right, path, &stream);
    assert_eq!(stored.status, 200, "{stored:?}");
    let stored = json(&stored);
    assert_eq!(stored["replica"]["complete"], true);
    assert_eq!(
        stored["objects"].as_u64().unwrap() + stored["known"].as_u64().unwrap(),
        63,
        "{stored}"
    );
    assert_eq!(contents(&to), contents(&from));
    assert_eq!(send(&right, path, &stream).status, 409, "stored twice");
    // What is certainly absent.
    let absent = send(&[], "/volumes/2/absent", b"1/0\n1/1\n12345/0\n");
    assert_eq!(json(&absent), serde_json::json!([{"key": 1, "alt": 1}, {"key": 12345, "alt": 0}]));
    assert_eq!(send(&[], "/volumes/2/absent", b"1/0/2\n").status, 400);
    assert!(to.stop().success() && from.stop().success());
}
