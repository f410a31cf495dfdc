//! Bodies that are not the photo: refused before they are sent, or if they differ from what was announced.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::{Headers, Store, both, both_with, etag_of, get_head, put_head, tar_of};
use crate::daemon_harness::{COOKIE, RawConnection, Reply, bytes, path};

const EXPECT: &str = "Expect: 100-continue\r\n";
/// Above 1 MiB, and not a multiple of the chunk size.
const LARGE: usize = (3 << 20) + 12_345;

fn head_of(method: &str, target: &str, len: usize, more: &str) -> String {
    put_head(target, len as u64, more).replacen("PUT", method, 1)
}

/// Sends only a head; returns the connection and the reply.
fn reply_to_head(store: &Store, head: &str) -> (RawConnection, Reply) {
    let mut client = store.connect();
    client.send(head.as_bytes()).unwrap();
    let reply = client.reply(false).unwrap();
    (client, reply)
}

/// Ways to upload: method, target, a valid body.
fn uploads() -> [(&'static str, String, Vec<u8>); 5] {
    let entry = format!("9001/0/{COOKIE}");
    [
        ("PUT", path(1), bytes(1, 300_000)),
        ("PUT", path(2), bytes(2, LARGE)),
        ("POST", "/".to_owned(), bytes(3, 70_000)),
        ("POST", "/1".to_owned(), bytes(4, LARGE)),
        ("POST", "/1/batch".to_owned(), tar_of(&[(&entry, &bytes(5, 1_200_000))])),
    ]
}

#[test]
fn bad_upload_heads_are_refused_before_the_body() {
    both(|store| {
        store.create(&path(1), b"old");
        for (fields, want) in [
            ("Content-Range: bytes 299990-299999/300000\r\n", 400),
            ("content-range: bytes 0-299999/300000\r\n", 400),
            ("Content-Range:\r\n", 400),
            ("Content-Encoding: gzip\r\n", 415),
            ("content-encoding: Identity, BR\r\n", 415),
            ("Content-Encoding: identity\r\nContent-Encoding: aws-chunked\r\n", 415),
            ("Content-Type: multipart/form-data; boundary=x\r\n", 415),
            ("Content-Type: Application/X-WWW-Form-URLencoded\r\n", 415),
            ("Content-MD5: d41d8cd98f00b204e9800998ecf8427e\r\n", 400),
            ("Content-Digest: sha-256=abc\r\n", 400),
            ("Repr-Digest: sha-256=:AAAA:\r\n", 400),
            ("Origin: http://b\r\n", 403),
            ("Origin: null\r\n", 403),
        ] {
            for (method, target, body) in uploads() {
                for expect in [EXPECT, ""] {
                    let head = head_of(method, &target, body.len(), &format!("{fields}{expect}"));
                    let (mut client, reply) = reply_to_head(store, &head);
                    assert_eq!(reply.status, want, "{head}");
                    assert_eq!(reply.header("connection"), Some("close"), "{head}");
                    assert_eq!(reply.text().lines().count(), 1, "{head}");
                    let accepted = fields.to_lowercase().starts_with("content-encoding");
                    assert_eq!(reply.header("accept-encoding"), accepted.then_some("identity"));
                    // The body that follows is not parsed as a request.
                    let _ = client.send(get_head(&path(1)).repeat(3).as_bytes());
                    assert!(client.at_end(), "{head}");
                }
            }
        }
        assert_eq!(store.get(&path(1)).body, b"old");
        store.assert_needles(1);
    });
}

#[test]
fn forms_are_refused_with_a_working_command() {
    both(|store| {
        for (method, target, command) in [
            ("PUT", &path(1)[..], "curl -T photo.jpg"),
            ("POST", &path(1), "curl -T photo.jpg"),
            ("POST", "/", "curl --data-binary @photo.jpg"),
            ("POST", "/1", "curl --data-binary @photo.jpg"),
            ("POST", "/1/batch", "curl --data-binary @batch.tar"),
            ("POST", "/1/delete", "curl --data-binary @photos.txt"),
            ("DELETE", &path(1), "curl -X DELETE"),
        ] {
            for kind in ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"] {
                let body = (method != "DELETE").then_some(&b"--x\r\n\r\n--x--\r\n"[..]);
                let mut client = store.connect();
                let reply =
                    client.request(method, target, &[("Content-Type", kind)], body).unwrap();
                assert_eq!(reply.status, 415, "{method} {target}");
                assert!(reply.text().contains(command), "{}", reply.text());
                assert_eq!(client.get(&path(1)).unwrap().status, 404, "the connection stays open");
            }
        }
        // An invalid target is still 400, and an unsupported method 405.
        let kind = ("Content-Type", "multipart/form-data");
        assert_eq!(store.ask("POST", "/upload", &[kind], Some(b"x")).status, 400);
        assert_eq!(store.ask("POST", &path(1), &[], Some(b"x")).status, 400);
        store.assert_needles(0);
    });
}

