//! Creating, changing and deleting volumes of a running daemon, and disks that disappear.

mod daemon_harness;

use std::path::Path;
use std::process::Command;

use daemon_harness::{
    COOKIE, Client, Daemon, Options, RawConnection, Reply, bytes, data_dir, json,
};
use serde_json::Value;

const TWO_SHARDS: fn() -> Options = || Options { shards: 2, ..Options::default() };

fn error(reply: &Reply) -> String {
    json(reply)["error"].as_str().unwrap_or_else(|| panic!("no error: {reply:?}")).to_owned()
}

fn state(daemon: &Daemon, volume: u32) -> String {
    let shown = json(&daemon.admin(&format!("/volumes/{volume}")));
    shown["state"].as_str().expect("a state").to_owned()
}

fn url(volume: u32, key: u64) -> String {
    format!("/{volume}/{key}/0/{COOKIE}")
}

/// Enough connections to reach every shard: the kernel decides which shard accepts each.
fn clients(daemon: &Daemon) -> Vec<Client> {
    (0..8).map(|_| daemon.client()).collect()
}

#[test]
fn created_volume_serves_immediately_on_every_shard() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &TWO_SHARDS());
    let mut clients = clients(&daemon);
    assert_eq!(clients[0].put(&url(2, 1), b"early").unwrap().status, 404);
    let reply = daemon.admin_request("POST", "/volumes", r#"{"size": "32MiB"}"#);
    assert_eq!((reply.status, reply.header("location")), (201, Some("/volumes/2")), "{reply:?}");
    let shown = json(&reply);
    assert_eq!((&shown["state"], &shown["size"]), (&"writable".into(), &(32 << 20).into()));
    assert_eq!(shown["shard"], 1, "the shard without volumes");
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.put(&url(2, n as u64), b"there").unwrap().status, 201);
        assert_eq!(client.get(&url(2, 0)).unwrap().body, b"there");
    }
    let reply = daemon.admin_request("POST", "/volumes", r#"{"id": 9}"#);
    assert_eq!((reply.status, json(&reply)["shard"].clone()), (201, 0.into()));
    let reply = daemon.admin_request("POST", "/volumes", r#"{"id": 9}"#);
    assert_eq!((reply.status, error(&reply).contains("exists already")), (409, true));
    let reply = daemon.admin_request("POST", "/volumes", r#"{"size": "1MiB"}"#);
    assert_eq!((reply.status, error(&reply).contains("16MiB to 1TiB")), (400, true));
    let reply = daemon.admin_request("POST", "/volumes", r#"{"disk": 1}"#);
    assert_eq!((reply.status, error(&reply).contains("data directory 1")), (400, true));
    let ids: Vec<_> = json(&daemon.admin("/volumes"))
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [1, 2, 9], "refused creations leave nothing");
    drop(clients);
    assert!(daemon.stop().success());
    let daemon = Daemon::start(dir.path(), &TWO_SHARDS());
    assert_eq!(daemon.client().get(&url(2, 7)).unwrap().body, b"there");
    assert_eq!(state(&daemon, 9), "writable");
}

/// Runs `hayloft volume`. Returns exit code, stdout and stderr.
fn volume(daemon: &Daemon, args: &[&str]) -> (i32, String, String) {
    daemon.command(&[&["volume"], args].concat())
}

#[test]
fn volume_commands_match_the_admin_api() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &TWO_SHARDS());
    let done = |args: &[&str], printed: &str| {
        assert_eq!(volume(&daemon, args), (0, printed.to_owned(), String::new()), "{args:?}");
    };
    let refused = |args: &[&str], why: &str| {
        let (code, printed, error_text) = volume(&daemon, args);
        assert_eq!((code, &printed[..]), (1, ""), "{args:?}: {error_text}");
        assert!(error_text.starts_with("hayloft: ") && error_text.contains(why), "{error_text}");
    };
    done(&["create", "7", "--size", "32MiB"], "volume 7: writable, 32.0 MiB\n");
    done(&["create"], "volume 8: writable, 64.0 MiB\n");
    refused(&["create", "7"], "Volume 7 exists already; choose another number.");
    refused(&["create", "--size", "1MiB"], "16MiB to 1TiB");
    refused(&["create", "--disk", "5"], "/status lists 0 to 0");
    assert_eq!(daemon.client().put(&url(7, 1), b"photo").unwrap().status, 201);
    done(&["read-only", "7", "8"], "volume 7: read_only\nvolume 8: read_only\n");
    assert_eq!(daemon.client().put(&url(7, 2), b"photo").unwrap().status, 503);
    done(&["writable", "7"], "volume 7: writable\n");
    let (code, printed, error_text) = volume(&daemon, &["writable", "99", "8"]);
    let expected = (1, "volume 8: writable\n", "hayloft: There is no volume 99.\n");
    assert_eq!((code, &printed[..], &error_text[..]), expected, "the other volumes are changed");
    let (_, printed, _) = volume(&daemon, &["list"]);
    let rows: Vec<Vec<&str>> =
        printed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), ["ID", "1", "7", "8"]);
    assert!(rows.iter().skip(1).all(|row| row[1] == "writable"), "{printed}");
    let (_, printed, _) = volume(&daemon, &["list", "--json"]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed, json(&daemon.admin("/volumes")));
    let (_, printed, _) = volume(&daemon, &["show", "7"]);
    assert!(printed.contains("needles      1\n") && printed.contains("(32.0 MiB)\n"), "{printed}");
    refused(&["show", "99"], "There is no volume 99.");
    refused(&["delete", "7"], "volume 7 holds 1 photos");
    assert_eq!(state(&daemon, 7), "writable");
    done(&["delete", "7", "--yes"], "volume 7: deleted\n");
    refused(&["delete", "7", "--yes"], "There is no volume 7.");
    let admin = daemon.admin;
    assert!(daemon.stop().success());
    let output = Command::new(env!("CARGO_BIN_EXE_hayloft"))
        .args(["volume", "list", "--admin", &admin.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("is the daemon running?") && said.contains("--admin"), "{said}");
}

