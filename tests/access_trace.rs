//! The access trace: one record per photo request, appended across restarts, for all photos or a sample of
//! them.

mod daemon_harness;

use std::path::Path;
use std::time::{Duration, Instant};

use daemon_harness::{COOKIE, Daemon, Options, bytes, data_dir, path};
use hayloft::base::access_trace::{
    FLAG_RANGE, HEADER_LEN, Header, Method, RECORD_LEN, Record, object_hash, threshold,
};

fn options(file: &Path, more: &str) -> Options {
    let config = format!("[access_trace]\nfile = \"{}\"\n{more}", file.display());
    Options { config, ..Options::default() }
}

fn records(file: &Path) -> (Header, Vec<Record>) {
    let bytes = std::fs::read(file).unwrap();
    let header = Header::decode(bytes[..HEADER_LEN].try_into().unwrap()).unwrap();
    let records = bytes[HEADER_LEN..].as_chunks::<RECORD_LEN>();
    assert!(records.1.is_empty(), "the trace ends with a partial record");
    (header, records.0.iter().map(Record::decode).collect())
}

#[test]
fn trace_records_every_request_and_continues_after_restart() {
    let dir = data_dir();
    let file = dir.path().join("trace");
    let daemon = Daemon::start(dir.path(), &options(&file, ""));
    let mut client = daemon.client();
    let photo = bytes(1, 9000);
    assert_eq!(client.put(&path(1), &photo).unwrap().status, 201);
    assert_eq!(client.put(&path(1), &photo[..800]).unwrap().status, 204);
    assert_eq!(client.get(&path(1)).unwrap().status, 200);
    let range = [("Range", "bytes=1-2")];
    assert_eq!(client.request("GET", &path(1), &range, None).unwrap().status, 206);
    assert_eq!(client.request("HEAD", &path(1), &[], None).unwrap().status, 200);
    assert_eq!(client.request("POST", "/1", &[], Some(&photo)).unwrap().status, 201);
    assert_eq!(client.get(&path(2)).unwrap().status, 404);
    assert_eq!(client.request("DELETE", &path(1), &[], None).unwrap().status, 204);
    assert_eq!(client.get("/nonsense").unwrap().status, 400);
    assert_eq!(daemon.metric("hayloft_access_trace_records_total", ""), 8.0);
    assert_eq!(daemon.metric("hayloft_access_trace_lost_total", ""), 0.0);
    assert!(daemon.stop().success());

    let (header, first) = records(&file);
    let (one, two) = (object_hash(1, 1, 0), object_hash(1, 2, 0));
    let recorded: Vec<_> =
        first.iter().map(|r| (r.method, r.object, r.status, r.size, r.flags, r.volume)).collect();
    let posted = recorded[5].1;
    let expected = [
        (Method::Put, one, 201, 9000, 0, 1),
        (Method::Put, one, 204, 800, 0, 1),
        (Method::Get, one, 200, 800, 0, 1),
        (Method::Get, one, 206, 800, FLAG_RANGE, 1),
        (Method::Head, one, 200, 800, 0, 1),
        (Method::Post, posted, 201, 9000, 0, 1),
        (Method::Get, two, 404, 0, 0, 1),
        (Method::Delete, one, 204, 0, 0, 1),
    ];
    assert_eq!(recorded, expected);
    assert!(![one, two].contains(&posted));
    assert!(first.is_sorted_by_key(|record| record.time), "{first:?}");
    assert!(first[0].time >= header.started);

    // A record truncated by a kill does not hide the records after it.
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, [&whole[..], &[7; 5]].concat()).unwrap();
    let daemon = Daemon::start(dir.path(), &options(&file, ""));
    let mut tar = tar::Builder::new(Vec::new());
    for key in [8, 9] {
        let mut header = tar::Header::new_gnu();
        header.set_size(10);
        header.set_mode(0o600);
        let name = path(key);
        tar.append_data(&mut header, name.trim_start_matches("/1/"), &[1; 10][..]).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let reply = daemon.client().request("POST", "/1/batch", &[], Some(&tar)).unwrap();
    assert_eq!(reply.status, 201, "{}", reply.text());
    let names = format!("9/0/{COOKIE}\n10/0/{COOKIE}\n");
    let (text, names) = ([("Content-Type", "text/plain")], Some(names.as_bytes()));
    let reply = daemon.client().request("POST", "/1/delete", &text, names).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(daemon.stop().success());
    let (again, all) = records(&file);
    assert_eq!((again, &all[..8]), (header, &first[..]));
    let deletes: Vec<_> =
        all[10..].iter().map(|r| (r.method, r.object, r.status, r.size)).collect();
    let deleted = |key, status| (Method::Delete, object_hash(1, key, 0), status, 0);
    assert_eq!(deletes, [deleted(9, 204), deleted(10, 404)]);
    let batch: Vec<_> = all[8..10].iter().map(|r| (r.method, r.object, r.size)).collect();
    let of = |key| (Method::Batch, object_hash(1, key, 0), 10);
    assert_eq!(batch, [of(8), of(9)]);
}

#[test]
fn sampling_traces_all_requests_of_a_fraction_of_photos() {
    let dir = data_dir();
    let file = dir.path().join("trace");
    let daemon = Daemon::start(dir.path(), &options(&file, "one_object_in = 4\n"));
    let mut client = daemon.client();
    for key in (0..400).chain(0..400) {
        assert_eq!(client.get(&path(key)).unwrap().status, 404);
    }
    assert!(daemon.stop().success());
    let (header, records) = records(&file);
    assert_eq!(header.threshold, threshold(0.25));
    let traced = (0..400).filter(|&key| object_hash(1, key, 0) <= header.threshold).count();
    assert!((50..150).contains(&traced), "{traced}");
    assert_eq!(records.len(), 2 * traced);
}

#[test]
fn trace_file_stops_growing_at_its_size_limit() {
    let dir = data_dir();
    let file = dir.path().join("trace");
    let daemon = Daemon::start(dir.path(), &options(&file, "largest_file = \"1MiB\"\n"));
    let mut client = daemon.connect();
    let request = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(1));
    for _ in 0..40 {
        client.send(request.repeat(1000).as_bytes()).unwrap();
        for _ in 0..1000 {
            assert_eq!(client.reply(false).unwrap().status, 404);
        }
    }
    let began = Instant::now();
    while !daemon.log_text().contains("is full (access_trace.largest_file)") {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", daemon.log_text());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(daemon.stop().success());
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 1 << 20);
    assert_eq!(records(&file).1.len(), (1 << 20) / RECORD_LEN - 1);
}

#[test]
fn start_refuses_to_overwrite_another_file() {
    for (content, more, words) in [
        (&b"photos of the cat"[..], "", "not overwritten"),
        (&[1; 100][..], "", "no access trace"),
        (
            &Header { threshold: threshold(0.5), started: 1 }.encode()[..],
            "one_object_in = 3\n",
            "access_trace.one_object_in",
        ),
    ] {
        let dir = data_dir();
        let file = dir.path().join("trace");
        std::fs::write(&file, content).unwrap();
        let mut daemon = Daemon::launch(dir.path(), &options(&file, more));
        let status = daemon.wait(Duration::from_secs(10)).expect("the daemon did not exit");
        assert_eq!(status.code(), Some(2));
        let log = daemon.log_text();
        assert!(log.contains("cannot write the access trace") && log.contains(words), "{log}");
        assert_eq!(std::fs::read(&file).unwrap(), content);
    }
}
