//! A volume of a cluster in a daemon and in the commands: what they show of it, and what they carry from one
//! store to another.

mod daemon_harness;

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon_harness::cluster::{cluster_args, join_cluster};
use daemon_harness::{COOKIE, Daemon, Options, bytes, data_dir, json};
use hayloft::base::cluster::{Collection, ReplicaPlacement, Ttl};
use hayloft::volume::{ClusterAttributes, ClusterProperties, ClusterSettings};
use serde_json::{Value, json};

const HEADER: &str = "X-Hayloft-Attributes";
const LARGE: usize = 1_200_000;

fn attributes() -> ClusterAttributes<'static> {
    ClusterAttributes {
        name: Some(b"p q.jpg"),
        flags: Some(0x2e),
        ttl: None,
        pairs: Some(b"{\"Owner\":\"bob\"}"),
        appended_ns: Some(1_577_934_245_000_000_001),
        origin_version: Some(7),
    }
}

fn encoded(attributes: ClusterAttributes<'_>) -> String {
    let (bytes, mut text) = (attributes.encode(), vec![0; 8192]);
    let len = STANDARD.encode_slice(bytes, &mut text).unwrap();
    text.truncate(len);
    String::from_utf8(text).unwrap()
}

fn hayloft(words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    let output = command.args(words).stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn data(dir: &Path) -> String {
    dir.join("data").to_str().unwrap().to_owned()
}

/// The rows of `hayloft dump`.
fn dump(dir: &Path) -> Vec<Value> {
    hayloft(&["dump", "--data", &data(dir), "--json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn put(daemon: &Daemon, key: u64, len: usize, attributes: Option<&str>) -> u16 {
    let headers: Vec<_> = attributes.map(|text| (HEADER, text)).into_iter().collect();
    let path = format!("/1/{key}/0/{COOKIE}");
    daemon.client().request("PUT", &path, &headers, Some(&bytes(key, len))).unwrap().status
}

#[test]
fn volume_of_a_cluster_is_shown_with_what_its_cluster_says() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    assert_eq!(json(&daemon.admin("/volumes/1"))["cluster"], Value::Null);
    assert_eq!(put(&daemon, 1, 100, None), 201);
    assert!(daemon.stop().success());
    let properties = ClusterProperties {
        settings: ClusterSettings { placement: ReplicaPlacement(1), ..ClusterSettings::default() },
        ttl: Ttl::from_bytes([9, 6]),
        collection: Collection::new("photos").unwrap(),
        key_floor: 1 << 60,
    };
    join_cluster(&dir.path().join("data/1.0.vol"), properties);
    // A client of the cluster stores in it; its master is not there.
    let options = Options { args: cluster_args(), ..Options::default() };
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(put(&daemon, 2, 100, None), 403);
    let fid = "/1,0200000005?type=replicate";
    let stored = daemon.client().request("PUT", fid, &[], Some(&bytes(2, 100))).unwrap();
    assert_eq!(stored.status, 201);
    let status = json(&daemon.admin("/volumes/1"));
    let wanted = json!({
        "collection": "photos", "placement": "001", "ttl": "9y", "read_only": false,
        "takes_deletes": false, "max_key": (1_u64 << 60).to_string(), "held": false, "copies": [],
    });
    assert_eq!(status["cluster"], wanted);
    let (code, list, _) = daemon.command(&["volume", "list"]);
    assert_eq!(code, 0);
    assert!(list.contains("PLACEMENT") && list.contains("photos"), "{list}");
    assert!(daemon.stop().success());
    let data = data(dir.path());
    let report: Value =
        serde_json::from_str(&hayloft(&["check", "--data", &data, "--json"])).unwrap();
    let cluster = &report["volumes"][0]["cluster"];
    assert_eq!((&cluster["collection"], &cluster["ttl"]), (&json!("photos"), &json!("9y")));
    assert_eq!(cluster["max_key"], 1_u64 << 60);
    let text = hayloft(&["check", "--data", &data]);
    assert!(text.contains("collection photos, placement 001, photos live 9y"), "{text}");
    let rows = dump(dir.path());
    assert_eq!((rows.len(), &rows[0]["cluster"]), (2, &Value::Null), "before it joined");
    assert_eq!(rows[1]["cluster"]["crc32c"].as_str().map(str::len), Some(8));
    assert!(rows[1]["expires"].is_string(), "by the time to live of the volume");
}

#[test]
fn attributes_go_from_one_store_to_another() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let text = encoded(attributes());
    assert_eq!(put(&daemon, 1, 100, Some(&text)), 201);
    assert_eq!(put(&daemon, 2, LARGE, Some(&text)), 201);
    assert_eq!(put(&daemon, 3, 100, None), 201);
    let not_canonical = format!("{text}AAAA");
    for bad in ["", "x", "AAAA", "BQABAA==", &not_canonical, &text[4..]] {
        let status = put(&daemon, 4, 100, Some(bad));
        assert_eq!(status, if bad.is_empty() { 201 } else { 400 }, "{bad:?}");
    }
    let tars = ["online.tar", "offline.tar"].map(|name| dir.path().join(name));
    let names = tars.each_ref().map(|tar| tar.to_str().unwrap());
    // Of the running daemon, through the exchange format.
    hayloft(&["export", "--server", &daemon.admin.to_string(), "-o", names[0]]);
    assert!(daemon.stop().success());
    let rows = dump(dir.path());
    let wanted = json!({
        "crc32c": null, "flags": 0x2e, "ttl": null, "appended": "2020-01-02T03:04:05.000000001Z",
        "origin_version": 7, "name": "p q.jpg", "pairs": "{\"Owner\":\"bob\"}",
    });
    for (row, cluster) in rows.iter().zip([&wanted, &wanted, &Value::Null, &Value::Null]) {
        assert_eq!(row["cluster"], *cluster, "{row}");
    }
    hayloft(&["export", "--data", &data(dir.path()), "-o", names[1]]);
    for tar in names {
        let other = data_dir();
        let daemon = Daemon::start(other.path(), &Options::default());
        let (server, admin) = (daemon.data.to_string(), daemon.admin.to_string());
        hayloft(&["import", "--server", &server, "--admin", &admin, tar]);
        assert!(daemon.stop().success());
        let clusters = by_key(dump(other.path()));
        assert_eq!(clusters, [wanted.clone(), wanted.clone(), Value::Null, Value::Null]);
        // As a batch.
        let other = data_dir();
        let daemon = Daemon::start(other.path(), &Options::default());
        let body = std::fs::read(tar).unwrap();
        let reply = daemon.client().request("POST", "/1/batch", &[], Some(&body)).unwrap();
        assert_eq!(reply.status, 201, "{}", String::from_utf8_lossy(&reply.body));
        assert!(daemon.stop().success());
        let clusters = by_key(dump(other.path()));
        assert_eq!(clusters, [wanted.clone(), wanted.clone(), Value::Null, Value::Null]);
    }
}

fn by_key(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(|row| row["key"].as_u64());
    rows.into_iter().map(|row| row["cluster"].clone()).collect()
}