#[test]
fn identity_content_encoding_is_accepted() {
    both(|store| {
        for (key, value) in [(1, "identity"), (2, "IDENTITY, identity"), (3, ""), (4, " , ")] {
            let reply = store.ask("PUT", &path(key), &[("Content-Encoding", value)], Some(b"x"));
            assert_eq!(reply.status, 201, "{value:?}: {}", reply.text());
            assert_eq!(store.get(&path(key)).header("content-encoding"), None);
        }
    });
}

/// Digest fields that match `body`.
fn digests_of(body: &[u8]) -> Vec<(&'static str, String)> {
    let md5 = STANDARD.encode(Md5::digest(body));
    let sha256 = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)));
    let etag = etag_of(body);
    let digits = etag.trim_matches('"');
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let xxh3 =
        format!("xxh3=:{}:", STANDARD.encode((0..16).step_by(2).map(byte).collect::<Vec<_>>()));
    vec![
        ("Content-MD5", md5.clone()),
        ("Content-Digest", sha256.clone()),
        ("Repr-Digest", sha256.clone()),
        ("Content-Digest", xxh3.clone()),
        ("Repr-Digest", format!("foo=:AAAA:, md5=:{md5}:;x=1, {xxh3} ,\t{sha256}")),
    ]
}

#[test]
fn body_with_matching_digest_is_stored() {
    both_with("", "256MiB", |store| {
        for (method, target, body) in uploads() {
            for (name, value) in digests_of(&body) {
                let reply = store.ask(method, &target, &[(name, &value)], Some(&body));
                assert!([201, 204].contains(&reply.status), "{name}: {}", reply.text());
                let url = match reply.header("location") {
                    Some(url) => url.to_owned(),
                    None if target.ends_with("batch") => continue,
                    None => target.clone(),
                };
                assert!(store.get(&url).body == body, "{name}");
            }
        }
        let digests = digests_of(b"");
        let all: Vec<_> = digests.iter().map(|(name, value)| (*name, &value[..])).collect();
        for (name, value) in all {
            assert_eq!(store.ask("PUT", &path(70), &[(name, value)], Some(b"")).status / 100, 2);
        }
    });
}

#[test]
fn body_with_wrong_digest_is_refused_and_not_stored() {
    both_with("", "256MiB", |store| {
        for (method, target, body) in uploads() {
            for (name, value) in digests_of(&body) {
                for at in [0, body.len() / 2, body.len() - 1] {
                    let mut arrived = body.clone();
                    arrived[at] ^= 1;
                    let mut client = store.connect();
                    let reply =
                        client.request(method, &target, &[(name, &value)], Some(&arrived)).unwrap();
                    assert_eq!(reply.status, 400, "{method} {target} {name}");
                    assert!(reply.text().contains("nothing was stored"), "{}", reply.text());
                    assert_eq!(reply.header("connection"), None, "the body was read");
                    assert_eq!(
                        client.get(&path(1)).unwrap().status,
                        404,
                        "the connection stays open"
                    );
                }
            }
        }
        for gone in [path(2), path(9001)] {
            assert_eq!(store.get(&gone).status, 404);
        }
        store.assert_needles(0);
        // The old photo stays, and every digest counts: right ones do not outweigh a wrong one.
        for (key, old, new) in
            [(1, b"old".to_vec(), bytes(8, 70_000)), (2, bytes(7, LARGE), bytes(8, LARGE))]
        {
            store.create(&path(key), &old);
            let zeros = STANDARD.encode([0; 16]);
            let right: Vec<_> = digests_of(&new);
            let headers: Headers = &[
                ("Content-MD5", &zeros),
                ("Content-Digest", &right[1].1),
                ("Repr-Digest", &right[3].1),
            ];
            assert_eq!(store.ask("PUT", &path(key), headers, Some(&new)).status, 400);
            assert!(store.get(&path(key)).body == old);
            assert_eq!(store.ask("PUT", &path(key), &headers[1..], Some(&new)).status, 204);
            assert!(store.get(&path(key)).body == new);
        }
        assert_eq!(
            store
                .ask("PUT", &path(3), &[("Content-MD5", &STANDARD.encode([0; 16]))], Some(b""))
                .status,
            400
        );
        store.assert_needles(2);
    });
}

