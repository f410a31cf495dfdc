//! Single photos: headers, names, sizes, media types; POST.

use std::collections::HashSet;

use super::{Store, both, both_with, date_of, etag_of, now, put_head, tar_of, with_foreign_cookie};
use crate::daemon_harness::{COOKIE, Daemon, Options, Reply, bytes, data_dir, path};

fn without_date(reply: &Reply) -> Vec<(String, String)> {
    reply.headers.iter().filter(|(name, _)| name != "Date").cloned().collect()
}

#[test]
fn photo_is_served_with_all_its_headers() {
    both(|store| {
        let photo = bytes(1, 70_001);
        let began = now();
        let stored =
            store.ask("PUT", &path(1), &[("Content-Type", "image/png; q=\"x\"")], Some(&photo));
        assert_eq!((stored.status, &stored.body[..]), (201, &b""[..]));
        assert_eq!(stored.header("etag"), Some(&etag_of(&photo)[..]));
        let got = store.get(&path(1));
        assert!(got.status == 200 && got.body == photo);
        for (name, want) in [
            ("content-length", "70001"),
            ("content-type", "image/png; q=\"x\""),
            ("etag", &etag_of(&photo)),
            ("accept-ranges", "bytes"),
            ("cache-control", "public, max-age=86400"),
            ("x-content-type-options", "nosniff"),
            ("x-hayloft-volume", "writable"),
        ] {
            assert_eq!(got.header(name), Some(want), "{name}");
        }
        assert_eq!(date_of(&got, "last-modified"), date_of(&stored, "last-modified"));
        assert!((began..=now()).contains(&date_of(&got, "last-modified")));
        // The date may be a little old, never by much.
        assert!((began.saturating_sub(2)..=now()).contains(&date_of(&got, "date")));
        let head = store.ask("HEAD", &path(1), &[], None);
        assert_eq!(head.status, 200);
        assert_eq!(without_date(&head), without_date(&got), "HEAD has the fields of GET");
        let gone = store.ask("DELETE", &path(1), &[], None);
        assert_eq!((gone.status, gone.header("content-length")), (204, None));
        for method in ["GET", "HEAD", "DELETE"] {
            assert_eq!(store.ask(method, &path(1), &[], None).status, 404, "{method}");
        }
    });
}

/// An upload as text must not be shown as a page of the site.
#[test]
fn replies_with_an_object_forbid_media_type_sniffing() {
    both(|store| {
        for (key, len) in [(1, 100), (2, (1 << 20) + 1), (3, 0)] {
            let etag = store.create(&path(key), &bytes(key, len));
            for (want, method, headers) in [
                (200, "GET", &[][..]),
                (200, "HEAD", &[]),
                (206, "GET", &[("Range", "bytes=0-9")]),
                (304, "GET", &[("If-None-Match", &etag[..])]),
                (304, "HEAD", &[("If-None-Match", &etag)]),
            ] {
                let reply = store.ask(method, &path(key), headers, None);
                let want = if len == 0 && want == 206 { 416 } else { want };
                assert_eq!(reply.status, want, "{method} {len}");
                let nosniff = (want < 400).then_some("nosniff");
                assert_eq!(reply.header("x-content-type-options"), nosniff, "{want} {method}");
            }
        }
    });
}

#[test]
fn wrong_cookie_cannot_read_replace_or_delete() {
    both(|store| {
        let foreign = with_foreign_cookie(&path(1));
        let status = |method, path: &str, body| store.ask(method, path, &[], body).status;
        assert_eq!(status("PUT", &path(1), Some(b"one")), 201);
        assert_eq!(status("PUT", &path(1), Some(b"one")), 204);
        assert_eq!(status("PUT", &path(1), Some(b"two")), 204);
        for method in ["GET", "HEAD", "DELETE"] {
            assert_eq!(status(method, &foreign, None), 404, "{method}");
        }
        assert_eq!(status("PUT", &foreign, Some(b"x")), 409);
        assert_eq!(store.get(&path(1)).body, b"two");
        // Once it is deleted, the name is free for another cookie.
        assert_eq!(status("DELETE", &path(1), None), 204);
        assert_eq!(status("PUT", &foreign, Some(b"three")), 201);
        assert_eq!(status("GET", &path(1), None), 404);
        assert_eq!(store.get(&foreign).body, b"three");
    });
}