#[test]
fn read_only_survives_restart_and_posts_go_to_other_volumes() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &TWO_SHARDS());
    assert_eq!(daemon.admin_request("POST", "/volumes", "").status, 201);
    let mut client = daemon.client();
    assert_eq!(client.put(&url(1, 1), b"before").unwrap().status, 201);
    let reply = daemon.admin_request("POST", "/volumes/1/read-only", "");
    assert_eq!((reply.status, json(&reply)["state"].clone()), (200, "read_only".into()));
    assert_eq!(json(&reply)["write_state"], "read_only");
    let assert_read_only = |daemon: &Daemon| {
        for client in &mut clients(daemon) {
            let refused = client.put(&url(1, 2), b"x").unwrap();
            assert_eq!((refused.status, refused.text().trim()), (503, "the volume is read-only"));
            assert!(refused.header("retry-after").is_some());
            assert_eq!(client.request("DELETE", &url(1, 1), &[], None).unwrap().status, 503);
            let got = client.get(&url(1, 1)).unwrap();
            assert_eq!((got.status, &got.body[..]), (200, &b"before"[..]));
            assert_eq!(got.header("x-hayloft-volume"), Some("read-only"));
            let posted = client.request("POST", "/", &[], Some(b"photo")).unwrap();
            assert_eq!((posted.status, json(&posted)["volume"].clone()), (201, 2.into()));
        }
    };
    assert_read_only(&daemon);
    assert_eq!(daemon.admin("/readyz?strict").status, 200, "read-only is intended");
    daemon.kill();
    let daemon = Daemon::start(dir.path(), &TWO_SHARDS());
    assert_read_only(&daemon);
    let reply = daemon.admin_request("POST", "/volumes/1/writable", "");
    assert_eq!((reply.status, json(&reply)["state"].clone()), (200, "writable".into()));
    assert_eq!(json(&reply)["write_state"], "writable");
    assert_eq!(daemon.client().put(&url(1, 2), b"x").unwrap().status, 201);
    assert_eq!(daemon.admin_request("POST", "/volumes/7/writable", "").status, 404);
}

