//! Requests of SeaweedFS clients to a node of a cluster, which nginx passes on as they come.

use super::assert_no_upstream_errors;
use crate::daemon_harness::cluster::start_in_cluster;
use crate::daemon_harness::{Daemon, Options, RawConnection, Reply, bytes, data_dir};
use crate::nginx_harness::{Nginx, Setup};

/// Bodies are not collected, and chunked ones stay chunked.
const UNBUFFERED: [(&str, &str); 1] =
    [("proxy_request_buffering on;", "proxy_request_buffering off;")];

/// Fields that nginx sets itself, or whose values depend on the time.
const OWN: [&str; 4] = ["server", "date", "connection", "last-modified"];

/// A form as curl sends it, with `photo` as its file.
fn form(photo: &[u8]) -> Vec<u8> {
    let head = "--B0undary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"p.jpg\"\r\n\
                Content-Type: image/jpeg\r\n\r\n";
    [head.as_bytes(), photo, b"\r\n--B0undary--\r\n"].concat()
}

/// A request with a chunked body.
fn send_chunked(
    client: &mut RawConnection,
    line: &str,
    field: &str,
    body: &[u8],
    len: usize,
) -> Reply {
    let head = format!("{line} HTTP/1.1\r\nHost: a\r\n{field}Transfer-Encoding: chunked\r\n\r\n");
    client.send(head.as_bytes()).unwrap();
    for chunk in body.chunks(len) {
        client.send(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
        client.send(&[chunk, b"\r\n"].concat()).unwrap();
    }
    client.send(b"0\r\n\r\n").unwrap();
    client.reply(false).unwrap()
}

/// Status, body and the fields that the daemon sent.
type OfDaemon = (u16, Vec<u8>, Vec<(String, String)>);

fn of_daemon(reply: &Reply) -> OfDaemon {
    let fields =
        reply.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let mut fields: Vec<_> = fields.filter(|(name, _)| !OWN.contains(&&**name)).collect();
    fields.sort_unstable();
    (reply.status, reply.body.clone(), fields)
}

/// The same requests on two connections; photo `key` names none before them.
fn replies(client: &mut RawConnection, key: u64) -> Vec<OfDaemon> {
    const FORM: (&str, &str) = ("Content-Type", "multipart/form-data; boundary=B0undary");
    let fid = |number: u64| format!("/2,{:x}637037d6", key + number);
    let form_field = format!("{}: {}\r\n", FORM.0, FORM.1);
    let (small, large) = (bytes(1, 30_000), bytes(2, 2_500_000));
    let mut all = Vec::new();
    for (number, photo) in [(1, &small), (2, &large)] {
        let posted = client.request("POST", &fid(number), &[FORM], Some(&form(photo))).unwrap();
        assert_eq!(posted.status, 201, "{}", posted.text());
        let got = client.get(&fid(number)).unwrap();
        assert!(got.status == 200 && got.body == *photo);
        assert_eq!(got.header("content-type"), Some("image/jpeg"));
        all.extend([posted, got]);
    }
    for (number, photo, len) in [(3, &small, 1000), (4, &large, 70_000)] {
        let line = format!("POST {}", fid(number));
        let posted = send_chunked(client, &line, &form_field, &form(photo), len);
        assert_eq!(posted.status, 201, "{}", posted.text());
        let got = client.get(&fid(number)).unwrap();
        assert!(got.status == 200 && got.body == *photo);
        all.extend([posted, got]);
    }
    let line = format!("PUT {}/raw.bin", fid(5).replacen(',', "/", 1));
    all.push(send_chunked(client, &line, "", &small, 4096));
    let line = format!("PUT {}/empty", fid(6).replacen(',', "/", 1));
    all.push(send_chunked(client, &line, "", b"", 1));
    for (method, number, fields) in [
        ("GET", 1, &[("Range", "bytes=10-19")][..]),
        ("GET", 2, &[("Range", "bytes=-5")]),
        ("GET", 4, &[("Range", "bytes=2400000-2400100")]),
        ("GET", 1, &[("Range", "bytes=99999-")]),
        ("GET", 5, &[]),
        ("GET", 6, &[]),
        ("GET", 99, &[]),
        ("HEAD", 1, &[]),
        ("HEAD", 2, &[]),
        ("DELETE", 1, &[]),
        ("DELETE", 1, &[]),
        ("GET", 1, &[]),
    ] {
        all.push(client.request(method, &fid(number), fields, None).unwrap());
    }
    let etag = all[2].header("etag").unwrap().to_owned();
    all.push(client.request("GET", &fid(2), &[("If-None-Match", &etag)], None).unwrap());
    all.push(client.request("POST", &fid(7), &[FORM], Some(b"no form")).unwrap());
    all.iter().map(of_daemon).collect()
}

#[test]
fn requests_of_seaweedfs_clients_work_through_nginx() {
    let dir = data_dir();
    let options = Options { shards: 2, volume_size: "256MiB", ..Options::default() };
    let daemon: Daemon = start_in_cluster(dir.path(), options);
    let setup = Setup { edits: &UNBUFFERED, ..Setup::default() };
    let nginx = Nginx::start(dir.path(), &daemon, &setup);
    let through = replies(&mut nginx.writer(), 0x100);
    let direct = replies(&mut daemon.connect(), 0x200);
    let wanted = [
        201, 200, 201, 200, 201, 200, 201, 200, 201, 201, 206, 206, 206, 416, 200, 200, 404, 200,
        200, 202, 404, 404, 304, 400,
    ];
    let statuses = |replies: &[OfDaemon]| replies.iter().map(|it| it.0).collect::<Vec<_>>();
    assert_eq!(statuses(&through), wanted);
    for (number, (through, direct)) in through.iter().zip(&direct).enumerate() {
        assert!(through.1 == direct.1, "reply {number}: other bytes");
        assert_eq!((through.0, &through.2), (direct.0, &direct.2), "reply {number}");
    }
    // Requests one after the other, also chunked ones, use few connections to the daemon.
    let before = daemon.metric("hayloft_connections_accepted_total", "");
    let mut client = nginx.writer();
    for number in 0..30_u64 {
        let line = format!("PUT /2,{:x}637037d6", 0x300 + number);
        assert_eq!(send_chunked(&mut client, &line, "", &bytes(number, 500), 100).status, 201);
    }
    let opened = daemon.metric("hayloft_connections_accepted_total", "") - before;
    assert!(opened <= 2.0, "{opened} connections for 30 requests");
    assert_no_upstream_errors(&nginx);
    drop(nginx);
    let log = daemon.log_text();
    assert!(daemon.stop().success() && !log.contains("panicked"), "{log}");
}
