//! Clients of a real SeaweedFS cluster on a daemon: its tools, its filer, and the same requests to the daemon
//! and to a stock volume server.

mod copies;

use std::collections::BTreeMap;

use crate::daemon_harness::{Client, Daemon, Reply, data_dir, json};
use crate::weed_harness::{Master, MasterPorts, NodePorts, Weed, start_node, wait_for, weed};

/// Bytes without any pattern.
fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| hayloft::runtime::split_mix(&mut state).to_le_bytes());
    words.flatten().take(len).collect()
}

/// Bytes of the photos that live in volumes of the cluster.
fn live_bytes(daemon: &Daemon) -> u64 {
    let volumes = json(&daemon.admin("/volumes"));
    let volumes = volumes.as_array().unwrap().iter();
    let of_cluster = volumes.filter(|volume| !volume["cluster"].is_null());
    of_cluster.map(|volume| volume["live"].as_u64().unwrap()).sum()
}

#[test]
fn tools_store_and_read_photos_that_survive_a_kill() {
    let (dir, ports, node) = (data_dir(), MasterPorts::free(), NodePorts::free());
    let master = Master::start(&dir.path().join("m"), ports);
    let daemon = start_node(dir.path(), node, &[ports.address()], &[]);
    wait_for("the node", || master.node(node.data));
    master.assign("");
    let photo = dir.path().join("p.jpg");
    std::fs::write(&photo, bytes(200_000, 1)).unwrap();
    let address = ports.address();
    let said = weed(&["upload", "-master", &address, photo.to_str().unwrap()]);
    let uploaded: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&uploaded[0]["size"], &uploaded[0]["error"]),
        (&200_000.into(), &serde_json::Value::Null)
    );
    let fid = uploaded[0]["fid"].as_str().unwrap().to_owned();
    let list = dir.path().join("list");
    let list = list.to_str().unwrap();
    let run = |more: &[&str]| {
        let args = ["benchmark", "-master", &address, "-n", "300", "-c", "8", "-list", list];
        weed(&[&args[..], more].concat())
    };
    let said = run(&[]);
    assert_eq!(said.matches("Failed requests:        0").count(), 2, "{said}");
    assert_eq!(
        said.matches("Complete requests:      300").count()
            + said.matches("Completed requests:      300").count(),
        2,
        "{said}"
    );

    daemon.kill();
    let daemon = start_node(dir.path(), node, std::slice::from_ref(&address), &[]);
    wait_for("the node", || master.node(node.data));
    let said = run(&["-readOnly"]);
    assert!(said.contains("Failed requests:        0"), "{said}");
    let read = daemon.client().get(&format!("/{fid}")).unwrap();
    assert!(read.status == 200 && read.body == bytes(200_000, 1));
    assert_eq!(read.header("content-disposition"), Some("inline; filename=p.jpg"));
    let next = master.assign("");
    let key = |fid: &str| {
        u64::from_str_radix(&fid[fid.find(',').unwrap() + 1..fid.len() - 8], 16).unwrap()
    };
    assert!(key(&next) > key(&fid), "the master gives out higher keys");
    assert!(daemon.stop().success());
}

