//! Modification times stated by clients.

use super::{Store, both, date_of, header, now};
use crate::daemon_harness::{COOKIE, Reply, bytes, path};

/// 2020-01-02 03:04:05.
const TIME: u64 = 1_577_934_245;
const STATED: &str = "1577934245.678900001";

fn last_modified(store: &Store, path: &str) -> u64 {
    date_of(&store.ask("HEAD", path, &[], None), "last-modified")
}

fn put(store: &Store, path: &str, time: &str, body: &[u8]) -> Reply {
    store.ask("PUT", path, &[("X-Hayloft-Modified", time)], Some(body))
}

#[test]
fn stated_time_is_kept_for_small_and_multipart_photos() {
    both(|store| {
        for (key, len) in [(1, 0), (2, 100), (3, 1 << 20), (4, 3_000_000)] {
            let stored = put(store, &path(key), STATED, &bytes(key, len));
            assert_eq!((stored.status, date_of(&stored, "last-modified")), (201, TIME), "{len}");
            assert_eq!(last_modified(store, &path(key)), TIME);
            let posted = store.ask(
                "POST",
                "/1",
                &[("x-hayloft-modified", "1577934245")],
                Some(&bytes(9, len)),
            );
            assert_eq!((posted.status, date_of(&posted, "last-modified")), (201, TIME), "{len}");
            assert_eq!(last_modified(store, posted.header("location").unwrap()), TIME);
        }
        put(store, &path(5), "0", b"x");
        assert_eq!(last_modified(store, &path(5)), 0, "1970 is a time like any other");
    });
}

#[test]
fn later_write_wins_whatever_time_it_states() {
    both(|store| {
        let began = now();
        assert_eq!(store.ask("PUT", &path(1), &[], Some(b"new")).status, 201);
        assert!(last_modified(store, &path(1)) >= began);
        assert_eq!(put(store, &path(1), STATED, b"newer").status, 204);
        let got = store.get(&path(1));
        assert_eq!((&got.body[..], date_of(&got, "last-modified")), (&b"newer"[..], TIME));
        assert_eq!(store.ask("PUT", &path(1), &[], Some(b"newest")).status, 204);
        assert_eq!(store.get(&path(1)).body, b"newest");
        assert!(last_modified(store, &path(1)) >= began);
    });
}

#[test]
fn conditions_use_the_stated_time() {
    both(|store| {
        put(store, &path(1), STATED, b"x");
        let ask =
            |method, name, date, body| store.ask(method, &path(1), &[(name, date)], body).status;
        let (at, before) = ("Thu, 02 Jan 2020 03:04:05 GMT", "Thu, 02 Jan 2020 03:04:04 GMT");
        assert_eq!(ask("GET", "If-Modified-Since", at, None), 304);
        assert_eq!(ask("GET", "If-Modified-Since", before, None), 200);
        assert_eq!(ask("PUT", "If-Unmodified-Since", before, Some(b"y")), 412);
        assert_eq!(ask("PUT", "If-Unmodified-Since", at, Some(b"y")), 204);
        assert_eq!(ask("DELETE", "If-Unmodified-Since", at, None), 412, "modified now");
    });
}

#[test]
fn future_time_becomes_the_present() {
    both(|store| {
        let began = now();
        for (key, time) in [(1, (began + 1000).to_string()), (2, "9".repeat(30))] {
            assert_eq!(put(store, &path(key), &time, b"x").status, 201);
            assert!((began..=now()).contains(&last_modified(store, &path(key))), "{time}");
        }
    });
}

#[test]
fn malformed_time_is_refused_and_nothing_stored() {
    both(|store| {
        for time in
            ["", "-1", "1.", ".1", "1.0000000001", "1e9", "soon", "Thu, 02 Jan 2020 03:04:05 GMT"]
        {
            for (method, path) in [("PUT", path(1)), ("POST", "/1".into()), ("POST", "/".into())] {
                let reply = store.ask(method, &path, &[("X-Hayloft-Modified", time)], Some(b"x"));
                assert_eq!(reply.status, 400, "{method} {time:?}");
                assert!(reply.text().contains("X-Hayloft-Modified"), "{}", reply.text());
            }
        }
        store.assert_needles(0);
        assert_eq!(store.ask("GET", &path(1), &[("X-Hayloft-Modified", "soon")], None).status, 404);
    });
}

/// A tar of one photo, with this time in its header and this record before it.
fn tar_with(key: u64, time: u64, record: Option<&str>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    if let Some(value) = record {
        tar.append_pax_extensions([("mtime", value.as_bytes())]).unwrap();
    }
    let name = format!("{key}/0/{COOKIE}");
    let mut header = header(tar::EntryType::Regular, &name, 5);
    header.set_mtime(time);
    header.set_cksum();
    tar.append(&header, &b"photo"[..]).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn batch_entries_state_modification_times() {
    both(|store| {
        let began = now();
        let post = |tar: &[u8]| store.ask("POST", "/1/batch", &[], Some(tar));
        let cases =
            [(1, TIME, None), (2, 1, Some(STATED)), (3, 0, Some("1577934245.12345678901234"))];
        for (key, time, record) in cases {
            assert_eq!(post(&tar_with(key, time, record)).status, 201);
            assert_eq!(last_modified(store, &path(key)), TIME, "{key}");
        }
        for (key, time) in [(4, 0), (6, began + 1000)] {
            assert_eq!(post(&tar_with(key, time, None)).status, 201);
            assert!((began..=now()).contains(&last_modified(store, &path(key))), "{key}");
        }
        // A record of 0 is a time, and times before 1970 count as 0.
        for (key, record) in [(5, "0"), (7, "-3.5")] {
            assert_eq!(post(&tar_with(key, TIME, Some(record))).status, 201);
            assert_eq!(last_modified(store, &path(key)), 0, "{key}");
        }
        let reply = post(&tar_with(8, TIME, Some("soon")));
        assert_eq!((reply.status, reply.text().contains("modification time")), (400, true));
        store.assert_needles(7);
    });
}
