//! Batch puts: what a batch may contain, and that it is stored completely or not at all.

use tar::EntryType;

use super::{Store, both, both_with, etag_of, header, tar_of};
use crate::daemon_harness::{COOKIE, Reply, bytes};

fn name(key: u64) -> String {
    format!("{key}/0/{COOKIE}")
}

fn post(store: &Store, tar: &[u8]) -> Reply {
    store.ask("POST", "/1/batch", &[("Content-Type", "application/x-tar")], Some(tar))
}

/// A tar of photos with these keys and lengths.
fn photos(photos: &[(u64, usize)]) -> Vec<u8> {
    let photos: Vec<_> = photos.iter().map(|(key, len)| (name(*key), bytes(*key, *len))).collect();
    let entries: Vec<_> = photos.iter().map(|(name, data)| (&name[..], &data[..])).collect();
    tar_of(&entries)
}

fn status_of(store: &Store, key: u64) -> u16 {
    store.ask("HEAD", &format!("/1/{}", name(key)), &[], None).status
}

fn assert_none(store: &Store, keys: impl IntoIterator<Item = u64>) {
    for key in keys {
        assert_eq!(status_of(store, key), 404, "{key} of a refused batch was stored");
    }
}

#[test]
fn batch_of_up_to_1000_photos_is_stored() {
    both_with("", "128MiB", |store| {
        for (first, count) in [(1, 1), (100, 16), (10_000, 1000)] {
            let lens: Vec<(u64, usize)> = (first..first + count)
                .map(|key| (key, usize::try_from(key * 7919 % (3_000_000 / count)).unwrap()))
                .collect();
            let reply = post(store, &photos(&lens));
            assert_eq!(reply.status, 201, "{}", reply.text());
            assert_eq!(reply.header("content-type"), Some("application/json"));
            let stored: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            let stored = stored.as_array().unwrap();
            assert_eq!(stored.len() as u64, count);
            let mut client = store.connect();
            for (stored, (key, len)) in stored.iter().zip(&lens) {
                let photo = bytes(*key, *len);
                assert_eq!(stored["key"], *key, "in the order of the tar");
                assert_eq!((&stored["volume"], &stored["alt"]), (&1.into(), &0.into()));
                assert_eq!(
                    (stored["cookie"].as_str(), stored["size"].as_u64()),
                    (Some(COOKIE), Some(*len as u64))
                );
                assert_eq!(stored["etag"], etag_of(&photo));
                let got = client.get(stored["url"].as_str().unwrap()).unwrap();
                assert!(got.status == 200 && got.body == photo, "{key}");
            }
        }
    });
}

#[test]
fn batch_of_1001_photos_is_refused() {
    both(|store| {
        let lens: Vec<(u64, usize)> = (0..1001).map(|key| (key, 10)).collect();
        let mut client = store.connect();
        let tar = photos(&lens);
        let reply = client.request("POST", "/1/batch", &[], Some(&tar)).unwrap();
        assert_eq!((reply.status, reply.text().contains("1000")), (413, true));
        assert_eq!(client.get("/1/0/0/0123456789abcdef").unwrap().status, 404);
        assert_none(store, [0, 500, 999, 1000]);
    });
}

#[test]
fn batch_of_1000_photos_fits_in_a_small_pool() {
    both_with("[limits]\nbuffer_memory_per_shard = \"8MiB\"\n", "64MiB", |store| {
        for len in [0, 10, 1300] {
            let lens: Vec<(u64, usize)> = (0..1000).map(|key| (key, len)).collect();
            let reply = post(store, &photos(&lens));
            assert_eq!(reply.status, 201, "{len}: {}", reply.text());
        }
    });
}

#[test]
fn batch_with_multipart_objects_is_stored_or_refused_whole() {
    both_with("", "128MiB", |store| {
        let lens = [(1, 10), (2, (1 << 20) + 1), (3, 0), (4, 3_000_000), (5, 1 << 20)];
        let reply = post(store, &photos(&lens));
        assert_eq!(reply.status, 201, "{}", reply.text());
        for (key, len) in lens {
            let got = store.get(&format!("/1/{}", name(key)));
            assert!(got.status == 200 && got.body == bytes(key, len), "{key}");
        }
        // One bad entry after them, and none is stored.
        let mut tar = photos(&[(11, 10), (12, 2_000_000)]);
        tar.truncate(tar.len() - 1024);
        tar.extend(tar_of(&[("not/a/photo", b"x")]));
        assert_eq!(post(store, &tar).status, 400);
        assert_none(store, [11, 12]);
    });
}

