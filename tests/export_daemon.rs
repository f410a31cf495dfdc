//! Export from a running daemon, and the way of every attribute through exports and imports.

mod daemon_harness;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use daemon_harness::{Daemon, Options, bytes, data_dir, path};

/// An entry of a tar: its name, its pax records and header time, and its bytes.
type Entries = BTreeMap<String, (BTreeMap<String, Vec<u8>>, u64, Vec<u8>)>;

fn entries(tar: &Path) -> Entries {
    let mut archive = tar::Archive::new(std::fs::File::open(tar).unwrap());
    let read = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let records = entry.pax_extensions().unwrap().unwrap().map(|record| {
            let record = record.unwrap();
            (record.key().unwrap().to_owned(), record.value_bytes().to_vec())
        });
        let records = records.collect();
        let time = entry.header().mtime().unwrap();
        let mut body = Vec::new();
        entry.read_to_end(&mut body).unwrap();
        (name, (records, time, body))
    });
    read.collect()
}

/// Photos with all attributes that there are, of all kinds.
fn fill(daemon: &Daemon) {
    let mut client = daemon.client();
    let kinds = [None, Some("image/png"), Some("text/plain; charset=\"x y\"")];
    for key in 0..40u64 {
        let len = usize::try_from(key * 3001 % 90_000).unwrap();
        let time = format!("{}", 1_000_000_000 + key * 7);
        let mut headers = vec![("X-Hayloft-Modified", &time[..])];
        if key % 4 == 1 {
            headers.push(("X-Hayloft-Expires", "4000000000.000000007"));
        }
        headers.extend(kinds[usize::try_from(key).unwrap() % 3].map(|kind| ("Content-Type", kind)));
        let url = format!("/1/{}/{}/{:016x}", key / 2, key % 2, u64::MAX - key);
        let body = bytes(key, len);
        assert_eq!(client.request("PUT", &url, &headers, Some(&body)).unwrap().status, 201);
    }
    assert_eq!(client.put(&path(900), &bytes(900, 5_000_000)).unwrap().status, 201);
    let expires = [("X-Hayloft-Expires", "4100000000")];
    let large = client.request("PUT", &path(903), &expires, Some(&bytes(903, 2_000_000)));
    assert_eq!(large.unwrap().status, 201);
    assert_eq!(client.put(&path(901), &bytes(901, 1_200_000)).unwrap().status, 201);
    assert_eq!(client.put(&path(902), &bytes(902, 100)).unwrap().status, 201);
    assert_eq!(client.request("DELETE", &path(902), &[], None).unwrap().status, 204);
    assert_eq!(client.put(&path(901), &bytes(9010, 1_300_000)).unwrap().status, 204);
}

fn hayloft(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hayloft")).args(args).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap() + &String::from_utf8_lossy(&output.stdout);
    (output.status.code().unwrap(), said)
}

fn export(daemon: &Daemon, tar: &Path, more: &[&str]) -> String {
    let (admin, tar) = (daemon.admin.to_string(), tar.display().to_string());
    let mut args = vec!["export", "--server", &admin, "-o", &tar];
    args.extend(more);
    let (code, said) = hayloft(&args);
    assert_eq!(code, 0, "{said}");
    said
}

fn position(said: &str) -> String {
    let (_, rest) = said.split_once("up to position ").expect("the position is printed");
    rest.chars().take_while(char::is_ascii_digit).collect()
}

#[test]
fn running_and_stopped_daemon_export_the_same_and_imports_keep_every_attribute() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options { shards: 2, ..Options::default() });
    fill(&daemon);
    let tars = ["online", "offline", "again"].map(|name| dir.path().join(name));
    let said = export(&daemon, &tars[0], &[]);
    assert!(said.contains("43 photos") && said.contains("0 left out"), "{said}");
    assert!(daemon.stop().success());
    let data = dir.path().join("data").display().to_string();
    let offline = tars[1].display().to_string();
    let (code, said) = hayloft(&["export", "--data", &data, "-o", &offline]);
    assert_eq!(code, 0, "{said}");
    let expected = entries(&tars[1]);
    assert_eq!(expected.len(), 43);
    assert!(entries(&tars[0]) == expected, "the running daemon exports the same");

    let other = data_dir();
    let daemon = Daemon::start(other.path(), &Options::default());
    let (server, admin) = (daemon.data.to_string(), daemon.admin.to_string());
    let online = tars[0].display().to_string();
    let (code, said) = hayloft(&["import", "--server", &server, "--admin", &admin, &online]);
    assert_eq!(code, 0, "{said}");
    export(&daemon, &tars[2], &["--volume", "1"]);
    assert!(entries(&tars[2]) == expected, "the import has kept every attribute");
    assert!(daemon.stop().success());
}

