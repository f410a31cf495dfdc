//! Multi-deletes: what a request may name, and that it deletes all or nothing.

use super::{Headers, Store, both, both_with, tar_of, with_foreign_cookie};
use crate::daemon_harness::{COOKIE, Client, RawConnection, Reply, bytes, path};

const TEXT: (&str, &str) = ("Content-Type", "text/plain");

fn name(key: u64) -> String {
    format!("{key}/0/{COOKIE}")
}

fn lines(keys: impl IntoIterator<Item = u64>) -> String {
    keys.into_iter().map(|key| name(key) + "\n").collect()
}

fn ask(client: &mut RawConnection, headers: Headers, body: &str) -> Reply {
    let headers = [&[TEXT], headers].concat();
    client.request("POST", "/1/delete", &headers, Some(body.as_bytes())).unwrap()
}

fn delete(store: &Store, body: &str) -> Reply {
    ask(&mut store.connect(), &[], body)
}

/// Key, alternate key and status of each photo of a reply.
fn outcomes(reply: &Reply) -> Vec<(u64, u64, u64)> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let photos: Vec<serde_json::Value> = serde_json::from_slice(&reply.body).unwrap();
    let number = |photo: &serde_json::Value, field| photo[field].as_u64().unwrap();
    photos
        .iter()
        .map(|photo| {
            assert_eq!(photo.as_object().unwrap().len(), 3, "{photo}");
            (number(photo, "key"), number(photo, "alt"), number(photo, "status"))
        })
        .collect()
}

/// Stores photos under these keys, with a batch put.
fn store_photos(store: &Store, keys: impl IntoIterator<Item = u64>) {
    let names: Vec<String> = keys.into_iter().map(name).collect();
    let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &b"photo"[..])).collect();
    assert_eq!(store.ask("POST", "/1/batch", &[], Some(&tar_of(&entries))).status, 201);
}

#[test]
fn photos_are_deleted_and_the_answer_lists_each() {
    both(|store| {
        store_photos(store, [1, 2, 3]);
        store.create(&path(4), &bytes(4, 3_000_000));
        store.create(&format!("/1/1/7/{COOKIE}"), b"another size");
        store.create(&format!("/1/{}/4294967295/{COOKIE}", u64::MAX), b"the last");
        let other = with_foreign_cookie(&path(3));
        // An absent one, another cookie, a large photo, another size, the largest numbers; no last end.
        let body = lines([2, 9])
            + &other[3..]
            + "\n"
            + &lines([4])
            + &format!("1/7/{COOKIE}\n{}/4294967295/{COOKIE}", u64::MAX);
        let reply = delete(store, &body);
        assert_eq!(
            outcomes(&reply),
            [
                (2, 0, 204),
                (9, 0, 404),
                (3, 0, 404),
                (4, 0, 204),
                (1, 7, 204),
                (u64::MAX, u64::from(u32::MAX), 204)
            ]
        );
        assert_eq!(store.get(&path(1)).body, b"photo");
        assert_eq!(store.get(&path(3)).body, b"photo");
        for key in [2, 4] {
            assert_eq!(store.get(&path(key)).status, 404);
        }
        store.assert_needles(2);
        let again = delete(store, &body);
        assert!(outcomes(&again).iter().all(|(_, _, status)| *status == 404));
        // What was deleted can be stored again, with another cookie.
        store.create(&with_foreign_cookie(&path(2)), b"new");
    });
}

#[test]
fn up_to_1000_photos_are_deleted_with_one_commit() {
    both_with("[limits]\nbuffer_memory_per_shard = \"8MiB\"\n", "64MiB", |store| {
        let commits = || store.daemon.metric("hayloft_commits_total", "");
        let none = commits();
        store_photos(store, 0..1000);
        // Counters are published a little later than a write is answered.
        store.daemon.wait_until("the commit of the batch put", || commits() > none);
        let before = commits();
        let reply = delete(store, &lines((0..1000).rev()));
        let wanted: Vec<_> = (0..1000).rev().map(|key| (key, 0, 204)).collect();
        assert_eq!(outcomes(&reply), wanted);
        store.assert_needles(0);
        store.daemon.wait_until("the commit of the multi-delete", || commits() > before);
        assert_eq!(commits() - before, 1.0);
    });
}

#[test]
fn longest_request_and_answer_are_accepted() {
    both(|store| {
        let body: String =
            (0..1000).map(|n| format!("{}/4294967295/{COOKIE}\n", u64::MAX - n)).collect();
        assert_eq!(body.len(), 49_000);
        let wanted: Vec<_> = (0..1000).map(|n| (u64::MAX - n, 4_294_967_295, 404)).collect();
        assert_eq!(outcomes(&delete(store, &body)), wanted);
        let mut client = store.connect();
        let longer = ask(&mut client, &[], &(body + "x"));
        assert_eq!((longer.status, longer.header("connection")), (413, Some("close")));
        assert!(longer.text().contains("1000"), "{}", longer.text());
    });
}