/// A refused body holds no buffers, and no space in the volume beyond what it wrote.
#[test]
fn wrong_digests_leave_no_reservations() {
    both(|store| {
        let body = bytes(1, LARGE);
        let zeros = STANDARD.encode([0; 16]);
        for _ in 0..5 {
            let reply = store.ask("PUT", &path(1), &[("Content-MD5", &zeros)], Some(&body));
            assert_eq!(reply.status, 400);
        }
        // Sixteen bodies of this length fit into the volume, of which five are dead.
        for key in 1..=10 {
            assert_eq!(store.ask("PUT", &path(key), &[], Some(&body)).status, 201, "{key}");
        }
        assert!(store.get(&path(10)).body == body);
    });
}

#[test]
fn digest_of_a_slow_body_covers_all_pieces() {
    both(|store| {
        for (key, len) in [(1, 200_000), (2, LARGE)] {
            let body = bytes(key, len);
            for (name, value) in digests_of(&body) {
                let field = format!("{name}: {value}\r\n{EXPECT}");
                let (mut client, reply) =
                    reply_to_head(store, &head_of("PUT", &path(key), len, &field));
                assert_eq!(reply.status, 100);
                for piece in body.chunks(len / 7 + 1) {
                    client.send(piece).unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                assert_eq!(client.reply(false).unwrap().status / 100, 2, "{name}");
            }
        }
    });
}

#[test]
fn unknown_digest_algorithms_are_ignored() {
    both(|store| {
        let field = ("Content-Digest", "foo=:AAAA:, unixsum=:/w==:");
        assert_eq!(store.ask("PUT", &path(1), &[field], Some(b"x")).status, 201);
    });
}

#[test]
fn pipeline_continues_after_refusal_if_body_was_read() {
    both(|store| {
        let zeros = format!("Content-MD5: {}\r\n", STANDARD.encode([0; 16]));
        for (fields, want) in [
            (&zeros[..], vec![400, 201, 200]),
            ("Content-Encoding: br\r\n", vec![415, 201, 200]),
            ("Origin: http://b\r\n", vec![403, 201, 200]),
            ("Content-Range: bytes 0-3/4\r\n", vec![400]),
            ("Content-MD5: x\r\n", vec![400]),
        ] {
            let mut client = store.connect();
            let first = put_head(&path(1), 4, fields) + "evil";
            let rest = put_head(&path(2), 4, "") + "good" + &get_head(&path(2));
            client.send((first + &rest).as_bytes()).unwrap();
            for status in &want {
                assert_eq!(client.reply(false).unwrap().status, *status, "{fields}");
            }
            if want.len() == 1 {
                assert!(client.at_end());
            } else {
                assert_eq!(client.get(&path(1)).unwrap().status, 404);
                assert_eq!(client.request("DELETE", &path(2), &[], None).unwrap().status, 204);
            }
        }
    });
}

#[test]
fn writes_from_other_origins_are_refused() {
    both(|store| {
        store.create(&path(1), b"old");
        // The client sends `Host: test`.
        for origin in
            ["http://b", "null", "", "http://test.b", "http://test:81", "http://test http://b"]
        {
            for (method, target, body) in [
                ("DELETE", path(1), None),
                ("PUT", path(1), Some(&b"x"[..])),
                ("POST", "/".into(), Some(b"x")),
            ] {
                let reply = store.ask(method, &target, &[("Origin", origin)], body);
                assert_eq!(reply.status, 403, "{method} {origin:?}");
            }
            assert_eq!(store.ask("GET", &path(1), &[("Origin", origin)], None).status, 200);
        }
        for origin in ["http://test", "https://TEST", "http://test:80", "https://test:443"] {
            let reply = store.ask("PUT", &path(1), &[("Origin", origin)], Some(b"new"));
            assert_eq!(reply.status, 204, "{origin}");
        }
        let own = ("Origin", "http://test");
        assert_eq!(store.ask("DELETE", &path(1), &[own], None).status, 204);
    });
}
