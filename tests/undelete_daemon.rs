//! Deleted photos of a running daemon that are taken back, by the command line and by the admin API.

mod daemon_harness;

use std::io::Write;
use std::process::{Command, Stdio};

use daemon_harness::{COOKIE, Client, Daemon, Options, Reply, bytes, data_dir, json, path};
use serde_json::Value;

const CONFIG: &str = "[compaction]\npolicy = \"off\"\nundelete_within = \"1h\"\n";

fn started(dir: &std::path::Path, config: &str) -> Daemon {
    Daemon::start(dir, &Options { shards: 2, config: config.to_owned(), ..Options::default() })
}

/// What a reader gets.
fn photo(client: &mut Client, key: u64) -> (u16, Vec<u8>, [String; 4]) {
    let reply = client.get(&path(key)).unwrap();
    let names = ["content-type", "etag", "last-modified", "content-length"];
    let headers = names.map(|name| reply.header(name).unwrap_or_default().to_owned());
    (reply.status, reply.body, headers)
}

fn delete(client: &mut Client, key: u64) {
    assert_eq!(client.request("DELETE", &path(key), &[], None).unwrap().status, 204);
}

fn body(key: u64) -> String {
    format!("{key}/0/{COOKIE}\n")
}

/// The order that an answer describes.
fn order(reply: &Reply) -> Value {
    let order = json(reply);
    assert!(!format!("{order}").contains(COOKIE), "{order}");
    order
}

/// Has a photo taken back. Returns its result when that has ended.
fn undelete(daemon: &Daemon, key: u64) -> Value {
    let begun = daemon.admin_request("POST", "/volumes/1/undelete", &body(key));
    assert_eq!(begun.status, 202, "{begun:?}");
    assert_eq!(begun.header("location"), Some("/volumes/1/undelete"));
    let operation = order(&begun)["operation"].clone();
    let mut last = Value::Null;
    daemon.wait_until("the end of the order", || {
        last = order(&daemon.admin("/volumes/1/undelete"));
        let photo = &last["photos"][0];
        assert_eq!((&last["operation"], &photo["key"]), (&operation, &Value::from(key)));
        last["state"] == "done"
    });
    assert_eq!(last["progress"], 1.0);
    last["photos"][0].clone()
}