#[test]
fn deleted_volume_is_gone_and_open_readers_finish() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &TWO_SHARDS());
    assert_eq!(daemon.admin_request("POST", "/volumes", "").status, 201);
    let body = bytes(5, 24 << 20);
    let mut client = daemon.client();
    assert_eq!(client.put(&url(2, 1), &body).unwrap().status, 201);
    assert_eq!(client.put(&url(1, 1), b"stays").unwrap().status, 201);
    let counted = daemon.metric("hayloft_commits_total", "");
    assert!(counted > 0.0);
    // A reader that has sent its request and does not receive yet.
    let mut reader = daemon.connect();
    reader.send(format!("GET {} HTTP/1.1\r\nHost: t\r\n\r\n", url(2, 1)).as_bytes()).unwrap();
    daemon.wait_until("the download", || {
        daemon.metric("hayloft_payload_out_bytes_total", "") > 0.0
            || daemon.metric("hayloft_device_reads_total", "") > 2.0
    });
    assert_eq!(daemon.admin_request("DELETE", "/volumes/2", "").status, 204);
    for client in &mut clients(&daemon) {
        assert_eq!(client.get(&url(2, 1)).unwrap().status, 404);
        assert_eq!(client.put(&url(2, 3), b"x").unwrap().status, 404);
        assert_eq!(client.get(&url(1, 1)).unwrap().status, 200);
    }
    assert!(!dir.path().join("data/2.0.vol").exists());
    assert_eq!(reader.reply(false).unwrap().body, body, "open readers may finish");
    assert_eq!(daemon.admin("/volumes/2").status, 404);
    assert_eq!(daemon.admin_request("DELETE", "/volumes/2", "").status, 404);
    assert!(daemon.metric("hayloft_commits_total", "") >= counted, "counters never decrease");
    // The id can be reused, and the new volume contains nothing of the old one.
    assert_eq!(daemon.admin_request("POST", "/volumes", r#"{"id": 2}"#).status, 201);
    assert_eq!(daemon.client().get(&url(2, 1)).unwrap().status, 404);
    assert!(daemon.stop().success());
    let daemon = Daemon::start(dir.path(), &TWO_SHARDS());
    assert_eq!(daemon.client().get(&url(2, 1)).unwrap().status, 404);
    assert_eq!(daemon.client().get(&url(1, 1)).unwrap().body, b"stays");
}

#[test]
fn state_changes_under_load_lose_no_acknowledged_write() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &TWO_SHARDS());
    let done = std::sync::atomic::AtomicBool::new(false);
    let stored: Vec<u64> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4u64)
            .map(|writer| {
                let (daemon, done) = (&daemon, &done);
                scope.spawn(move || {
                    let mut client = daemon.client();
                    let mut stored = Vec::new();
                    for n in 0.. {
                        if done.load(std::sync::atomic::Ordering::Relaxed) {
                            break;
                        }
                        let key = writer << 32 | n;
                        match client.put(&url(1, key), &bytes(key, 3000)).unwrap().status {
                            201 => stored.push(key),
                            503 => {}
                            other => panic!("{other}"),
                        }
                    }
                    stored
                })
            })
            .collect();
        let changers: Vec<_> = (0..3)
            .map(|n| {
                let daemon = &daemon;
                scope.spawn(move || {
                    let change = ["read-only", "writable"];
                    let mut changed = 0;
                    for round in 0..20 {
                        let path = format!("/volumes/1/{}", change[(round + n) % 2]);
                        match daemon.admin_request("POST", &path, "").status {
                            200 => changed += 1,
                            409 => {}
                            other => panic!("{other}"),
                        }
                    }
                    changed
                })
            })
            .collect();
        let changed: usize = changers.into_iter().map(|changer| changer.join().unwrap()).sum();
        assert!(changed > 0);
        assert_eq!(daemon.admin_request("POST", "/volumes/1/read-only", "").status, 200);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert!(!stored.is_empty());
    daemon.kill();
    let daemon = Daemon::start(dir.path(), &TWO_SHARDS());
    assert_eq!(state(&daemon, 1), "read_only");
    let mut client = daemon.client();
    for key in &stored {
        assert_eq!(client.get(&url(1, *key)).unwrap().body, bytes(*key, 3000));
    }
    assert_eq!(json(&daemon.admin("/volumes/1"))["needles"], stored.len());
}