#[test]
fn smallest_and_largest_names_work() {
    both(|store| {
        let (mut client, mut names) = (store.connect(), Vec::new());
        let cookies = ["0".repeat(16), "f".repeat(16), COOKIE.to_owned()];
        for key in ["0", "1", "9007199254740993", "18446744073709551615"] {
            for (alt, cookie) in ["0", "1", "4294967295"].iter().zip(&cookies) {
                let name = format!("/1/{key}/{alt}/{cookie}");
                assert_eq!(client.put(&name, name.as_bytes()).unwrap().status, 201, "{name}");
                names.push(name);
            }
        }
        for name in &names {
            assert_eq!(client.get(name).unwrap().text(), *name, "alternates differ");
        }
        assert_eq!(client.request("DELETE", &names[1], &[], None).unwrap().status, 204);
        assert_eq!(client.get(&names[1]).unwrap().status, 404);
        assert_eq!(client.get(&names[0]).unwrap().status, 200);
    });
}

#[test]
fn sizes_around_every_boundary_read_back() {
    both_with("", "128MiB", |store| {
        let boundaries = [512_usize, 4096, 65_536, 131_072, 1 << 20, (1 << 20) + 65_536, 2 << 20];
        let around = boundaries.iter().flat_map(|boundary| boundary - 2..=boundary + 2);
        let sizes: Vec<usize> =
            (0..3).chain(446..451).chain(around).chain([3_333_333, 5_000_000]).collect();
        // One connection that moves between shards, and a new one for each request.
        let mut client = store.connect();
        for (n, &size) in sizes.iter().enumerate() {
            let (path, photo) = (path(n as u64), bytes(n as u64, size));
            let stored = client.put(&path, &photo).unwrap();
            assert_eq!(stored.status, 201, "{size}: {}", stored.text());
            assert_eq!(stored.header("etag"), Some(&etag_of(&photo)[..]), "{size}");
            for got in [client.get(&path).unwrap(), store.get(&path)] {
                assert!(got.status == 200 && got.body == photo, "{size}: {}", got.status);
            }
            let head = store.ask("HEAD", &path, &[], None);
            assert_eq!(head.header("content-length"), Some(&size.to_string()[..]));
        }
        // Small replaced by multipart and back: the latest is read.
        for n in [sizes.len() - 1, 0, sizes.len() - 2, 5] {
            let photo = bytes(100 + n as u64, sizes[n]);
            let name = path(7);
            assert_eq!(client.put(&name, &photo).unwrap().status, 204);
            assert!(store.get(&name).body == photo, "{}", sizes[n]);
        }
        let large = path(sizes.len() as u64 - 1);
        assert_eq!(store.ask("DELETE", &large, &[], None).status, 204);
        assert_eq!(store.get(&large).status, 404);
    });
}

#[test]
fn largest_body_is_stored_and_one_byte_more_refused() {
    both_with("", "256MiB", |store| {
        let photo = bytes(64, 64 << 20);
        let mut client = store.connect();
        let stored = client.put(&path(1), &photo).unwrap();
        assert_eq!(stored.status, 201, "{}", stored.text());
        assert_eq!(stored.header("etag"), Some(&etag_of(&photo)[..]));
        let got = store.get(&path(1));
        assert!(got.status == 200 && got.body == photo);
        let mut client = store.connect();
        client.send(put_head(&path(2), (64 << 20) + 1, "").as_bytes()).unwrap();
        let reply = client.reply(false).unwrap();
        assert_eq!((reply.status, reply.header("connection")), (413, Some("close")));
        assert!(reply.text().contains("limits.largest_body"), "{}", reply.text());
        assert!(client.at_end());
        assert_eq!(store.get(&path(2)).status, 404);
    });
}