#[test]
fn batch_replaces_existing_photos() {
    both(|store| {
        assert_eq!(post(store, &photos(&[(1, 10), (2, 20)])).status, 201);
        store.create(&format!("/1/{}", name(3)), b"alone");
        let (one, four) = (name(1), name(4));
        let (new, large) = (bytes(9, 70_000), bytes(8, 2_000_000));
        let tar = tar_of(&[(&four, b"new"), (&one, &new), (&name(3), &large)]);
        assert_eq!(post(store, &tar).status, 201);
        for (key, want) in [(1, &new[..]), (2, &bytes(2, 20)), (3, &large), (4, b"new")] {
            assert!(store.get(&format!("/1/{}", name(key))).body == want, "{key}");
        }
        store.assert_needles(4);
    });
}

#[test]
fn malformed_batches_are_refused() {
    both(|store| {
        let whole = photos(&[(1, 10), (2, 700), (3, 3)]);
        let twice = photos(&[(1, 10), (2, 20), (1, 10)]);
        let mut damaged = whole.clone();
        damaged[1030] ^= 1;
        let other_kind = |kind, name: &str| {
            let mut tar = photos(&[(1, 10)]);
            tar.truncate(tar.len() - 1024);
            let mut header = header(kind, name, 0);
            header.set_link_name(self::name(1)).unwrap();
            header.set_cksum();
            tar.extend_from_slice(header.as_bytes());
            tar.extend([0; 1024]);
            tar
        };
        let long = {
            let mut header = header(EntryType::Regular, &name(1), 0);
            header.set_size(1 << 40);
            header.set_cksum();
            [&header.as_bytes()[..], &[0; 1024]].concat()
        };
        let mut refused = vec![
            ("nothing", Vec::new()),
            ("an empty tar", tar_of(&[])),
            ("zeros", vec![0; 10_240]),
            ("garbage", bytes(1, 5000)),
            ("a text", b"this is no tar".to_vec()),
            ("a name twice", twice),
            ("a damaged header", damaged),
            ("a symbolic link", other_kind(EntryType::Symlink, &name(2))),
            ("a hard link", other_kind(EntryType::Link, &name(2))),
            ("a device", other_kind(EntryType::Char, &name(2))),
            ("a pipe", other_kind(EntryType::Fifo, &name(2))),
            ("a foreign directory", other_kind(EntryType::Directory, "photos/")),
            ("only a directory", {
                let mut tar = other_kind(EntryType::Directory, "1/");
                tar.drain(..1024);
                tar
            }),
            ("an entry longer than the tar", long),
        ];
        for bad in [
            "1/0",
            "1/0/0123456789ABCDEF",
            "1/0/0123456789abcde",
            "././1/0/0123456789abcdef",
            "../1/0/0123456789abcdef",
            "/1/0/0123456789abcdef",
            "01/0/0123456789abcdef",
            "1/0/0123456789abcdef/",
            "1/1/0/0123456789abcdef",
            "18446744073709551616/0/0123456789abcdef",
            "1/4294967296/0123456789abcdef",
            "a b",
            "",
        ] {
            refused.push((bad, tar_of(&[(&name(1), b"x"), (bad, b"y")])));
        }
        // Truncated anywhere, also between two photos, or before the end mark.
        for len in [100, 512, 600, 1024, 1100, 1536, 2000, 2559, 2560, 3072, 3080, 3584] {
            assert!(len < whole.len() - 512);
            refused.push(("a tar that was cut off", whole[..len].to_vec()));
        }
        let mut client = store.connect();
        for (what, tar) in refused {
            let reply = client.request("POST", "/1/batch", &[], Some(&tar)).unwrap();
            assert_eq!(reply.status, 400, "{what} ({} bytes)", tar.len());
            assert_eq!(reply.text().lines().count(), 1, "{what}: {}", reply.text());
            assert_none(store, 1..=3);
        }
        // Each body was read, so the connection stays open; and the tar itself is valid.
        assert_eq!(client.request("POST", "/1/batch", &[], Some(&whole)).unwrap().status, 201);
        store.assert_needles(3);
    });
}