#[test]
fn command_takes_deleted_photos_back() {
    let dir = data_dir();
    let daemon = started(dir.path(), CONFIG);
    let mut client = daemon.client();
    let lens = [(1, 0), (2, 700), (3, 1 << 20), (4, 3_000_000), (5, 900)];
    let time = [("X-Hayloft-Modified", "1000000000"), ("Content-Type", "image/png")];
    let mut before = Vec::new();
    for (key, len) in lens {
        let stored = client.request("PUT", &path(key), &time, Some(&bytes(key, len))).unwrap();
        assert_eq!(stored.status, 201);
        before.push(photo(&mut client, key));
        assert_eq!(before.last().unwrap().0, 200);
        delete(&mut client, key);
    }
    let urls: Vec<String> = (1..5).map(path).collect();
    let whole = format!("http://photos.example{}", urls[1]);
    let (code, printed, said) = daemon.command(&["undelete", &urls[0], &whole, &urls[2], &urls[3]]);
    assert_eq!((code, &said[..]), (0, ""));
    let lines: Vec<String> = urls.iter().map(|url| format!("restored {url}")).collect();
    assert_eq!(printed.lines().collect::<Vec<_>>(), lines);
    for (key, before) in (1..5).zip(&before) {
        assert!(photo(&mut client, key) == *before, "photo {key}");
    }
    // From standard input: one that is back already, one that never was, one with another cookie.
    let mut child = Command::new(env!("CARGO_BIN_EXE_hayloft"))
        .args(["undelete", "-", "--admin", &daemon.admin.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let wrong = format!("/1/5/0/{}", COOKIE.replace('0', "f"));
    let list = format!("{}\n\n{}\n{wrong}\n{}\n", path(1), path(77), path(5));
    child.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    let (printed, said) =
        (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    let expected = format!(
        "in use {}\nnot found {}\nnot found {wrong}\nrestored {}\n",
        path(1),
        path(77),
        path(5)
    );
    assert_eq!((ended.status.code(), printed), (Some(1), expected));
    assert!(said.contains("its name is in use") && said.contains("no such photo"), "{said}");
    let (code, printed, said) = daemon.command(&["undelete", &path(2), "/1/2"]);
    assert!(code == 2 && printed.is_empty() && said.contains("names no photo"), "{said}");
    let (code, _, said) = daemon.command(&["undelete", &path(2).replacen("/1/", "/9/", 1)]);
    assert!(code == 1 && said.contains("There is no volume 9."), "{said}");
    // Durable: the next process finds them, and no damage.
    daemon.kill();
    let daemon = started(dir.path(), CONFIG);
    let mut client = daemon.client();
    for (key, before) in (1..6).zip(&before) {
        assert!(photo(&mut client, key) == *before, "photo {key} after a kill");
    }
    let (code, _, said) = daemon.command(&["volume", "scrub", "1", "--wait"]);
    assert_eq!(code, 0, "{said}");
    drop(client);
    assert!(daemon.stop().success());
}

#[test]
fn admin_api_takes_a_photo_back_and_says_how_that_ended() {
    let dir = data_dir();
    let daemon = started(dir.path(), CONFIG);
    let mut client = daemon.client();
    for key in 1..4 {
        assert_eq!(client.put(&path(key), &bytes(key, 2000)).unwrap().status, 201);
        delete(&mut client, key);
    }
    let none = daemon.admin("/volumes/1/undelete");
    assert_eq!(none.status, 404, "{none:?}");
    let done = undelete(&daemon, 1);
    assert_eq!(done["status"], 201);
    assert_eq!(client.get(&path(1)).unwrap().body, bytes(1, 2000));
    assert_eq!(undelete(&daemon, 1)["status"], 409);
    assert_eq!(undelete(&daemon, 55)["status"], 404);
    // Only for those who may.
    let target = "/volumes/1/undelete";
    let post = |headers: &[(&str, &str)], body: &str| {
        Client::new(daemon.admin).request("POST", target, headers, Some(body.as_bytes())).unwrap()
    };
    for (headers, status) in [
        ([("Origin", "http://evil.example")], 403),
        ([("Sec-Fetch-Site", "none")], 403),
        ([("Authorization", "Bearer another")], 401),
    ] {
        assert_eq!(post(&headers, &body(2)).status, status, "{headers:?}");
    }
    for bad in ["", "{}", "2/0/2", &format!("2/0/{COOKIE}\n2/0/{COOKIE}")] {
        assert_eq!(post(&[], bad).status, 400, "{bad}");
    }
    let long = format!("{}2/0/{COOKIE}", format!("{}/0/{COOKIE}\n", u64::MAX).repeat(1500));
    assert_eq!(post(&[], &long).status, 413);
    assert_eq!(client.get(&path(2)).unwrap().status, 404, "nobody has begun");
    assert_eq!(daemon.admin("/volumes/9/undelete").status, 404);
    // A compaction drops the bytes.
    let (code, printed, said) = daemon.command(&["volume", "compact", "1", "--wait"]);
    assert_eq!(code, 0, "{printed}{said}");
    assert_eq!(undelete(&daemon, 2)["status"], 410);
    let (code, printed, said) = daemon.command(&["undelete", &path(3)]);
    assert_eq!((code, printed), (1, format!("gone {}\n", path(3))));
    assert!(said.contains("a compaction has removed its bytes"), "{said}");
    // A volume that takes no writes.
    delete(&mut client, 1);
    assert_eq!(daemon.admin_request("POST", "/volumes/1/read-only", "").status, 200);
    let (code, printed, said) = daemon.command(&["undelete", &path(1)]);
    assert_eq!((code, printed), (1, format!("failed {}\n", path(1))));
    assert!(said.contains("read-only"), "{said}");
    drop(client);
    assert!(daemon.stop().success());
}

/// Somebody has deleted many photos by mistake.
#[test]
fn thousands_of_photos_come_back_with_few_orders() {
    let dir = data_dir();
    let daemon = started(dir.path(), CONFIG);
    let mut client = daemon.client();
    let keys: Vec<u64> = (1..=1200).collect();
    for key in &keys {
        assert_eq!(client.put(&path(*key), &bytes(*key, 500)).unwrap().status, 201);
    }
    let list: String = keys.iter().map(|key| path(*key) + "\n").collect();
    let names = dir.path().join("names");
    std::fs::write(&names, &list).unwrap();
    let run = |command: &str, flag: &str, address: std::net::SocketAddr| {
        let ended = Command::new(env!("CARGO_BIN_EXE_hayloft"))
            .args([command, "-", flag, &address.to_string()])
            .stdin(std::fs::File::open(&names).unwrap())
            .output()
            .unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    };
    run("delete", "--server", daemon.data);
    assert_eq!(client.get(&path(7)).unwrap().status, 404);
    let printed = run("undelete", "--admin", daemon.admin);
    let expected: String = keys.iter().map(|key| format!("restored {}\n", path(*key))).collect();
    assert_eq!(printed, expected);
    for key in &keys {
        assert_eq!(client.get(&path(*key)).unwrap().body, bytes(*key, 500), "{key}");
    }
    drop(client);
    assert!(daemon.stop().success());
}

#[test]
fn admin_token_is_checked_where_it_is_presented() {
    let dir = data_dir();
    let token = dir.path().join("token");
    std::fs::write(&token, "0123456789abcdef-0123\n").unwrap();
    let token = token.display().to_string();
    let daemon = started(dir.path(), &format!("admin_token_file = {token:?}\n{CONFIG}"));
    let mut client = daemon.client();
    assert_eq!(client.put(&path(1), b"deleted").unwrap().status, 201);
    delete(&mut client, 1);
    let wrong = dir.path().join("wrong").display().to_string();
    std::fs::write(&wrong, "another token").unwrap();
    let (code, printed, said) = daemon.command(&["undelete", &path(1), "--token-file", &wrong]);
    assert_eq!((code, printed), (1, format!("failed {}\n", path(1))));
    assert!(said.contains("not the admin token"), "{said}");
    assert_eq!(client.get(&path(1)).unwrap().status, 404);
    let (code, _, said) = daemon.command(&["undelete", &path(1), "--token-file", "/no/token"]);
    assert!(code == 2 && said.contains("cannot read /no/token"), "{said}");
    let (code, printed, said) = daemon.command(&["undelete", &path(1), "--token-file", &token]);
    assert_eq!((code, printed), (0, format!("restored {}\n", path(1))), "{said}");
    assert_eq!(client.get(&path(1)).unwrap().body, b"deleted");
    drop(client);
    assert!(daemon.stop().success());
}

#[test]
fn nothing_is_taken_back_unless_that_is_configured() {
    let dir = data_dir();
    let daemon = started(dir.path(), "");
    let mut client = daemon.client();
    assert_eq!(client.put(&path(1), b"deleted").unwrap().status, 201);
    delete(&mut client, 1);
    let refused = daemon.admin_request("POST", "/volumes/1/undelete", &body(1));
    assert_eq!(refused.status, 409, "{refused:?}");
    let (code, printed, said) = daemon.command(&["undelete", &path(1)]);
    assert_eq!((code, printed), (1, format!("failed {}\n", path(1))));
    assert!(said.contains("compaction.undelete_within"), "{said}");
    assert_eq!(client.get(&path(1)).unwrap().status, 404);
    drop(client);
    assert!(daemon.stop().success());
}