#[test]
fn files_of_a_filer_come_back_and_leave_nothing_when_deleted() {
    let (dir, ports, node) = (data_dir(), MasterPorts::free(), NodePorts::free());
    let master = Master::start(&dir.path().join("m"), ports);
    let daemon = start_node(dir.path(), node, &[ports.address()], &[]);
    wait_for("the node", || master.node(node.data));
    master.assign("");
    let filer = Weed::filer(dir.path(), &master);
    let mut client = Client::new(filer.address);
    // Small files are in the filer itself; text is packed, and files over 4 MiB are several photos.
    let text: Vec<u8> = (0..40_000).flat_map(|n: u32| format!("line {n}\n").into_bytes()).collect();
    let files = [
        ("/a/random.bin", bytes(300_000, 2)),
        ("/a/text.txt", text),
        ("/a/large.bin", bytes(9_500_000, 3)),
    ];
    for (path, body) in &files {
        let stored = client.request("PUT", path, &[], Some(body)).unwrap();
        assert_eq!(stored.status, 201, "{path}: {}", stored.text());
    }
    assert!(live_bytes(&daemon) > 9_800_000);
    for (path, body) in &files {
        let read = client.get(path).unwrap();
        assert!(read.status == 200 && read.body == *body, "{path}");
        let part = client.request("GET", path, &[("Range", "bytes=100000-100099")], None).unwrap();
        assert!(part.status == 206 && part.body == body[100_000..100_100], "{path}");
    }
    let replaced = client.request("PUT", "/a/random.bin", &[], Some(&bytes(250_000, 4))).unwrap();
    assert_eq!(replaced.status, 201);
    assert!(client.get("/a/random.bin").unwrap().body == bytes(250_000, 4));
    for (path, _) in &files {
        assert_eq!(client.request("DELETE", path, &[], None).unwrap().status, 204, "{path}");
        assert_eq!(client.get(path).unwrap().status, 404, "{path}");
    }
    wait_for("the photos to be deleted", || (live_bytes(&daemon) == 0).then_some(()));
    let calls = "call=\"batch_delete\",result=\"done\"";
    assert!(daemon.metric("hayloft_cluster_calls_total", calls) > 0.0);
    drop(filer);
    assert!(daemon.stop().success());
}

/// What of an answer has to be the same.
fn shown(reply: &Reply, names: &[&str]) -> String {
    let mut out = reply.status.to_string();
    for name in names {
        out += &format!("|{name}: {}", reply.header(name).unwrap_or("-"));
    }
    let body = match serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(&reply.body) {
        Ok(mut json) => {
            // Sentences differ.
            if let Some(error) = json.get_mut("error") {
                *error = "...".into();
            }
            format!("{json:?}")
        }
        Err(_) => {
            format!("{} bytes {:x}", reply.body.len(), xxhash_rust::xxh3::xxh3_64(&reply.body))
        }
    };
    out + "|" + &body
}

/// A request: method, target, header fields and body.
type Step = (&'static str, &'static str, Vec<(&'static str, &'static str)>, Option<Vec<u8>>);

/// A multipart form with one file.
fn form(head: &str, data: &[u8]) -> Vec<u8> {
    [b"--b\r\n", head.as_bytes(), b"\r\n\r\n", data, b"\r\n--b--\r\n"].concat()
}