#[test]
fn export_since_a_position_has_what_was_stored_afterwards() {
    let dir = data_dir();
    let config = "[compaction]\npolicy = \"off\"\n".to_owned();
    let daemon = Daemon::start(dir.path(), &Options { config, ..Options::default() });
    fill(&daemon);
    let tars = ["first", "second", "third"].map(|name| dir.path().join(name));
    let first = position(&export(&daemon, &tars[0], &["--volume", "1"]));
    let mut client = daemon.client();
    assert_eq!(client.put(&path(950), &bytes(950, 2_000_000)).unwrap().status, 201);
    assert_eq!(client.request("DELETE", &path(900), &[], None).unwrap().status, 204);
    let (code, _, said) = daemon.command(&["volume", "compact", "1", "--wait"]);
    assert_eq!(code, 0, "{said}");
    let said = export(&daemon, &tars[1], &["--volume", "1", "--since", &first]);
    assert!(said.contains("1 deletions that are not in the tar"), "{said}");
    let names: Vec<String> = entries(&tars[1]).into_keys().collect();
    assert_eq!(names.len(), 1);
    assert!(names[0].starts_with("950/0/"), "{names:?}");
    let second = position(&said);
    export(&daemon, &tars[2], &["--volume", "1", "--since", &second]);
    assert!(entries(&tars[2]).is_empty());
    let admin = daemon.admin.to_string();
    let (code, said) = hayloft(&["export", "--server", &admin, "--volume", "9"]);
    assert!(code == 1 && said.contains("There is no volume 9."), "{said}");
    let (code, said) = hayloft(&["export", "--server", &admin, "--since", "5"]);
    assert!(code == 2 && said.contains("--volume"), "{said}");
    drop(client);
    assert!(daemon.stop().success());
}

#[test]
fn admin_token_is_checked_wherever_it_is_presented() {
    let dir = data_dir();
    let token = dir.path().join("token");
    std::fs::write(&token, "0123456789abcdef-0123\n").unwrap();
    let config = format!("admin_token_file = {:?}\n", token.display().to_string());
    let daemon = Daemon::start(dir.path(), &Options { config, ..Options::default() });
    fill(&daemon);
    let status = |authorization: &str| {
        let headers = [("Authorization", authorization)];
        let mut client = daemon_harness::Client::new(daemon.admin);
        client.request("GET", "/volumes/1/records", &headers, None).unwrap().status
    };
    assert_eq!(status("Bearer 0123456789abcdef-0123"), 200);
    assert_eq!(status("Bearer 0123456789abcdef-0124"), 401);
    assert_eq!(daemon.admin("/volumes/1/records").status, 200, "from this machine");
    let tar = dir.path().join("tar");
    let token = token.display().to_string();
    export(&daemon, &tar, &["--token-file", &token]);
    assert_eq!(entries(&tar).len(), 43);
    let wrong = dir.path().join("wrong");
    std::fs::write(&wrong, "another token").unwrap();
    let (admin, wrong) = (daemon.admin.to_string(), wrong.display().to_string());
    let (code, said) = hayloft(&["export", "--server", &admin, "--token-file", &wrong]);
    assert!(code == 1 && said.contains("not the admin token"), "{said}");
    assert!(daemon.stop().success());
}

#[test]
fn file_without_a_token_is_found_before_the_start() {
    let dir = data_dir();
    let token = dir.path().join("token");
    std::fs::write(&token, "short").unwrap();
    let config = format!("admin_token_file = {:?}\n", token.display().to_string());
    let (code, said) =
        daemon_harness::config_check(dir.path(), &Options { config, ..Options::default() });
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("16 to 1024 visible ASCII characters"), "{said}");
}