#[test]
fn directory_entries_are_skipped() {
    both(|store| {
        let mut tar = Vec::new();
        for directory in ["7/", "7/0/"] {
            tar.extend_from_slice(header(EntryType::Directory, directory, 0).as_bytes());
        }
        tar.extend(photos(&[(7, 10)]));
        assert_eq!(post(store, &tar).status, 201);
        assert_eq!(store.get(&format!("/1/{}", name(7))).body, bytes(7, 10));
    });
}

#[test]
fn wrong_cookie_or_failed_condition_refuses_the_batch() {
    both(|store| {
        let other = format!("2/0/{}", "e".repeat(16));
        store.create(&format!("/1/{other}"), b"old");
        let large = bytes(3, 2_000_000);
        let tar = tar_of(&[(&name(1), b"a"), (&name(2), b"b"), (&name(3), &large)]);
        let mut client = store.connect();
        let ask = |client: &mut crate::daemon_harness::RawConnection, value| {
            let headers = [("If-None-Match", value)];
            client.request("POST", "/1/batch", &headers, Some(&tar)).unwrap().status
        };
        let reply = client.request("POST", "/1/batch", &[], Some(&tar)).unwrap();
        assert_eq!(reply.status, 409);
        // A conflict takes precedence over a condition, whichever entry has it.
        assert_eq!(ask(&mut client, "*"), 409);
        assert_none(store, [1, 2, 3]);
        assert_eq!(store.get(&format!("/1/{other}")).body, b"old");
        assert_eq!(store.ask("DELETE", &format!("/1/{other}"), &[], None).status, 204);
        store.create(&format!("/1/{}", name(2)), b"old");
        assert_eq!(ask(&mut client, "*"), 412);
        assert_none(store, [1, 3]);
        assert_eq!(store.get(&format!("/1/{}", name(2))).body, b"old");
        assert_eq!(ask(&mut client, "\"x\""), 201);
        assert!(store.get(&format!("/1/{}", name(3))).body == large);
    });
}

#[test]
fn conflict_takes_precedence_over_condition_of_another_entry() {
    both(|store| {
        store.create(&format!("/1/{}", name(1)), b"old");
        store.create(&format!("/1/2/0/{}", "e".repeat(16)), b"old");
        let tar = tar_of(&[(&name(1), b"a"), (&name(2), b"b")]);
        let reply = store.ask("POST", "/1/batch", &[("If-None-Match", "*")], Some(&tar));
        assert_eq!(reply.status, 409, "409 takes precedence over 412");
    });
}