#[test]
fn too_many_photos_delete_none() {
    both(|store| {
        store_photos(store, 0..1000);
        let mut client = store.connect();
        let reply = ask(&mut client, &[], &lines(0..1001));
        assert_eq!((reply.status, reply.text().contains("1000")), (413, true));
        assert_eq!(client.get(&path(1)).unwrap().status, 200, "the connection stays open");
        store.assert_needles(1000);
    });
}

#[test]
fn malformed_or_repeated_names_delete_nothing() {
    both(|store| {
        store_photos(store, [1, 2]);
        let good = name(1);
        let mut client = store.connect();
        for (body, reason) in [
            (String::new(), "names no photo"),
            ("\n".to_owned(), "line 1 "),
            (format!("{good}\r\n"), "line 1 "),
            (format!("{good}\n\n"), "line 2 "),
            (format!("{good}\n {}\n", name(2)), "line 2 "),
            (format!("{good}\n/1/{}\n", name(2)), "line 2 "),
            (format!("{good}\n2/0/{}\n", "F".repeat(16)), "line 2 "),
            (format!("{good}\n02/0/{COOKIE}\n"), "line 2 "),
            (format!("{good}\n2/0/0123\n"), "line 2 "),
            (format!("{good}\n{}\n{good}\n", name(2)), "line 3 names photo 1/0 again"),
            (format!("{good}\n1/0/{}\n", "f".repeat(16)), "line 2 names photo 1/0 again"),
        ] {
            let reply = ask(&mut client, &[], &body);
            assert_eq!((reply.status, reply.header("connection")), (400, None), "{body:?}");
            assert_eq!(reply.text().lines().count(), 1);
            assert!(reply.text().contains(reason), "{body:?}: {}", reply.text());
            assert!(!reply.text().contains(COOKIE), "{}", reply.text());
        }
        store.assert_needles(2);
        assert_eq!(client.get(&path(1)).unwrap().status, 200, "the connection stays open");
    });
}

#[test]
fn conditions_must_hold_for_each_photo_that_exists() {
    both(|store| {
        store_photos(store, [1, 2]);
        let etag = store.create(&path(3), b"another");
        let mut client = store.connect();
        for (condition, keys) in [
            (("If-None-Match", "*"), vec![9, 1]),
            (("If-Match", &etag[..]), vec![3, 2]),
            (("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"), vec![1]),
        ] {
            let reply = ask(&mut client, &[condition], &lines(keys));
            assert_eq!(reply.status, 412, "{condition:?}");
        }
        store.assert_needles(3);
        // 404 takes precedence over a condition, photo by photo.
        let reply = ask(&mut client, &[("If-Match", &etag)], &lines([9, 3]));
        assert_eq!(outcomes(&reply), [(9, 0, 404), (3, 0, 204)]);
        let reply = ask(&mut client, &[("If-Match", "x")], &lines([1]));
        assert_eq!((reply.status, reply.header("connection")), (400, Some("close")));
        assert_eq!(outcomes(&delete(store, &lines([1, 2]))), [(1, 0, 204), (2, 0, 204)]);
    });
}

#[test]
fn bad_heads_are_refused_before_the_body() {
    both(|store| {
        store_photos(store, [1]);
        let body = lines([1]);
        for (fields, want) in [
            ("", 415),
            ("Content-Type: image/jpeg\r\n", 415),
            ("Content-Type: application/json\r\n", 415),
            ("Content-Type: application/x-www-form-urlencoded\r\n", 415),
            ("Content-Type: text/plain\r\nContent-Encoding: gzip\r\n", 415),
            ("Content-Type: text/plain\r\nContent-Range: bytes 0-9/10\r\n", 400),
            ("Content-Type: text/plain\r\nContent-MD5: x\r\n", 400),
            ("Content-Type: text/plain\r\nOrigin: http://b\r\n", 403),
            ("Content-Type: text/plain\r\nOrigin: null\r\n", 403),
            ("Content-Type: text/plain\r\nExpect: x\r\n", 417),
            ("Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n", 501),
        ] {
            let mut client = store.connect();
            let len = match want {
                501 => String::new(),
                _ => format!("Content-Length: {}\r\n", body.len()),
            };
            let head = format!("POST /1/delete HTTP/1.1\r\nHost: a\r\n{len}{fields}\r\n");
            client.send(head.as_bytes()).unwrap();
            let reply = client.reply(false).unwrap();
            assert_eq!((reply.status, reply.header("connection")), (want, Some("close")), "{head}");
            assert_eq!(reply.text().lines().count(), 1, "{head}");
            let _ = client.send(body.as_bytes());
            assert!(client.at_end(), "{head}");
        }
        let mut client = store.connect();
        client
            .send(b"POST /1/delete HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n\r\n")
            .unwrap();
        assert_eq!(client.reply(false).unwrap().status, 411);
        let reply = store.ask("POST", "/1/delete", &[], Some(body.as_bytes()));
        assert!(reply.text().contains("curl --data-binary @photos.txt"), "{}", reply.text());
        assert_eq!(store.get(&path(1)).status, 200);
        // Parameters of the media type are accepted.
        let headers =
            [("Content-Type", "Text/Plain; charset=UTF-8"), ("Content-Encoding", "identity")];
        let reply = store.ask("POST", "/1/delete", &headers, Some(body.as_bytes()));
        assert_eq!(outcomes(&reply), [(1, 0, 204)]);
    });
}

