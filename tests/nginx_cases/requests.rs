//! Requests and responses of every kind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hayloft::runtime::split_mix;

use super::{has_body, over_tcp_and_unix};
use crate::daemon_harness::{COOKIE, RawConnection, bytes, path};

const LARGEST: usize = 64 << 20;

#[test]
fn every_method_works_through_nginx() {
    over_tcp_and_unix(|daemon, nginx| {
        let mut client = nginx.writer();
        let photo = bytes(1, 200_001);
        let stored = client.put(&path(1), &photo).unwrap();
        assert_eq!(stored.status, 201);
        let got = client.get(&path(1)).unwrap();
        assert!(got.status == 200 && has_body(&got, &photo));
        let direct = daemon.connect().get(&path(1)).unwrap();
        assert_eq!(got.header("etag"), stored.header("etag"));
        for name in [
            "content-type",
            "etag",
            "last-modified",
            "accept-ranges",
            "cache-control",
            "x-hayloft-volume",
        ] {
            assert!(got.header(name).is_some(), "{name} is lost");
            assert_eq!(got.header(name), direct.header(name));
        }
        let head = client.request("HEAD", &path(1), &[], None).unwrap();
        assert_eq!((head.status, head.header("content-length")), (200, Some("200001")));
        assert_eq!(head.header("etag"), stored.header("etag"));
        assert_eq!(client.put(&path(1), b"new").unwrap().status, 204);
        assert_eq!(client.get(&path(1)).unwrap().body, b"new");
        let foreign = format!("/1/1/0/{}", "f".repeat(16));
        let conflict = client.put(&foreign, b"x").unwrap();
        assert_eq!(conflict.status, 409);
        assert_eq!(
            conflict.text(),
            "the photo exists with another cookie\n",
            "the message of the daemon"
        );
        assert_eq!(client.get(&foreign).unwrap().status, 404);

        let posted = client.request("POST", "/1", &[], Some(&photo[..5000])).unwrap();
        assert_eq!(posted.status, 201);
        let url = posted.header("location").unwrap().to_owned();
        assert!(url.starts_with("/1/"), "nginx rewrote {url}");
        assert!(has_body(&client.get(&url).unwrap(), &photo[..5000]));
        let posted = client.request("POST", "/", &[], Some(b"anywhere")).unwrap();
        let response: serde_json::Value = serde_json::from_slice(&posted.body).unwrap();
        assert_eq!(client.get(response["url"].as_str().unwrap()).unwrap().body, b"anywhere");

        let mut tar = tar::Builder::new(Vec::new());
        for key in 10..30 {
            let mut header = tar::Header::new_gnu();
            let photo = bytes(key, 20_000);
            header.set_size(photo.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("{key}/0/{COOKIE}"), &photo[..]).unwrap();
        }
        let tar = tar.into_inner().unwrap();
        let batch = client.request("POST", "/1/batch", &[], Some(&tar)).unwrap();
        let response: serde_json::Value = serde_json::from_slice(&batch.body).unwrap();
        assert_eq!((batch.status, response.as_array().unwrap().len()), (201, 20));
        for key in 10..30 {
            assert!(has_body(&client.get(&path(key)).unwrap(), &bytes(key, 20_000)));
        }

        let names = format!("10/0/{COOKIE}\n11/0/{COOKIE}\n");
        let text = [("Content-Type", "text/plain")];
        let names = Some(names.as_bytes());
        let deleted = client.request("POST", "/1/delete", &text, names).unwrap();
        assert_eq!((deleted.status, deleted.text().matches(":204}").count()), (200, 2));
        assert_eq!(client.get(&path(10)).unwrap().status, 404);
        assert_eq!(client.request("DELETE", &path(1), &[], None).unwrap().status, 204);
        assert_eq!(client.request("DELETE", &path(1), &[], None).unwrap().status, 404);
        assert_eq!(client.get(&path(1)).unwrap().status, 404);
        assert_eq!(client.get("/1/%31/0/0123456789abcdef").unwrap().status, 400, "undecoded");
        let wrong = client.request("POST", &path(1), &[], Some(b"")).unwrap();
        assert_eq!(wrong.status, 400, "neither a time of expiry nor a body");
    });
}

