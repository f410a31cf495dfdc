//! Photos that expire.

use std::time::{Duration, Instant};

use super::{Headers, Store, both, header, now};
use crate::daemon_harness::{COOKIE, Reply, bytes, path};

const NAME: &str = "X-Hayloft-Expires";
/// 2100-01-01, with a fraction.
const FAR: &str = "4102444800.250000000";

fn put(store: &Store, path: &str, time: &str, body: &[u8]) -> Reply {
    store.ask("PUT", path, &[(NAME, time)], Some(body))
}

/// Changes when a photo expires.
fn change(store: &Store, path: &str, time: &str) -> u16 {
    store.ask("POST", path, &[(NAME, time)], Some(b"")).status
}

fn expiry(reply: &Reply) -> Option<&str> {
    reply.header("x-hayloft-expires")
}

fn head(store: &Store, path: &str) -> Reply {
    store.ask("HEAD", path, &[], None)
}

fn max_age(reply: &Reply) -> u64 {
    let value = reply.header("cache-control").unwrap();
    value.strip_prefix("public, max-age=").unwrap().parse().unwrap()
}

/// Waits until a photo is absent.
fn await_absence(store: &Store, path: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while store.get(path).status != 404 {
        assert!(Instant::now() < deadline, "{path} does not expire");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn time_of_expiry_is_kept_and_answered() {
    both(|store| {
        for (key, len) in [(1, 0), (2, 100), (3, 1 << 20), (4, 3_000_000)] {
            let stored = put(store, &path(key), "4102444800.25", &bytes(key, len));
            assert_eq!(stored.status, 201, "{len}: {}", stored.text());
            let etag = stored.header("etag").unwrap().to_owned();
            let got = store.get(&path(key));
            assert_eq!((got.status, expiry(&got), got.body.len()), (200, Some(FAR), len));
            assert_eq!(max_age(&got), 86_400, "it has longer than that left");
            assert_eq!(expiry(&head(store, &path(key))), Some(FAR));
            let cached = store.ask("GET", &path(key), &[("If-None-Match", &etag)], None);
            assert_eq!((cached.status, expiry(&cached)), (304, Some(FAR)));
            let posted = store.ask("POST", "/1", &[(NAME, "4102444800")], Some(&bytes(9, len)));
            assert_eq!(posted.status, 201);
            let location = posted.header("location").unwrap();
            assert_eq!(expiry(&head(store, location)), Some("4102444800"));
            // A photo that replaces it has its own time, or none.
            assert_eq!(store.ask("PUT", &path(key), &[], Some(b"x")).status, 204);
            assert_eq!(expiry(&head(store, &path(key))), None);
        }
        put(store, &path(5), FAR, b"0123456789");
        let part = store.ask("GET", &path(5), &[("Range", "bytes=0-3")], None);
        assert_eq!((part.status, expiry(&part), &part.body[..]), (206, Some(FAR), &b"0123"[..]));
    });
}

#[test]
fn expired_photo_is_absent_and_its_name_free() {
    both(|store| {
        let soon = format!("{}.5", now() + 2);
        let large = bytes(2, 2_000_000);
        let paths = [path(1), path(2), path(3)];
        for (path, body) in paths.iter().zip([&b"small"[..], &large, b"another"]) {
            assert_eq!(put(store, path, &soon, body).status, 201);
        }
        let left = max_age(&head(store, &path(1)));
        assert!(left <= 2, "no cache keeps it for longer: {left} s");
        paths.iter().for_each(|path| await_absence(store, path));
        for path in &paths {
            assert_eq!(head(store, path).status, 404);
            assert_eq!(store.ask("DELETE", path, &[], None).status, 404);
            assert_eq!(change(store, path, "never"), 404);
        }
        let list = format!("1/0/{COOKIE}\n2/0/{COOKIE}\n");
        let text: Headers = &[("Content-Type", "text/plain")];
        let deleted = store.ask("POST", "/1/delete", text, Some(list.as_bytes()));
        assert_eq!((deleted.status, deleted.text().matches(":404}").count()), (200, 2));
        let foreign = |key: u64| format!("/1/{key}/0/{}", "f".repeat(16));
        let matching = store.ask("PUT", &path(1), &[("If-Match", "*")], Some(b"x"));
        assert_eq!(matching.status, 412);
        let new: Headers = &[("If-None-Match", "*")];
        assert_eq!(store.ask("PUT", &foreign(1), new, Some(b"new")).status, 201);
        assert_eq!(store.ask("PUT", &foreign(2), &[], Some(&large)).status, 201);
        assert_eq!(store.ask("PUT", &path(3), &[], Some(b"again")).status, 201, "its own cookie");
        assert_eq!(store.get(&foreign(1)).body, b"new");
        assert_eq!(store.get(&foreign(2)).body, large);
        assert_eq!(store.get(&path(1)).status, 404);
    });
}

#[test]
fn time_that_is_malformed_or_past_is_refused_and_nothing_stored() {
    both(|store| {
        let past = (now() - 1).to_string();
        for time in ["", "-1", "1.", "4102444800.0000000001", "soon", "never", "0", &past] {
            for (method, path) in [("PUT", path(1)), ("POST", "/1".into()), ("POST", "/".into())] {
                let reply = store.ask(method, &path, &[(NAME, time)], Some(b"x"));
                assert_eq!(reply.status, 400, "{method} {time:?}");
                assert!(reply.text().contains(NAME), "{}", reply.text());
            }
        }
        let twice: Headers = &[(NAME, FAR), ("x-hayloft-expires", FAR)];
        assert_eq!(store.ask("PUT", &path(1), twice, Some(b"x")).status, 400);
        store.assert_needles(0);
        assert_eq!(store.ask("GET", &path(1), &[(NAME, "soon")], None).status, 404, "ignored");
    });
}

#[test]
fn time_of_expiry_is_changed_by_a_post_without_a_body() {
    both(|store| {
        for (key, len) in [(1, 0), (2, 70_000), (3, 3_000_000)] {
            let (at, body) = (path(key), bytes(key, len));
            let modified: Headers =
                &[("X-Hayloft-Modified", "1577934245"), ("Content-Type", "a/b")];
            let stored = store.ask("PUT", &at, modified, Some(&body));
            let (tag, date) = (stored.header("etag").unwrap(), stored.header("last-modified"));
            for (time, want) in [
                ("4102444800.25", Some(FAR)),
                ("4102444801", Some("4102444801")),
                ("4102444801", Some("4102444801")),
                ("never", None),
                ("never", None),
            ] {
                assert_eq!(change(store, &at, time), 204, "{time}");
                let got = store.get(&at);
                assert_eq!((got.status, expiry(&got)), (200, want), "{time}");
                assert!(got.body == body, "the body stays");
                assert_eq!(got.header("etag"), Some(tag));
                assert_eq!(got.header("last-modified"), date);
                assert_eq!(got.header("content-type"), Some("a/b"));
            }
            let change_if = |name, value| {
                store.ask("POST", &at, &[(NAME, FAR), (name, value)], Some(b"")).status
            };
            assert_eq!(change_if("If-Match", "\"x\""), 412);
            assert_eq!(change_if("If-None-Match", "*"), 412);
            assert_eq!(change_if("If-Match", "x"), 400, "malformed");
            assert_eq!(change_if("Origin", "http://other"), 403);
            assert_eq!(change_if("Content-Type", "multipart/form-data"), 415);
            assert_eq!(expiry(&head(store, &at)), None);
            assert_eq!(change_if("If-Match", tag), 204);
            assert_eq!(expiry(&head(store, &at)), Some(FAR));
            let soon = format!("{}", now() + 1);
            assert_eq!(change(store, &at, &soon), 204);
            await_absence(store, &at);
        }
        let foreign = format!("/1/4/0/{}", "f".repeat(16));
        store.create(&path(4), b"x");
        assert_eq!((change(store, &foreign, FAR), change(store, &path(9), FAR)), (404, 404));
        for time in ["", "soon", "0", "Never"] {
            assert_eq!(change(store, &path(4), time), 400, "{time:?}");
        }
        assert_eq!(store.ask("POST", &path(4), &[], Some(b"")).status, 400, "without the header");
        let with_body = store.ask("POST", &path(4), &[(NAME, FAR)], Some(b"photo"));
        assert_eq!(with_body.status, 400);
        assert_eq!(store.get(&path(4)).body, b"x");
    });
}

/// A tar of photos with these records.
fn tar_of(photos: &[(u64, Option<&str>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (key, record) in photos {
        if let Some(value) = record {
            tar.append_pax_extensions([("HAYLOFT.expires", value.as_bytes())]).unwrap();
        }
        let name = format!("{key}/0/{COOKIE}");
        tar.append(&header(tar::EntryType::Regular, &name, 5), &b"photo"[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn photos_of_a_batch_expire_one_by_one() {
    both(|store| {
        let photos = [(1, Some("4102444800.25")), (2, None), (3, Some("1")), (4, Some(""))];
        let stored = store.ask("POST", "/1/batch", &[], Some(&tar_of(&photos)));
        assert_eq!(stored.status, 201, "{}", stored.text());
        assert_eq!(expiry(&head(store, &path(1))), Some(FAR));
        for key in [2, 4] {
            let got = head(store, &path(key));
            assert_eq!((got.status, expiry(&got)), (200, None), "{key}");
        }
        assert_eq!(head(store, &path(3)).status, 404, "it has expired");
        // A time for all that have none of their own.
        let photos = [(5, Some("4102444800.25")), (6, None)];
        let all: Headers = &[(NAME, "4102444801")];
        assert_eq!(store.ask("POST", "/1/batch", all, Some(&tar_of(&photos))).status, 201);
        assert_eq!(expiry(&head(store, &path(5))), Some(FAR));
        assert_eq!(expiry(&head(store, &path(6))), Some("4102444801"));
        let bad = store.ask("POST", "/1/batch", &[], Some(&tar_of(&[(7, Some("soon"))])));
        assert_eq!((bad.status, bad.text().contains("HAYLOFT.expires")), (400, true));
    });
}