#[test]
fn answers_are_those_of_a_stock_volume_server() {
    let (dir, ports, node) = (data_dir(), MasterPorts::free(), NodePorts::free());
    let master = Master::start(&dir.path().join("m"), ports);
    let daemon = start_node(dir.path(), node, &[ports.address()], &["--rack", "ours"]);
    let stock_dir = dir.path().join("stock");
    std::fs::create_dir(&stock_dir).unwrap();
    let stock = Weed::volume_server(&stock_dir, &master);
    wait_for("the node", || master.node(node.data));
    let in_rack = |rack: &str| {
        let place = format!("?dataCenter=DefaultDataCenter&rack={rack}&collection={rack}");
        master.assigned_volume(&place)
    };
    let (ours_id, theirs_id) = (in_rack("ours"), in_rack("stock"));
    let (mut our_client, mut their_client) = (Client::new(node.data), Client::new(stock.address));
    let multipart = ("Content-Type", "multipart/form-data; boundary=b");
    let jpeg =
        "Content-Disposition: form-data; filename=p.jpg; name=file\r\nContent-Type: image/jpeg";
    let plain = "Content-Disposition: form-data; name=\"file\"; filename=\"\"";
    let with_md5 = "Content-Disposition: form-data; filename=m\r\nContent-Type: text/plain\r\n\
                    Content-Md5: kAFQmDzST7DWlj99KOF/cg==";
    let photo = bytes(3000, 9);
    let of_reads: &[&str] = &[
        "etag",
        "content-type",
        "content-length",
        "last-modified",
        "accept-ranges",
        "content-range",
        "content-disposition",
        "owner",
    ];
    let of_writes: &[&str] = &["etag", "content-md5"];
    let none: &[(&str, &str)] = &[];
    let steps: Vec<Step> = vec![
        ("POST", "01637037d6?ts=1700000000", vec![multipart], Some(form(jpeg, &photo))),
        ("POST", "01637037d6?ts=1700000000", vec![multipart], Some(form(jpeg, &photo))),
        ("GET", "01637037d6", none.to_vec(), None),
        ("HEAD", "01637037d6", none.to_vec(), None),
        ("GET", "01637037d6", vec![("Range", "bytes=0-3")], None),
        ("GET", "01637037d6", vec![("Range", "bytes=-5")], None),
        ("GET", "01637037d6", vec![("Range", "bytes=2990-")], None),
        ("GET", "0163703700", none.to_vec(), None),
        ("POST", "0163703700?ts=1700000000", vec![multipart], Some(form(jpeg, &photo))),
        ("POST", "01637037d6?ts=1700000001", vec![multipart], Some(form(plain, &photo[1..]))),
        ("GET", "01637037d6", none.to_vec(), None),
        ("DELETE", "0163703700", none.to_vec(), None),
        ("DELETE", "01637037d6", none.to_vec(), None),
        ("DELETE", "01637037d6", none.to_vec(), None),
        ("GET", "01637037d6", none.to_vec(), None),
        ("POST", "02637037d6?ts=1700000000", vec![multipart], Some(form(with_md5, b"abc"))),
        ("GET", "02637037d6", none.to_vec(), None),
        ("POST", "02637037d6?ts=1700000000", vec![multipart], Some(form(with_md5, b"abd"))),
        (
            "POST",
            "03637037d6?ts=1700000000",
            vec![multipart, ("Seaweed-Owner", "bob")],
            Some(form(plain, b"")),
        ),
        (
            "POST",
            "04637037d6?ts=1700000000",
            vec![multipart, ("Seaweed-Owner", "bob")],
            Some(form(jpeg, &photo)),
        ),
        ("GET", "04637037d6", none.to_vec(), None),
        ("GET", "04637037d6?dl=true", none.to_vec(), None),
        ("DELETE", "04637037d6", none.to_vec(), None),
        ("POST", "05637037d6", vec![multipart], Some(b"--b\r\nno form".to_vec())),
        ("POST", "05", vec![multipart], Some(form(jpeg, &photo))),
        ("GET", "05", none.to_vec(), None),
        ("GET", "xyz", none.to_vec(), None),
        ("PUT", "06637037d6?ts=1700000000", vec![("Content-Type", "a/b")], Some(b"raw".to_vec())),
        ("GET", "06637037d6", none.to_vec(), None),
    ];
    let mut differences = String::new();
    for (method, target, fields, body) in steps {
        let ours = our_client
            .request(method, &format!("/{ours_id},{target}"), &fields, body.as_deref())
            .unwrap();
        let theirs = their_client
            .request(method, &format!("/{theirs_id},{target}"), &fields, body.as_deref())
            .unwrap();
        let names = if matches!(method, "GET" | "HEAD") { of_reads } else { of_writes };
        // Nothing to compare in an error.
        let names = if theirs.status >= 400 { &[] } else { names };
        let (ours, theirs) = (shown(&ours, names), shown(&theirs, names));
        let theirs = theirs.replace(&format!("{theirs_id},"), &format!("{ours_id},"));
        if ours != theirs {
            differences += &format!(
                "{method} {target} {fields:?}
  ours:  {ours}
  stock: {theirs}
"
            );
        }
    }
    assert!(differences.is_empty(), "{differences}");
    drop(stock);
    assert!(daemon.stop().success());
}