#[test]
fn volume_that_does_not_fit_gets_507_and_leaves_no_file() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let disk = json(&daemon.admin("/status"))["disks"][0].clone();
    let (free, size) = (disk["free"].as_u64().unwrap(), disk["size"].as_u64().unwrap());
    assert!(0 < free && free <= size, "{disk}");
    // Larger than the disk, so that it never fits.
    let wanted = (size >> 20) + 1;
    assert!(wanted < 1 << 20, "this test needs a disk of less than 1 TiB: set HAYLOFT_TEST_DIR");
    let body = format!(r#"{{"size": "{wanted}MiB"}}"#);
    let reply = daemon.admin_request("POST", "/volumes", &body);
    assert_eq!(reply.status, 507, "{reply:?}");
    assert!(error(&reply).contains("does not fit"), "{}", error(&reply));
    assert_eq!(daemon.admin("/volumes/2").status, 404);
    let names = names(&dir.path().join("data"));
    assert_eq!(names, ["1.0.vol", "LOCK", "hayloft.toml"]);
    assert_eq!(daemon.admin_request("POST", "/volumes", r#"{"size": "16MiB"}"#).status, 201);
}

/// Names of the files in a directory, without the record of the health of the volumes.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "health.json");
    names.sort();
    names
}

#[test]
fn vanished_data_directory_affects_only_its_volumes() {
    let dir = data_dir();
    let second = dir.path().join("second");
    let options =
        Options { args: vec!["--data".into(), second.to_str().unwrap().into()], ..TWO_SHARDS() };
    let daemon = Daemon::start(dir.path(), &options);
    let reply =
        daemon.admin_request("POST", "/volumes", r#"{"id": 2, "disk": 1, "size": "32MiB"}"#);
    assert_eq!(reply.status, 201, "{reply:?}");
    let mut client = daemon.client();
    for volume in [1, 2] {
        assert_eq!(client.put(&url(volume, 1), b"before").unwrap().status, 201);
    }
    let reply =
        daemon.admin_request("POST", "/volumes", r#"{"id": 3, "disk": 1, "size": "16MiB"}"#);
    assert_eq!(reply.status, 201, "{reply:?}");
    let away = dir.path().join("away");
    std::fs::rename(&second, &away).unwrap();
    for id in [2, 3] {
        daemon.wait_until("its volumes to be lost", || state(&daemon, id) == "lost");
        let shown = json(&daemon.admin(&format!("/volumes/{id}")));
        assert_eq!(shown["write_state"], "fenced", "{shown}");
    }
    assert_eq!(client.put(&url(3, 2), b"x").unwrap().status, 503);
    // Writes that a restart would not find are refused; existing photos are still served.
    assert_eq!(client.put(&url(2, 2), b"x").unwrap().status, 503);
    assert_eq!(client.get(&url(2, 1)).unwrap().body, b"before");
    assert_eq!(client.put(&url(1, 2), b"x").unwrap().status, 201);
    let posted = client.request("POST", "/", &[], Some(b"photo")).unwrap();
    assert_eq!(json(&posted)["volume"], 1);
    assert_eq!(daemon.admin("/readyz").status, 200);
    assert_eq!(daemon.admin("/readyz?strict").status, 503);
    assert_eq!(json(&daemon.admin("/status"))["disks"][1]["state"], "failed");
    let reply = daemon.admin_request("DELETE", "/volumes/2", "");
    assert_eq!((reply.status, error(&reply).contains("bring it back")), (409, true));
    assert!(away.join("2.0.vol").exists());
    assert!(daemon.log_text().contains("no longer the data directory it was"));
    assert!(daemon.stop().success());

    // The daemon starts without the disk, and creates no volume, because the disk may have its id.
    let daemon = Daemon::start(dir.path(), &options);
    let mut client = daemon.client();
    assert_eq!(client.get(&url(1, 2)).unwrap().status, 200);
    assert_eq!(client.get(&url(2, 1)).unwrap().status, 503);
    let reply = daemon.admin_request("POST", "/volumes", "");
    assert_eq!((reply.status, error(&reply).contains("is not in use")), (409, true));
    drop(client);
    assert!(daemon.stop().success());

    std::fs::rename(&away, &second).unwrap();
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(daemon.client().get(&url(2, 1)).unwrap().body, b"before");
    assert_eq!(daemon.client().put(&url(2, 2), b"x").unwrap().status, 201);
}

#[test]
fn disk_is_used_only_after_init() {
    let dir = data_dir();
    assert!(Daemon::start(dir.path(), &TWO_SHARDS()).stop().success());
    let second = dir.path().join("second");
    let options =
        Options { args: vec!["--data".into(), second.to_str().unwrap().into()], ..TWO_SHARDS() };
    std::fs::create_dir(&second).unwrap();
    let daemon = Daemon::start(dir.path(), &options);
    // An empty directory may be the mount point of a disk that is not mounted.
    assert_eq!(json(&daemon.admin("/status"))["disks"][1]["state"], "missing");
    assert!(daemon.log_text().contains("hayloft init"), "the log has the advice");
    assert!(daemon.stop().success());
    let init = || {
        let mut hayloft = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        let output = hayloft.arg("init").arg(&second).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!((init().0, init().1.contains("already, volumes: 0")), (Some(0), true));
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(json(&daemon.admin("/status"))["disks"][1]["state"], "ok");
    assert_eq!(names(&second), ["LOCK", "hayloft.toml"], "no volume is created without a request");
    let reply = daemon.admin_request("POST", "/volumes", r#"{"disk": 1, "size": "32MiB"}"#);
    assert_eq!((reply.status, reply.header("location")), (201, Some("/volumes/2")), "{reply:?}");
    assert_eq!((init().0, init().1), (Some(2), String::new()), "the daemon holds the lock");
}

#[test]
fn removed_volume_file_is_detected_and_still_readable() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let mut client = daemon.client();
    assert_eq!(client.put(&url(1, 1), b"before").unwrap().status, 201);
    std::fs::remove_file(dir.path().join("data/1.0.vol")).unwrap();
    daemon.wait_until("volume 1 is lost", || state(&daemon, 1) == "lost");
    assert_eq!(client.put(&url(1, 2), b"x").unwrap().status, 503);
    // It was the only volume, and an exit would destroy the last copy. The main thread decides about an exit
    // before each check for signals.
    for times in 1..=2 {
        daemon.signal(nix::sys::signal::Signal::SIGHUP);
        daemon.wait_until("the main thread to handle SIGHUP", || {
            daemon.log_text().matches("received SIGHUP").count() == times
        });
    }
    assert_eq!(client.get(&url(1, 1)).unwrap().body, b"before");
    let text = daemon.log_text();
    assert!(text.contains("was removed or replaced under the running daemon"), "{text}");
}

#[test]
fn volume_created_at_run_time_is_monitored() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &TWO_SHARDS());
    for id in [2, 3] {
        let body = format!(r#"{{"id": {id}, "size": "16MiB"}}"#);
        assert_eq!(daemon.admin_request("POST", "/volumes", &body).status, 201);
        assert_eq!(daemon.client().put(&url(id, 1), b"before").unwrap().status, 201);
    }
    // One check covers all volumes: when the first is detected, the second was checked, too.
    for id in [2, 1] {
        std::fs::remove_file(dir.path().join(format!("data/{id}.0.vol"))).unwrap();
    }
    daemon.wait_until("volume 1 to be lost", || state(&daemon, 1) == "lost");
    let timeout = std::time::Duration::from_secs(10);
    daemon.wait_within(timeout, "volume 2 to be lost", || state(&daemon, 2) == "lost");
    assert_eq!(daemon.client().put(&url(2, 2), b"x").unwrap().status, 503);
    assert_eq!(daemon.client().get(&url(2, 1)).unwrap().body, b"before");
    assert_eq!(daemon.client().put(&url(3, 2), b"x").unwrap().status, 201);
    // A deleted volume is not reported as lost.
    assert_eq!(daemon.admin_request("DELETE", "/volumes/3", "").status, 204);
    let body = r#"{"id": 4, "size": "16MiB"}"#;
    assert_eq!(daemon.admin_request("POST", "/volumes", body).status, 201);
    std::fs::remove_file(dir.path().join("data/4.0.vol")).unwrap();
    daemon.wait_until("volume 4 to be lost", || state(&daemon, 4) == "lost");
    assert!(!daemon.log_text().contains("3.0.vol was removed"), "{}", daemon.log_text());
}

/// Sends the request to create volume `id`. With zeroed preallocation the creation takes some time.
fn begin_to_create(daemon: &Daemon, id: u32, size: &str) -> RawConnection {
    let mut client = RawConnection::open(daemon.admin).unwrap();
    let body = format!(r#"{{"id": {id}, "size": "{size}"}}"#);
    let head = "POST /volumes HTTP/1.1\r\nHost: a\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    client.send(request.as_bytes()).unwrap();
    client
}

fn is_being_created(daemon: &Daemon, id: u32) -> bool {
    let shown = daemon.admin(&format!("/volumes/{id}"));
    shown.status == 200 && json(&shown)["state"] == "creating"
}

fn zeroed() -> Options {
    Options { config: "prealloc = \"zeroed\"\n".into(), ..TWO_SHARDS() }
}

#[test]
fn changes_of_one_volume_are_mutually_exclusive() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &zeroed());
    let changes = [
        ("POST", "/volumes/5/read-only", ""),
        ("POST", "/volumes/5/writable", ""),
        ("DELETE", "/volumes/5", ""),
        ("POST", "/volumes", r#"{"id": 5}"#),
    ];
    // Large enough that the creation takes longer than the four requests.
    let mut creating = begin_to_create(&daemon, 5, "1GiB");
    daemon.wait_until("the creation to begin", || is_being_created(&daemon, 5));
    for (method, path, body) in changes {
        let reply = daemon.admin_request(method, path, body);
        assert!(is_being_created(&daemon, 5), "1 GiB is written too quickly for this test");
        assert_eq!(reply.status, 409, "{method} {path}: {}", reply.text());
        assert!(error(&reply).contains("is being changed already"), "{}", error(&reply));
    }
    // A creation without an id picks another one.
    let body = r#"{"size": "16MiB"}"#;
    let other = daemon.admin_request("POST", "/volumes", body);
    assert_eq!((other.status, json(&other)["id"].clone()), (201, 6.into()), "{other:?}");
    assert!(matches!(creating.reply(false).unwrap().status, 201 | 202));
    daemon.wait_until("volume 5 to serve", || state(&daemon, 5) == "writable");
    for (method, path, status) in [
        ("POST", "/volumes/5/read-only", 200),
        ("POST", "/volumes/5/writable", 200),
        ("DELETE", "/volumes/5", 204),
    ] {
        assert_eq!(daemon.admin_request(method, path, "").status, status, "{method} {path}");
    }
    assert!(daemon.stop().success());
}

#[test]
fn concurrent_volume_changes_are_bounded() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &zeroed());
    let most = u32::try_from(hayloft::base::limits::CHANGES_MAX).unwrap();
    let creating: Vec<RawConnection> =
        (0..most).map(|n| begin_to_create(&daemon, 10 + n, "128MiB")).collect();
    daemon.wait_until("all creations to begin", || {
        (0..most).all(|n| is_being_created(&daemon, 10 + n))
    });
    let refused = daemon.admin_request("POST", "/volumes", r#"{"id": 9, "size": "16MiB"}"#);
    let change = daemon.admin_request("POST", "/volumes/1/read-only", "");
    assert!((0..most).all(|n| is_being_created(&daemon, 10 + n)), "too quick for this test");
    for reply in [refused, change] {
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(error(&reply).contains("Too many volumes are being changed"), "{reply:?}");
    }
    assert_eq!(daemon.admin("/volumes/9").status, 404);
    for mut client in creating {
        assert!(matches!(client.reply(false).unwrap().status, 201 | 202));
    }
    daemon.wait_until("them to serve", || (0..most).all(|n| state(&daemon, 10 + n) == "writable"));
    assert_eq!(daemon.admin_request("POST", "/volumes/1/read-only", "").status, 200);
    assert!(daemon.stop().success());
}

/// The data directory is not writable, so the file cannot be unlinked.
#[test]
fn failed_delete_keeps_the_volume_served_and_monitored() {
    use std::os::unix::fs::PermissionsExt;
    let dir = data_dir();
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(dir.path(), 0o777);
    // Permissions do not apply to root, so the daemon runs as another user if the test runs as root.
    let user = nix::unistd::Uid::effective().is_root().then_some(65_534);
    let options = Options { user, ..TWO_SHARDS() };
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(daemon.client().put(&url(1, 1), b"before").unwrap().status, 201);
    let data = dir.path().join("data");
    set(&data, 0o555);
    let reply = daemon.admin_request("DELETE", "/volumes/1", "");
    assert_eq!(reply.status, 500, "{reply:?}");
    assert!(error(&reply).contains("Volume 1 was not deleted"), "{}", error(&reply));
    assert_eq!(state(&daemon, 1), "writable");
    for client in &mut clients(&daemon) {
        assert_eq!(client.get(&url(1, 1)).unwrap().body, b"before");
        assert!(matches!(client.put(&url(1, 2), b"after").unwrap().status, 201 | 204));
    }
    set(&data, 0o755);
    std::fs::rename(data.join("1.0.vol"), data.join("away")).unwrap();
    daemon.wait_until("volume 1 to be lost", || state(&daemon, 1) == "lost");
    std::fs::rename(data.join("away"), data.join("1.0.vol")).unwrap();
    assert!(daemon.stop().success());
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(daemon.client().get(&url(1, 2)).unwrap().body, b"after");
    assert_eq!(daemon.admin_request("DELETE", "/volumes/1", "").status, 204);
    assert!(!data.join("1.0.vol").exists());
    assert!(daemon.stop().success());
}