#[test]
fn largest_body_is_configurable() {
    both_with("[limits]\nlargest_body = \"2MiB\"\n", "64MiB", |store| {
        store.create(&path(1), &bytes(1, 2 << 20));
        for target in [&path(2)[..], "/1", "/"] {
            let mut client = store.connect();
            let method = if target.len() > 2 { "PUT" } else { "POST" };
            let len = (2 << 20) + 1;
            let head =
                format!("{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
            client.send(head.as_bytes()).unwrap();
            assert_eq!(client.reply(false).unwrap().status, 413, "{target}");
            assert!(client.at_end());
        }
    });
}

#[test]
fn media_types_are_kept() {
    both(|store| {
        let longest = format!("x/{}", "y".repeat(253));
        let tab = "text/plain;\tcharset=utf-8";
        for (n, size) in [(0, 0), (1, 10), (2, 70_000), (3, 1 << 20), (4, (1 << 20) + 1)] {
            for (m, kind) in ["image/jpeg", &longest, tab].into_iter().enumerate() {
                let name = path(n * 10 + m as u64);
                let kept = [("Content-Type", kind)];
                assert_eq!(store.ask("PUT", &name, &kept, Some(&bytes(n, size))).status, 201);
                for method in ["GET", "HEAD"] {
                    let got = store.ask(method, &name, &[], None);
                    assert_eq!(got.header("content-type"), Some(kind), "{method} {size}");
                }
            }
            store.create(&path(n * 10 + 9), &bytes(n, size));
            let got = store.get(&path(n * 10 + 9));
            assert_eq!(got.header("content-type"), Some("application/octet-stream"));
        }
        for bad in ["", &format!("{longest}z")] {
            let reply = store.ask("PUT", &path(99), &[("Content-Type", bad)], Some(b"x"));
            assert_eq!(reply.status, 400, "{bad:?}");
        }
        assert_eq!(store.get(&path(99)).status, 404);
    });
}

#[test]
fn cache_control_is_configurable() {
    both_with("cache_control = \"private, immutable\"\n", "64MiB", |store| {
        for (key, size) in [(1, 1), (2, 2 << 20)] {
            let etag = store.create(&path(key), &bytes(key, size));
            let got = store.get(&path(key));
            assert_eq!(got.header("cache-control"), Some("private, immutable"));
            let same = store.ask("GET", &path(key), &[("If-None-Match", &etag)], None);
            assert_eq!(same.status, 304);
            assert_eq!(same.header("cache-control"), Some("private, immutable"));
        }
    });
}

fn created(reply: &Reply) -> (String, u64) {
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    let (volume, key, alt) = (&json["volume"], json["key"].as_u64().unwrap(), &json["alt"]);
    let cookie = json["cookie"].as_str().unwrap();
    assert!(cookie.len() == 16 && cookie.bytes().all(|b| b"0123456789abcdef".contains(&b)));
    let url = json["url"].as_str().unwrap();
    assert_eq!(url, format!("/{volume}/{key}/{alt}/{cookie}"));
    assert_eq!(reply.header("location"), Some(url));
    assert_eq!(reply.header("etag"), json["etag"].as_str());
    assert_eq!(json.as_object().unwrap().len(), 7, "{json}");
    (url.to_owned(), json["size"].as_u64().unwrap())
}

#[test]
fn post_stores_under_a_picked_name() {
    both(|store| {
        let (mut keys, mut cookies) = (HashSet::new(), HashSet::new());
        for target in ["/1", "/"] {
            for size in [0, 1, 5, 65_537, 1 << 20, (1 << 20) + 1, 3_000_000] {
                let photo = bytes(size as u64, size);
                let kind = [("Content-Type", "image/webp")];
                let reply = store.ask("POST", target, &kind, Some(&photo));
                let (url, stored_size) = created(&reply);
                assert_eq!(stored_size, size as u64);
                let got = store.get(&url);
                assert!(got.status == 200 && got.body == photo, "{target} {size}");
                assert_eq!(got.header("etag"), reply.header("etag"));
                assert_eq!(got.header("content-type"), Some("image/webp"));
                assert_eq!(store.get(&with_foreign_cookie(&url)).status, 404);
            }
        }
        let mut client = store.connect();
        for n in 0..300 {
            let target = ["/1", "/"][n % 2];
            let reply = client.request("POST", target, &[], Some(b"x")).unwrap();
            let (url, _) = created(&reply);
            let key: u64 = url.split('/').nth(2).unwrap().parse().unwrap();
            assert!(key < 1 << 53, "JSON readers keep no more: {key}");
            assert!(keys.insert(key) && cookies.insert(url[url.len() - 16..].to_owned()));
            assert_eq!(client.get(&url).unwrap().body, b"x");
        }
        assert!(keys.iter().any(|key| *key > 1 << 50), "the high bits are random");
        assert_eq!(store.ask("POST", "/9", &[], Some(b"x")).status, 404);
        let large = bytes(1, 2 << 20);
        let mut client = store.connect();
        let _ = client.send(
            format!("POST /9 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", large.len())
                .as_bytes(),
        );
        assert_eq!(client.reply(false).unwrap().status, 404);
    });
}

#[test]
fn post_fails_if_match_and_passes_if_none_match() {
    both(|store| {
        for target in ["/1", "/"] {
            let any = |header| store.ask("POST", target, &[(header, "*")], Some(b"x")).status;
            assert_eq!(any("If-Match"), 412, "{target}");
            assert_eq!(any("If-None-Match"), 201, "{target}");
        }
    });
}

#[test]
fn stored_photos_are_unchanged_after_restart() {
    let dir = data_dir();
    let sizes = [0, 10, 70_000, 1 << 20, (1 << 20) + 1, 5_000_000];
    let mut before = Vec::new();
    for shards in [1, 2, 1] {
        let daemon = Daemon::start(dir.path(), &Options { shards, ..Options::default() });
        let mut client = daemon.connect();
        for (n, size) in sizes.into_iter().enumerate() {
            let (name, photo) = (path(n as u64), bytes(n as u64, size));
            if before.len() < sizes.len() {
                assert_eq!(client.put(&name, &photo).unwrap().status, 201);
            }
            let got = client.get(&name).unwrap();
            assert!(got.status == 200 && got.body == photo, "{size}");
            let lasting = without_date(&got);
            match before.get(n) {
                None => before.push(lasting),
                Some(before) => assert_eq!(&lasting, before, "{size}"),
            }
        }
        if shards == 2 {
            daemon.kill();
        } else {
            assert!(daemon.stop().success());
        }
    }
}

/// Sends `n` requests concurrently; returns how many succeeded and how many were refused.
fn concurrently(n: u64, ask: impl Fn(u64) -> u16 + Sync) -> (usize, usize) {
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = &ask;
        let asking: Vec<_> = (0..n).map(|n| scope.spawn(move || ask(n))).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| matches!(status, 201 | 204 | 412)), "{statuses:?}");
    let refused = statuses.iter().filter(|status| **status == 412).count();
    (statuses.len() - refused, refused)
}

