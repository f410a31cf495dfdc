//! Volumes that come, go and change under a running daemon, and disks that do not stay.

mod daemon_harness;

use std::path::Path;
use std::process::{Command, Stdio};

use daemon_harness::{COOKIE, Client, Daemon, Options, Reply, bytes, data_dir};
use serde_json::Value;

const TWO: fn() -> Options = || Options { shards: 2, ..Options::default() };

fn admin(daemon: &Daemon, method: &str, path: &str, body: &str) -> Reply {
    let mut client = Client::connect(daemon.admin).unwrap();
    client.request(method, path, &[], Some(body.as_bytes())).unwrap()
}

fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
}

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

/// One connection for each of the daemon's shards at least: which of them accepts is not ours to say.
fn clients(daemon: &Daemon) -> Vec<Client> {
    (0..8).map(|_| daemon.client()).collect()
}

#[test]
fn a_created_volume_serves_at_once_and_from_every_shard() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &TWO());
    let mut clients = clients(&daemon);
    assert_eq!(clients[0].put(&url(2, 1), b"early").unwrap().status, 404);
    let reply = admin(&daemon, "POST", "/volumes", r#"{"size": "32MiB"}"#);
    assert_eq!((reply.status, reply.header("location")), (201, Some("/volumes/2")), "{reply:?}");
    let shown = json(&reply);
    assert_eq!((&shown["state"], &shown["size"]), (&"writable".into(), &(32 << 20).into()));
    assert_eq!(shown["shard"], 1, "the shard that had none");
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.put(&url(2, n as u64), b"there").unwrap().status, 201);
        assert_eq!(client.get(&url(2, 0)).unwrap().body, b"there");
    }
    let reply = admin(&daemon, "POST", "/volumes", r#"{"id": 9}"#);
    assert_eq!((reply.status, json(&reply)["shard"].clone()), (201, 0.into()));
    let reply = admin(&daemon, "POST", "/volumes", r#"{"id": 9}"#);
    assert_eq!((reply.status, error(&reply).contains("exists already")), (409, true));
    let reply = admin(&daemon, "POST", "/volumes", r#"{"size": "1MiB"}"#);
    assert_eq!((reply.status, error(&reply).contains("16MiB to 1TiB")), (400, true));
    let reply = admin(&daemon, "POST", "/volumes", r#"{"disk": 1}"#);
    assert_eq!((reply.status, error(&reply).contains("data directory 1")), (400, true));
    let ids: Vec<_> = json(&daemon.admin("/volumes"))
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [1, 2, 9], "nothing is left of what was refused");
    drop(clients);
    assert!(daemon.stop().success());
    let daemon = Daemon::start(dir.path(), &TWO());
    assert_eq!(daemon.client().get(&url(2, 7)).unwrap().body, b"there");
    assert_eq!(state(&daemon, 9), "writable");
}

/// The command's exit code, output and complaints.
fn volume(daemon: &Daemon, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hayloft"))
        .arg("volume")
        .args(args)
        .args(["--admin", &daemon.admin.to_string()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_command_line_does_what_the_admin_api_does() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &TWO());
    let done = |args: &[&str], told: &str| {
        assert_eq!(volume(&daemon, args), (0, told.to_owned(), String::new()), "{args:?}");
    };
    let refused = |args: &[&str], why: &str| {
        let (code, told, complaint) = volume(&daemon, args);
        assert_eq!((code, &told[..]), (1, ""), "{args:?}: {complaint}");
        assert!(complaint.starts_with("hayloft: ") && complaint.contains(why), "{complaint}");
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
    let (code, told, complaint) = volume(&daemon, &["writable", "99", "8"]);
    let expected = (1, "volume 8: writable\n", "hayloft: There is no volume 99.\n");
    assert_eq!((code, &told[..], &complaint[..]), expected, "the others are changed");
    let (_, told, _) = volume(&daemon, &["list"]);
    let rows: Vec<Vec<&str>> = told.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), ["ID", "1", "7", "8"]);
    assert!(rows.iter().skip(1).all(|row| row[1] == "writable"), "{told}");
    let (_, told, _) = volume(&daemon, &["list", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told, json(&daemon.admin("/volumes")));
    let (_, told, _) = volume(&daemon, &["show", "7"]);
    assert!(told.contains("needles      1\n") && told.contains("(32.0 MiB)\n"), "{told}");
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
fn a_read_only_volume_stays_so_and_others_take_the_photos() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &TWO());
    assert_eq!(admin(&daemon, "POST", "/volumes", "").status, 201);
    let mut client = daemon.client();
    assert_eq!(client.put(&url(1, 1), b"before").unwrap().status, 201);
    let reply = admin(&daemon, "POST", "/volumes/1/read-only", "");
    assert_eq!((reply.status, json(&reply)["state"].clone()), (200, "read_only".into()));
    let look = |daemon: &Daemon| {
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
    look(&daemon);
    assert_eq!(daemon.admin("/readyz?strict").status, 200, "it is what the operator wants");
    daemon.kill();
    let daemon = Daemon::start(dir.path(), &TWO());
    look(&daemon);
    let reply = admin(&daemon, "POST", "/volumes/1/writable", "");
    assert_eq!((reply.status, json(&reply)["state"].clone()), (200, "writable".into()));
    assert_eq!(daemon.client().put(&url(1, 2), b"x").unwrap().status, 201);
    assert_eq!(admin(&daemon, "POST", "/volumes/7/writable", "").status, 404);
}

#[test]
fn a_deleted_volume_is_gone_and_its_readers_finish() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &TWO());
    assert_eq!(admin(&daemon, "POST", "/volumes", "").status, 201);
    let body = bytes(5, 24 << 20);
    let mut client = daemon.client();
    assert_eq!(client.put(&url(2, 1), &body).unwrap().status, 201);
    assert_eq!(client.put(&url(1, 1), b"stays").unwrap().status, 201);
    let counted = daemon.metric("hayloft_commits_total", "");
    assert!(counted > 0.0);
    // Has begun to read and does not go on yet.
    let mut reader = daemon.client();
    reader.send(format!("GET {} HTTP/1.1\r\nHost: t\r\n\r\n", url(2, 1)).as_bytes()).unwrap();
    daemon.wait_until("the download", || {
        daemon.metric("hayloft_payload_out_bytes_total", "") > 0.0
            || daemon.metric("hayloft_device_reads_total", "") > 2.0
    });
    assert_eq!(admin(&daemon, "DELETE", "/volumes/2", "").status, 204);
    for client in &mut clients(&daemon) {
        assert_eq!(client.get(&url(2, 1)).unwrap().status, 404);
        assert_eq!(client.put(&url(2, 3), b"x").unwrap().status, 404);
        assert_eq!(client.get(&url(1, 1)).unwrap().status, 200);
    }
    assert!(!dir.path().join("data/2.0.vol").exists());
    assert_eq!(reader.reply(false).unwrap().body, body, "whoever reads may finish");
    assert_eq!(daemon.admin("/volumes/2").status, 404);
    assert_eq!(admin(&daemon, "DELETE", "/volumes/2", "").status, 404);
    assert!(daemon.metric("hayloft_commits_total", "") >= counted, "counters never go back");
    // The number is free again, and nothing of the old volume is in the new one.
    assert_eq!(admin(&daemon, "POST", "/volumes", r#"{"id": 2}"#).status, 201);
    assert_eq!(daemon.client().get(&url(2, 1)).unwrap().status, 404);
    assert!(daemon.stop().success());
    let daemon = Daemon::start(dir.path(), &TWO());
    assert_eq!(daemon.client().get(&url(2, 1)).unwrap().status, 404);
    assert_eq!(daemon.client().get(&url(1, 1)).unwrap().body, b"stays");
}

#[test]
fn changes_under_load_lose_nothing_that_was_acknowledged() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &TWO());
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
                        match admin(daemon, "POST", &path, "").status {
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
        assert_eq!(admin(&daemon, "POST", "/volumes/1/read-only", "").status, 200);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert!(!stored.is_empty());
    daemon.kill();
    let daemon = Daemon::start(dir.path(), &TWO());
    assert_eq!(state(&daemon, 1), "read_only");
    let mut client = daemon.client();
    for key in &stored {
        assert_eq!(client.get(&url(1, *key)).unwrap().body, bytes(*key, 3000));
    }
    assert_eq!(json(&daemon.admin("/volumes/1"))["needles"], stored.len());
}

#[test]
fn a_volume_that_does_not_fit_leaves_nothing_behind() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let disk = json(&daemon.admin("/status"))["disks"][0].clone();
    let (free, size) = (disk["free"].as_u64().unwrap(), disk["size"].as_u64().unwrap());
    assert!(0 < free && free <= size, "{disk}");
    // More than there can ever be, whatever others do on that disk meanwhile.
    let wanted = (size >> 20) + 1;
    assert!(wanted < 1 << 20, "this test needs a disk of less than 1 TiB: set HAYLOFT_TEST_DIR");
    let body = format!(r#"{{"size": "{wanted}MiB"}}"#);
    let reply = admin(&daemon, "POST", "/volumes", &body);
    assert_eq!(reply.status, 507, "{reply:?}");
    assert!(error(&reply).contains("does not fit"), "{}", error(&reply));
    assert_eq!(daemon.admin("/volumes/2").status, 404);
    let names = names(&dir.path().join("data"));
    assert_eq!(names, ["1.0.vol", "LOCK", "hayloft.toml"]);
    assert_eq!(admin(&daemon, "POST", "/volumes", r#"{"size": "16MiB"}"#).status, 201);
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_data_directory_that_disappears_takes_only_its_volumes_out() {
    let dir = data_dir();
    let second = dir.path().join("second");
    let options = Options { args: vec!["--data".into(), second.to_str().unwrap().into()], ..TWO() };
    let daemon = Daemon::start(dir.path(), &options);
    let reply = admin(&daemon, "POST", "/volumes", r#"{"id": 2, "disk": 1, "size": "32MiB"}"#);
    assert_eq!(reply.status, 201, "{reply:?}");
    let mut client = daemon.client();
    for volume in [1, 2] {
        assert_eq!(client.put(&url(volume, 1), b"before").unwrap().status, 201);
    }
    let reply = admin(&daemon, "POST", "/volumes", r#"{"id": 3, "disk": 1, "size": "16MiB"}"#);
    assert_eq!(reply.status, 201, "{reply:?}");
    let away = dir.path().join("away");
    std::fs::rename(&second, &away).unwrap();
    for id in [2, 3] {
        daemon.wait_until("its volumes to be lost", || state(&daemon, id) == "lost");
    }
    assert_eq!(client.put(&url(3, 2), b"x").unwrap().status, 503);
    // Nothing is acknowledged that a restart would not find; what is there is still read.
    assert_eq!(client.put(&url(2, 2), b"x").unwrap().status, 503);
    assert_eq!(client.get(&url(2, 1)).unwrap().body, b"before");
    assert_eq!(client.put(&url(1, 2), b"x").unwrap().status, 201);
    let posted = client.request("POST", "/", &[], Some(b"photo")).unwrap();
    assert_eq!(json(&posted)["volume"], 1);
    assert_eq!(daemon.admin("/readyz").status, 200);
    assert_eq!(daemon.admin("/readyz?strict").status, 503);
    assert_eq!(json(&daemon.admin("/status"))["disks"][1]["state"], "failed");
    let reply = admin(&daemon, "DELETE", "/volumes/2", "");
    assert_eq!((reply.status, error(&reply).contains("bring it back")), (409, true));
    assert!(away.join("2.0.vol").exists());
    assert!(daemon.log_text().contains("no longer the data directory it was"));
    assert!(daemon.stop().success());

    // Without it the daemon starts all the same, and makes no volume whose number it may have.
    let daemon = Daemon::start(dir.path(), &options);
    let mut client = daemon.client();
    assert_eq!(client.get(&url(1, 2)).unwrap().status, 200);
    assert_eq!(client.get(&url(2, 1)).unwrap().status, 503);
    let reply = admin(&daemon, "POST", "/volumes", "");
    assert_eq!((reply.status, error(&reply).contains("is not in use")), (409, true));
    drop(client);
    assert!(daemon.stop().success());

    std::fs::rename(&away, &second).unwrap();
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(daemon.client().get(&url(2, 1)).unwrap().body, b"before");
    assert_eq!(daemon.client().put(&url(2, 2), b"x").unwrap().status, 201);
}

#[test]
fn a_disk_is_added_when_its_directory_was_initialised() {
    let dir = data_dir();
    assert!(Daemon::start(dir.path(), &TWO()).stop().success());
    let second = dir.path().join("second");
    let options = Options { args: vec!["--data".into(), second.to_str().unwrap().into()], ..TWO() };
    std::fs::create_dir(&second).unwrap();
    let daemon = Daemon::start(dir.path(), &options);
    // Empty: it could as well be a disk that is not mounted.
    assert_eq!(json(&daemon.admin("/status"))["disks"][1]["state"], "missing");
    assert!(daemon.log_text().contains("hayloft init"), "what to do is told");
    assert!(daemon.stop().success());
    let init = || {
        let mut hayloft = std::process::Command::new(env!("CARGO_BIN_EXE_hayloft"));
        let output = hayloft.arg("init").arg(&second).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!((init().0, init().1.contains("already, volumes: 0")), (Some(0), true));
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(json(&daemon.admin("/status"))["disks"][1]["state"], "ok");
    assert_eq!(names(&second), ["LOCK", "hayloft.toml"], "volumes are made when they are wanted");
    let reply = admin(&daemon, "POST", "/volumes", r#"{"disk": 1, "size": "32MiB"}"#);
    assert_eq!((reply.status, reply.header("location")), (201, Some("/volumes/2")), "{reply:?}");
    assert_eq!((init().0, init().1), (Some(2), String::new()), "the daemon has it");
}

#[test]
fn a_volume_file_that_is_removed_is_noticed_and_still_read() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let mut client = daemon.client();
    assert_eq!(client.put(&url(1, 1), b"before").unwrap().status, 201);
    std::fs::remove_file(dir.path().join("data/1.0.vol")).unwrap();
    daemon.wait_until("volume 1 is lost", || state(&daemon, 1) == "lost");
    assert_eq!(client.put(&url(1, 2), b"x").unwrap().status, 503);
    // It was the only volume. Ending now would destroy the last copy: the main thread looks whether it
    // should each time before it looks for signals again.
    for times in 1..=2 {
        daemon.signal(nix::sys::signal::Signal::SIGHUP);
        daemon.wait_until("the main thread to look around", || {
            daemon.log_text().matches("received SIGHUP").count() == times
        });
    }
    assert_eq!(client.get(&url(1, 1)).unwrap().body, b"before");
    let text = daemon.log_text();
    assert!(text.contains("was removed or replaced under the running daemon"), "{text}");
}

#[test]
fn a_volume_that_was_created_at_run_time_is_monitored_too() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &TWO());
    for id in [2, 3] {
        let body = format!(r#"{{"id": {id}, "size": "16MiB"}}"#);
        assert_eq!(admin(&daemon, "POST", "/volumes", &body).status, 201);
        assert_eq!(daemon.client().put(&url(id, 1), b"before").unwrap().status, 201);
    }
    // Whoever finds that the first is gone has looked for the second too.
    for id in [2, 1] {
        std::fs::remove_file(dir.path().join(format!("data/{id}.0.vol"))).unwrap();
    }
    daemon.wait_until("volume 1 to be lost", || state(&daemon, 1) == "lost");
    let soon = std::time::Duration::from_secs(10);
    daemon.wait_within(soon, "volume 2 to be lost", || state(&daemon, 2) == "lost");
    assert_eq!(daemon.client().put(&url(2, 2), b"x").unwrap().status, 503);
    assert_eq!(daemon.client().get(&url(2, 1)).unwrap().body, b"before");
    assert_eq!(daemon.client().put(&url(3, 2), b"x").unwrap().status, 201);
    // One that was deleted on purpose is not lost.
    assert_eq!(admin(&daemon, "DELETE", "/volumes/3", "").status, 204);
    let body = r#"{"id": 4, "size": "16MiB"}"#;
    assert_eq!(admin(&daemon, "POST", "/volumes", body).status, 201);
    std::fs::remove_file(dir.path().join("data/4.0.vol")).unwrap();
    daemon.wait_until("volume 4 to be lost", || state(&daemon, 4) == "lost");
    assert!(!daemon.log_text().contains("3.0.vol was removed"), "{}", daemon.log_text());
}

/// Creates volume `id`, which takes its time: all of it is written.
fn begin_to_create(daemon: &Daemon, id: u32, size: &str) -> Client {
    let mut client = Client::connect(daemon.admin).unwrap();
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
    Options { config: "prealloc = \"zeroed\"\n".into(), ..TWO() }
}

#[test]
fn of_one_volume_there_is_one_change_at_a_time() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &zeroed());
    let changes = [
        ("POST", "/volumes/5/read-only", ""),
        ("POST", "/volumes/5/writable", ""),
        ("DELETE", "/volumes/5", ""),
        ("POST", "/volumes", r#"{"id": 5}"#),
    ];
    // It must last longer than the four requests; how long it takes is the disk's business.
    let mut creating = begin_to_create(&daemon, 5, "1GiB");
    daemon.wait_until("the creation to begin", || is_being_created(&daemon, 5));
    for (method, path, body) in changes {
        let reply = admin(&daemon, method, path, body);
        assert!(is_being_created(&daemon, 5), "1 GiB is written too quickly for this test");
        assert_eq!(reply.status, 409, "{method} {path}: {}", reply.text());
        assert!(error(&reply).contains("is being changed already"), "{}", error(&reply));
    }
    // One that picks its number takes another.
    let body = r#"{"size": "16MiB"}"#;
    let other = admin(&daemon, "POST", "/volumes", body);
    assert_eq!((other.status, json(&other)["id"].clone()), (201, 6.into()), "{other:?}");
    assert!(matches!(creating.reply(false).unwrap().status, 201 | 202));
    daemon.wait_until("volume 5 to serve", || state(&daemon, 5) == "writable");
    for (method, path, status) in [
        ("POST", "/volumes/5/read-only", 200),
        ("POST", "/volumes/5/writable", 200),
        ("DELETE", "/volumes/5", 204),
    ] {
        assert_eq!(admin(&daemon, method, path, "").status, status, "{method} {path}");
    }
    assert!(daemon.stop().success());
}

#[test]
fn only_so_many_volumes_are_changed_at_once() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &zeroed());
    let most = u32::try_from(hayloft::base::limits::CHANGES_MAX).unwrap();
    let creating: Vec<Client> =
        (0..most).map(|n| begin_to_create(&daemon, 10 + n, "128MiB")).collect();
    daemon.wait_until("all of them to be under way", || {
        (0..most).all(|n| is_being_created(&daemon, 10 + n))
    });
    let refused = admin(&daemon, "POST", "/volumes", r#"{"id": 9, "size": "16MiB"}"#);
    let change = admin(&daemon, "POST", "/volumes/1/read-only", "");
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
    assert_eq!(admin(&daemon, "POST", "/volumes/1/read-only", "").status, 200);
    assert!(daemon.stop().success());
}

/// A directory that may not be written to: the file's name cannot be removed.
#[test]
fn a_volume_that_cannot_be_deleted_goes_on_and_is_monitored() {
    use std::os::unix::fs::PermissionsExt;
    let dir = data_dir();
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(dir.path(), 0o777);
    // Root may remove what it likes, so the daemon runs as somebody else where the test runs as root.
    let user = nix::unistd::Uid::effective().is_root().then_some(65_534);
    let options = Options { user, ..TWO() };
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(daemon.client().put(&url(1, 1), b"before").unwrap().status, 201);
    let data = dir.path().join("data");
    set(&data, 0o555);
    let reply = admin(&daemon, "DELETE", "/volumes/1", "");
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
    assert_eq!(admin(&daemon, "DELETE", "/volumes/1", "").status, 204);
    assert!(!data.join("1.0.vol").exists());
    assert!(daemon.stop().success());
}