#[test]
fn digest_of_the_body_is_verified() {
    both(|store| {
        store_photos(store, [1, 2]);
        let body = lines([1]);
        let xxh3 = xxhash_rust::xxh3::xxh3_64(body.as_bytes()).to_be_bytes();
        let value = format!("xxh3=:{}:", base64(&xxh3));
        let mut client = store.connect();
        let wrong = ask(&mut client, &[("Content-Digest", &value)], &lines([2]));
        assert_eq!((wrong.status, wrong.header("connection")), (400, None));
        store.assert_needles(2);
        let right = ask(&mut client, &[("Content-Digest", &value)], &body);
        assert_eq!(outcomes(&right), [(1, 0, 204)]);
    });
}

/// The base64 of eight bytes.
fn base64(bytes: &[u8; 8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let number = u128::from(u64::from_be_bytes(*bytes)) << 2;
    let digit =
        |n: u32| char::from(DIGITS[usize::try_from(number >> (6 * (10 - n)) & 63).unwrap()]);
    (0..11).map(digit).chain(['=']).collect()
}

#[test]
fn multi_delete_needs_a_known_volume_and_post() {
    both(|store| {
        store_photos(store, [1]);
        let body = lines([1]);
        let reply = store.ask("POST", "/9/delete", &[TEXT], Some(body.as_bytes()));
        assert_eq!((reply.status, reply.text().contains("no such volume")), (404, true));
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            let body = (method == "PUT").then_some(body.as_bytes());
            let reply = store.ask(method, "/1/delete", &[TEXT], body);
            assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{method}");
        }
        let mut client = store.connect();
        let head = format!(
            "POST /1/delete HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
             Expect: 100-continue\r\n\r\n",
            body.len()
        );
        client.send(head.as_bytes()).unwrap();
        assert_eq!(client.reply(false).unwrap().status, 100);
        client.send(body.as_bytes()).unwrap();
        assert_eq!(outcomes(&client.reply(false).unwrap()), [(1, 0, 204)]);
    });
}

#[test]
fn pipelined_multi_deletes_are_applied_in_order() {
    both(|store| {
        let request = |method: &str, target: &str, body: &str| {
            format!(
                "{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let get = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(1));
        let put = request("PUT", &path(1), "photo");
        let delete = request("POST", "/1/delete", &lines([1, 2]));
        let mut client = store.connect();
        let stream =
            [&put, &get, &delete, &get, &put, &delete, &get].map(|part| &part[..]).concat();
        client.send(stream.as_bytes()).unwrap();
        for want in [201, 200, 200, 404, 201, 200, 404] {
            assert_eq!(client.reply(false).unwrap().status, want);
        }
    });
}

/// Changes the state of the volume.
fn set(store: &Store, state: &str) -> u16 {
    let mut admin = Client::new(store.daemon.admin);
    let path = format!("/volumes/1/{state}");
    admin.request("POST", &path, &[], Some(b"")).unwrap().status
}

/// A full volume takes a whole multi-delete; one that takes no writes takes none.
#[test]
fn full_volume_takes_a_multi_delete_and_a_read_only_one_does_not() {
    both_with("", "16MiB", |store| {
        store_photos(store, 0..1000);
        store_photos(store, 2000..2060);
        for (n, len) in (0..).zip([1 << 20, 100_000, 3000, 200]) {
            let mut key = 10_000 * (n + 1);
            while store.ask("PUT", &path(key), &[], Some(&bytes(key, len))).status == 201 {
                key += 1;
            }
        }
        assert_eq!(store.ask("POST", "/1", &[], Some(b"photo")).status, 507);
        assert_eq!(set(store, "read-only"), 200);
        let reply = delete(store, &lines(0..1000));
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
        assert_eq!(set(store, "writable"), 200);
        assert_eq!(store.get(&path(999)).status, 200, "nothing was deleted");
        let outcomes = outcomes(&delete(store, &lines(0..1000)));
        assert!(outcomes.iter().all(|(_, _, status)| *status == 204));
        // What is left of the reserve is too little for 60 more.
        let reply = delete(store, &lines(2000..2060));
        assert_eq!((reply.status, reply.header("connection")), (507, None), "{}", reply.text());
        for key in 2000..2060 {
            assert_eq!(store.get(&path(key)).status, 200, "{key}: nothing was deleted");
        }
    });
}