/// A pax header with one record, as archivers write it that keep extended attributes.
fn pax(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut len = rest.len() + 2;
    while format!("{len}{rest}").len() != len {
        len += 1;
    }
    let mut block = header(EntryType::XHeader, "x", len).as_bytes().to_vec();
    block.extend_from_slice(format!("{len}{rest}").as_bytes());
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

#[test]
fn media_types_come_from_extended_attributes() {
    both(|store| {
        let key = "SCHILY.xattr.user.mime_type";
        let typed = |kind: &str, n, len| {
            let mut tar = pax(key, kind);
            tar.extend(photos(&[(n, len)]));
            tar.truncate(tar.len() - 1024);
            tar
        };
        let longest = format!("x/{}", "y".repeat(253));
        let tar = [
            typed("image/png", 1, 10),
            typed(&longest, 2, 2_000_000),
            // An empty value deletes a record (POSIX pax).
            typed("", 3, 10),
            pax("SCHILY.xattr.user.other", "image/gif"),
            photos(&[(4, 10)]),
        ];
        let reply = post(store, &tar.concat());
        assert_eq!(reply.status, 201, "{}", reply.text());
        let default = "application/octet-stream";
        for (key, want) in [(1, "image/png"), (2, &longest), (3, default), (4, default)] {
            let got = store.get(&format!("/1/{}", name(key)));
            assert_eq!(got.header("content-type"), Some(want), "{key}");
        }
        // Surrounding blanks are ignored, as in a header field.
        let tar = [typed(" image/gif\t", 6, 10), typed("  ", 7, 10), tar_of(&[])].concat();
        assert_eq!(post(store, &tar).status, 201);
        for (key, want) in [(6, "image/gif"), (7, default)] {
            let got = store.get(&format!("/1/{}", name(key)));
            assert_eq!(got.header("content-type"), Some(want), "{key}");
        }
        for bad in [&format!("{longest}z"), "a\u{7}"] {
            let tar = [typed(bad, 5, 10), tar_of(&[])].concat();
            assert_eq!(post(store, &tar).status, 400, "{bad:?}");
        }
        // Media types that are refused for an upload are refused in a batch.
        for form in [
            "application/x-www-form-urlencoded",
            "multipart/mixed; boundary=x",
            " Multipart/Form-Data",
        ] {
            let put = [("Content-Type", form)];
            let put = store.ask("PUT", &format!("/1/{}", name(5)), &put, Some(b"x"));
            assert_eq!(put.status, 415, "{form:?}");
            let tar = [typed("image/png", 8, 10), typed(form, 5, 10), tar_of(&[])].concat();
            let reply = post(store, &tar);
            assert_eq!((reply.status, reply.text().lines().count()), (400, 1), "{form:?}");
            let says = format!("\"{}\" has the media type of a form", name(5));
            assert!(reply.text().contains(&says), "{}", reply.text());
        }
        assert_none(store, [8]);
        assert_none(store, [5]);
    });
}

#[test]
fn ambiguous_tars_are_refused() {
    both(|store| {
        let good = photos(&[(1, 5)]);
        let forged = pax("comment", &format!("x\n29 path=9/0/{COOKIE}\n"));
        assert_eq!(post(store, &[forged, good.clone()].concat()).status, 201);
        assert_none(store, [9]);
        for record in ["GNU.sparse.major", "GNU.sparse.map", "SCHILY.realsize"] {
            let reply = post(store, &[pax(record, "1"), photos(&[(2, 5)])].concat());
            assert_eq!((reply.status, reply.text().lines().count()), (400, 1));
            assert!(reply.text().contains(record), "{}", reply.text());
        }
        let mut short = pax("mtime", "5");
        short[512] = b'9';
        let path = pax("path", &name(3));
        for tar in [
            [short, photos(&[(2, 5)])].concat(),
            [path.clone(), path.clone(), photos(&[(2, 5)])].concat(),
            [pax("size", "18446744073709551615"), photos(&[(2, 5)])].concat(),
            [photos(&[(2, 5)]), photos(&[(3, 5)])].concat(),
        ] {
            let reply = post(store, &tar);
            assert_eq!((reply.status, reply.text().lines().count()), (400, 1), "{}", reply.text());
            assert_none(store, [2, 3]);
        }
        assert_eq!(post(store, &[path, good].concat()).status, 201);
        assert_eq!(status_of(store, 3), 200);
        store.assert_needles(2);
    });
}

#[test]
fn too_large_batch_is_refused_before_its_body() {
    for (config, most) in [
        ("", 8 << 20),
        ("[limits]\nlargest_batch = \"1MiB\"\n", 1 << 20),
        // Never more than a quarter of the buffers.
        ("[limits]\nbuffer_memory_per_shard = \"8MiB\"\n", 2 << 20),
    ] {
        both_with(config, "64MiB", |store| {
            let overhead = 1536;
            let full = photos(&[(1, most - overhead)]);
            assert_eq!(full.len(), most);
            let reply = post(store, &full);
            assert_eq!(reply.status, 201, "{most}: {}", reply.text());
            let mut client = store.connect();
            let head = format!(
                "POST /1/batch HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
                most + 1
            );
            client.send(head.as_bytes()).unwrap();
            let reply = client.reply(false).unwrap();
            assert_eq!(reply.status, 413);
            assert!(reply.text().contains("limits.largest_batch"), "{}", reply.text());
            assert!(client.at_end());
        });
    }
}

#[test]
fn batch_needs_a_known_volume_and_post() {
    both(|store| {
        let tar = photos(&[(1, 1)]);
        assert_eq!(store.ask("POST", "/9/batch", &[], Some(&tar)).status, 404);
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            let body = (method == "PUT").then_some(&tar[..]);
            let reply = store.ask(method, "/1/batch", &[], body);
            assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{method}");
        }
        let mut client = store.connect();
        let head = format!(
            "POST /1/batch HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            tar.len()
        );
        client.send(head.as_bytes()).unwrap();
        assert_eq!(client.reply(false).unwrap().status, 100);
        client.send(&tar).unwrap();
        assert_eq!(client.reply(false).unwrap().status, 201);
    });
}