#[test]
fn one_of_many_concurrent_conditional_writes_wins() {
    both_with("", "256MiB", |store| {
        for (key, size) in [(1, 10), (2, 70_000), (3, 1_200_000)] {
            let once = [("If-None-Match", "*")];
            let create = |n| store.ask("PUT", &path(key), &once, Some(&bytes(n, size))).status;
            assert_eq!(concurrently(8, create), (1, 7), "{size}");
            for round in 1..4 {
                let tag = store.ask("HEAD", &path(key), &[], None);
                let tag = [("If-Match", tag.header("etag").unwrap())];
                let swap = |n| {
                    let photo = bytes(round * 100 + n, size);
                    store.ask("PUT", &path(key), &tag, Some(&photo)).status
                };
                assert_eq!(concurrently(8, swap), (1, 7), "{size}");
            }
            let got = store.get(&path(key));
            assert!((300..308).any(|seed| got.body == bytes(seed, size)), "one of the last round");
        }
        let name = |key: u64| format!("{key}/0/{COOKIE}");
        let create = |n| {
            let tar = tar_of(&[(&name(50), &bytes(n, 100)), (&name(60 + n), b"x")]);
            store.ask("POST", "/1/batch", &[("If-None-Match", "*")], Some(&tar)).status
        };
        assert_eq!(concurrently(8, create), (1, 7));
        let there = (60..68).filter(|key| store.get(&path(*key)).status == 200).count();
        assert_eq!(there, 1, "nothing of the refused batches is stored");
    });
}

#[test]
fn unknown_volume_is_not_found() {
    let store = Store::start(1, "", "64MiB");
    store.create(&path(1), b"x");
    for volume in ["0", "2", "4294967295"] {
        let elsewhere = format!("/{volume}{}", &path(1)[2..]);
        for (method, body) in [("GET", None), ("HEAD", None), ("DELETE", None), ("PUT", Some(b"x"))]
        {
            let status = store.ask(method, &elsewhere, &[], body.map(|body| &body[..])).status;
            assert_eq!(status, 404, "{method} {elsewhere}");
        }
    }
    store.stop();
}