#[test]
fn ranges_and_conditions_work_through_nginx() {
    over_tcp_and_unix(|_, nginx| {
        let mut writer = nginx.writer();
        let photo = bytes(5, 200_000);
        let stored = writer.put(&path(1), &photo).unwrap();
        let etag = stored.header("etag").unwrap().to_owned();
        assert!(etag.starts_with('"'), "a strong entity tag");
        let modified = stored.header("last-modified").unwrap().to_owned();
        for mut client in [nginx.connect(), nginx.writer()] {
            reads_with_ranges_and_conditions(&mut client, &photo, &etag, &modified);
        }
        let mut put = |header: (&str, &str)| {
            writer.request("PUT", &path(1), &[header], Some(b"new")).unwrap().status
        };
        assert_eq!(put(("If-None-Match", "*")), 412);
        assert_eq!(put(("If-Match", "\"0000000000000000\"")), 412);
        assert_eq!(put(("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT")), 412);
        assert_eq!(put(("If-Match", &etag)), 204);
        let gone = writer.request("DELETE", &path(1), &[("If-Match", &etag)], None).unwrap();
        assert_eq!(gone.status, 412);
    });
}

fn reads_with_ranges_and_conditions(
    client: &mut RawConnection,
    photo: &[u8],
    etag: &str,
    modified: &str,
) {
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=65530-65540", 65_530, 65_540),
        ("bytes=199999-", 199_999, 199_999),
        ("bytes=-7", 199_993, 199_999),
        ("bytes=0-", 0, 199_999),
    ] {
        let got = client.request("GET", &path(1), &[("Range", range)], None).unwrap();
        let said = format!("bytes {first}-{last}/200000");
        assert_eq!((got.status, got.header("content-range")), (206, Some(&said[..])));
        assert!(has_body(&got, &photo[first..=last]), "{range}");
    }
    let mut ask = |headers: &[(&str, &str)]| {
        let got = client.request("GET", &path(1), headers, None).unwrap();
        (got.status, got)
    };
    let (status, beyond) = ask(&[("Range", "bytes=200000-")]);
    assert_eq!((status, beyond.header("content-range")), (416, Some("bytes */200000")));
    let (status, same) = ask(&[("If-None-Match", etag)]);
    assert_eq!((status, same.header("etag"), same.body.len()), (304, Some(etag), 0));
    assert_eq!(ask(&[("If-Modified-Since", modified)]).0, 304);
    assert_eq!(ask(&[("If-Match", "\"0000000000000000\"")]).0, 412);
    assert_eq!(ask(&[("If-Match", etag)]).0, 200);
    let (status, part) = ask(&[("Range", "bytes=1-2"), ("If-Range", etag)]);
    assert_eq!((status, &part.body[..]), (206, &photo[1..=2]));
    let (status, whole) = ask(&[("Range", "bytes=1-2"), ("If-Range", "\"x\"")]);
    assert!(status == 200 && whole.body == photo);
    let (status, several) = ask(&[("Range", "bytes=1-2,5-6")]);
    assert!(status == 200 && several.body == photo, "several ranges are answered with all");
}

#[test]
fn body_of_maximum_size_works_and_larger_ones_get_413_from_nginx() {
    over_tcp_and_unix(|daemon, nginx| {
        let mut client = nginx.writer();
        let photo = bytes(7, LARGEST);
        assert_eq!(client.put(&path(1), &photo).unwrap().status, 201);
        let got = client.get(&path(1)).unwrap();
        assert!(got.status == 200 && has_body(&got, &photo));
        let mut state = 1;
        for _ in 0..40 {
            let at = |state: &mut u64| usize::try_from(split_mix(state) % LARGEST as u64).unwrap();
            let (a, b) = (at(&mut state), at(&mut state));
            // Half of the ranges are short; many cross the boundary of two parts.
            let (first, last) = (a.min(b), if a % 2 == 0 { a.max(b) } else { a.min(b) + b % 5000 });
            let last = last.min(LARGEST - 1);
            let range = format!("bytes={first}-{last}");
            let got = client.request("GET", &path(1), &[("Range", &range)], None).unwrap();
            assert!(got.status == 206 && has_body(&got, &photo[first..=last]), "{range}");
        }
        let before = daemon.metric("hayloft_requests_total", "");
        let beyond = format!(
            "PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            path(2),
            LARGEST + 1
        );
        let mut refused = nginx.writer();
        refused.send(beyond.as_bytes()).unwrap();
        assert_eq!(refused.reply(false).unwrap().status, 413);
        assert_eq!(daemon.metric("hayloft_requests_total", ""), before, "nginx itself refused it");
    });
}

/// The daemon refuses an upload before its body and closes the connection while nginx still sends: the
/// response must arrive nevertheless.
#[test]
fn early_refusal_of_a_large_upload_reaches_the_client() {
    over_tcp_and_unix(|_, nginx| {
        let mut client = nginx.writer();
        assert_eq!(client.put(&path(1), b"mine").unwrap().status, 201);
        let foreign = format!("/1/1/0/{}", "f".repeat(16));
        for len in [300_000, 1_048_576, 1_048_577, 8 << 20] {
            let large = bytes(1, len);
            for round in 0..10 {
                let got = client.put(&foreign, &large).unwrap();
                assert_eq!((got.status, round), (409, round), "{len} bytes");
                let got = client.put(&format!("/9/1/0/{COOKIE}"), &large).unwrap();
                assert_eq!((got.status, round), (404, round), "{len} bytes");
            }
        }
        assert_eq!(client.get(&path(1)).unwrap().body, b"mine");
    });
}

#[test]
fn public_server_refuses_every_write() {
    over_tcp_and_unix(|daemon, nginx| {
        assert_eq!(nginx.writer().put(&path(1), b"photo").unwrap().status, 201);
        let counted = || daemon.metric("hayloft_requests_total", "");
        let before = counted();
        for (method, path) in [
            ("PUT", path(1)),
            ("PUT", path(2)),
            ("DELETE", path(1)),
            ("POST", "/".to_owned()),
            ("POST", "/1".to_owned()),
            ("POST", "/1/batch".to_owned()),
            ("POST", "/1/delete".to_owned()),
            ("PATCH", path(1)),
            ("OPTIONS", path(1)),
            ("get", path(1)),
        ] {
            for body in [None, Some(&b"other"[..])] {
                let got = nginx.connect().request(method, &path, &[], body).unwrap();
                let is_no_method = method == "get";
                let wanted = if is_no_method { 400 } else { 403 };
                assert_eq!(got.status, wanted, "{method} {path}");
            }
        }
        // Large uploads are refused for their method, not for their size.
        let large = bytes(1, 3 << 20);
        assert_eq!(nginx.connect().put(&path(2), &large).unwrap().status, 403);
        assert_eq!(counted(), before, "a refused request reached the daemon");
        assert_eq!(nginx.connect().get(&path(1)).unwrap().body, b"photo");
        assert_eq!(nginx.connect().get(&path(2)).unwrap().status, 404);
    });
}

#[test]
fn http_1_0_clients_are_served() {
    over_tcp_and_unix(|_, nginx| {
        let photo = bytes(3, 100_000);
        let one = |request: String, body: &[u8]| {
            let mut stream = TcpStream::connect(nginx.writes).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.write_all(&[request.as_bytes(), body].concat()).unwrap();
            let mut all = Vec::new();
            // The response ends with the connection.
            stream.read_to_end(&mut all).unwrap();
            let end = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
            let body = all.split_off(end);
            (String::from_utf8(all).unwrap(), body)
        };
        let put = format!("PUT {} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", path(1), photo.len());
        let (head, _) = one(put, &photo);
        assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
        let (head, body) = one(format!("GET {} HTTP/1.0\r\n\r\n", path(1)), b"");
        assert!(head.starts_with("HTTP/1.1 200 ") && body == photo, "{head}");
        assert!(head.contains("Connection: close\r\n"), "{head}");
        let (head, body) = one(format!("HEAD {} HTTP/1.0\r\n\r\n", path(1)), b"");
        assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty(), "{head}");
        let range = format!("GET {} HTTP/1.0\r\nRange: bytes=5-9\r\n\r\n", path(1));
        let (head, body) = one(range, b"");
        assert!(head.starts_with("HTTP/1.1 206 ") && body == photo[5..10], "{head}");
        // A client that requests keep-alive.
        let mut client = nginx.writer();
        for _ in 0..3 {
            let get = format!("GET {} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", path(1));
            client.send(get.as_bytes()).unwrap();
            assert!(has_body(&client.reply(false).unwrap(), &photo));
        }
    });
}

/// The daemon refuses chunked bodies; nginx forwards them with a Content-Length.
#[test]
fn chunked_uploads_are_stored() {
    over_tcp_and_unix(|_, nginx| {
        for (key, len) in [(1, 5_000), (2, 3_000_000)] {
            let photo = bytes(key, len);
            let head = format!(
                "PUT {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                path(key)
            );
            let mut stream = head.into_bytes();
            for chunk in photo.chunks(777) {
                stream.extend_from_slice(format!("{:x};x=y\r\n", chunk.len()).as_bytes());
                stream.extend_from_slice(chunk);
                stream.extend_from_slice(b"\r\n");
            }
            stream.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
            let mut client = nginx.writer();
            client.send(&stream).unwrap();
            assert_eq!(client.reply(false).unwrap().status, 201);
            assert!(has_body(&client.get(&path(key)).unwrap(), &photo));
        }
    });
}
