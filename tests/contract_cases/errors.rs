//! Refused requests: their status, and whether the connection stays open.

use super::{Store, both, get_head, put_head, with_foreign_cookie};
use crate::daemon_harness::{RawConnection, Reply, bytes, path};

fn refused(store: &Store, request: &[u8]) -> (RawConnection, Reply) {
    let mut client = store.connect();
    client.send(request).unwrap();
    let reply = client.reply(request.starts_with(b"HEAD")).unwrap();
    (client, reply)
}

#[test]
fn malformed_requests_close_the_connection() {
    both(|store| {
        let p = &path(1);
        let long_head = format!("GET {p} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(8192));
        let many = format!("GET {p} HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(64));
        let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "1".repeat(2048));
        let get = |rest: &str| format!("GET {p} HTTP/1.1\r\n{rest}\r\n");
        let put = |rest: &str| format!("PUT {p} HTTP/1.1\r\nHost: a\r\n{rest}");
        for (want, request) in [
            (400, get("")),
            (400, get("Host: a\r\nHost: a\r\n")),
            (400, get("Host: a b\r\n")),
            (400, format!("GET {p} HTTP/1.1\nHost: a\n\n")),
            (400, get("Host: a\r\nX: a\rb\r\n")),
            (400, get("Host: a\r\nX: a\0b\r\n")),
            (400, format!("GET  {p} HTTP/1.1\r\nHost: a\r\n\r\n")),
            (400, format!("GET {p} HTTP/1.1 \r\nHost: a\r\n\r\n")),
            (400, format!("GET {p}\r\n\r\n")),
            (400, format!("\r\n\r\nGET {p} HTTP/1.1\r\nHost: a\r\n\r\n")),
            (400, get("Host: a\r\nX : b\r\n")),
            (400, get("Host: a\r\nX: b\r\n folded\r\n")),
            (400, get("Host: a\r\n: b\r\n")),
            (400, get("Host: a\r\nContent-Length: 1\r\n")),
            (400, get("Host: a\r\nRange: bytes=0-0\r\nRange: bytes=0-0\r\n")),
            (400, get("Host: a\r\nIf-None-Match: \"a\"\r\nIf-None-Match: \"b\"\r\n")),
            (400, format!("GET http://b{p} HTTP/1.1\r\nHost: a\r\n\r\n")),
            (400, format!("GET https://a{p} HTTP/1.1\r\nHost: a\r\n\r\n")),
            (400, format!("GET http://a@a{p} HTTP/1.1\r\nHost: a\r\n\r\n")),
            (400, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
            (400, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
            (400, "\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03".to_owned()),
            (400, put("Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc")),
            (400, put("Content-Length: +3\r\n\r\nabc")),
            (400, put("Content-Length: 3, 3\r\n\r\nabc")),
            (400, put("Content-Length: -1\r\n\r\n")),
            (400, put("Content-Length: 0x3\r\n\r\nabc")),
            (400, put("Content-Length:\r\n\r\nabc")),
            (400, put("Content-Length: 3\r\nIf-Match: abc\r\n\r\nabc")),
            (405, format!("PATCH {p} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")),
            (405, format!("get {p} HTTP/1.1\r\nHost: a\r\n\r\n")),
            (405, format!("OPTIONS {p} HTTP/1.1\r\nHost: a\r\n\r\n")),
            (411, put("\r\n")),
            (411, "POST / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
            (413, put("Content-Length: 99999999999\r\n\r\n")),
            (413, put("Content-Length: 99999999999999999999999\r\n\r\n")),
            (414, long_target),
            (417, put("Content-Length: 1\r\nExpect: 200-ok\r\n\r\nx")),
            (431, long_head),
            (431, many),
            (501, put("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")),
            (501, put("Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc")),
            (501, get("Host: a\r\nTransfer-Encoding: chunked\r\n")),
            (505, format!("GET {p} HTTP/2.0\r\nHost: a\r\n\r\n")),
            (505, format!("GET {p} HTTP/1.2\r\nHost: a\r\n\r\n")),
            (505, format!("GET {p} HTTP/0.9\r\nHost: a\r\n\r\n")),
            (505, "PRI / HTTP/2.0\r\n\r\n".to_owned()),
        ] {
            // What follows is never parsed as a request.
            let (mut client, reply) = refused(store, (request.clone() + &get_head(p)).as_bytes());
            let shown = &request[..request.len().min(60)];
            assert_eq!(reply.status, want, "{shown:?}");
            assert_eq!(reply.header("connection"), Some("close"), "{shown:?}");
            assert_eq!(reply.header("content-type"), Some("text/plain"), "{shown:?}");
            let text = reply.text();
            assert!(
                text.ends_with('\n') && text.lines().count() == 1 && text.len() > 5,
                "{text:?}"
            );
            assert!(client.at_end(), "stays open after {shown:?}");
        }
        assert_eq!(store.get(p).status, 404);
    });
}

#[test]
fn limits_of_a_head_are_inclusive() {
    both(|store| {
        let fields = "X: y\r\n".repeat(63);
        let request = format!("GET {} HTTP/1.1\r\nHost: a\r\n{fields}\r\n", path(1));
        assert_eq!(refused(store, request.as_bytes()).1.status, 404);
        let frame = format!("GET {} HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n", path(1)).len();
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            path(1),
            "y".repeat(8192 - frame)
        );
        assert_eq!(request.len(), 8192);
        assert_eq!(refused(store, request.as_bytes()).1.status, 404);
        // A target of the maximum length is parsed, not refused for its length.
        let request = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "1".repeat(2047));
        assert_eq!(refused(store, request.as_bytes()).1.status, 400);
    });
}

#[test]
fn noncanonical_targets_are_refused() {
    both(|store| {
        store.create("/1/2/3/0123456789abcdef", b"x");
        for target in [
            "/1/2/3",
            "/1/2/3/4",
            "/1/2/3/0123456789ABCDEF",
            "/1/2/3/0123456789abcdef0",
            "/1/2/3/123456789abcdef",
            "/01/2/3/0123456789abcdef",
            "/1/02/3/0123456789abcdef",
            "/1/2/03/0123456789abcdef",
            "/1/-2/3/0123456789abcdef",
            "/1/+2/3/0123456789abcdef",
            "/1/2/3/0123456789abcdef?x=1",
            "/1/2/3/0123456789abcdef?",
            "/1/%32/3/0123456789abcdef",
            "/1/18446744073709551616/3/0123456789abcdef",
            "/1/2/4294967296/0123456789abcdef",
            "/4294967296/2/3/0123456789abcdef",
            "//2/3/0123456789abcdef",
            "//1/2/3/0123456789abcdef",
            "/1/2/3/0123456789abcdef/",
            "/1/2//0123456789abcdef",
            "/./1/2/3/0123456789abcdef",
            "/1/",
            "/1/2",
            "/1/batch/",
            "/1/delete/",
            "/1/delete/2",
            "/delete",
            "/1/Batch",
            "/batch",
            "/favicon.ico",
            "/1/2/3/0123456789abcde-",
        ] {
            for (method, body) in [("GET", None), ("PUT", Some(&b"y"[..])), ("DELETE", None)] {
                let mut client = store.connect();
                let reply = client.request(method, target, &[], body).unwrap();
                assert_eq!(reply.status, 400, "{method} {target}");
                assert!(client.at_end(), "{method} {target}");
            }
        }
        assert_eq!(store.get("/1/2/3/0123456789abcdef").body, b"x");
    });
}

#[test]
fn unsupported_method_gets_405_with_allow() {
    both(|store| {
        store.create(&path(1), b"x");
        let object = "GET, HEAD, PUT, POST, DELETE";
        for (method, target, allow) in [
            ("PATCH", &path(1)[..], object),
            ("OPTIONS", &path(1), object),
            ("TRACE", &path(1), object),
            ("GET", "/", "POST"),
            ("HEAD", "/", "POST"),
            ("PUT", "/", "POST"),
            ("GET", "/1", "POST"),
            ("DELETE", "/1", "POST"),
            ("PUT", "/1", "POST"),
            ("GET", "/1/batch", "POST"),
            ("PATCH", "/1/batch", "POST"),
            ("GET", "/1/delete", "POST"),
            ("DELETE", "/1/delete", "POST"),
            ("PATCH", "/favicon.ico", "GET, HEAD, PUT, POST, DELETE"),
        ] {
            let body = matches!(method, "POST" | "PUT").then_some(&b"y"[..]);
            let reply = store.ask(method, target, &[], body);
            assert_eq!(reply.status, 405, "{method} {target}");
            assert_eq!(reply.header("allow"), Some(allow), "{method} {target}");
        }
    });
}

/// These errors leave nothing unread, so the connection stays open.
#[test]
fn errors_without_unread_body_keep_the_connection() {
    both(|store| {
        let etag = store.create(&path(1), b"x");
        let foreign = with_foreign_cookie(&path(1));
        let elsewhere = format!("/9{}", &path(1)[2..]);
        let large = bytes(1, 2 << 20);
        let mut client = store.connect();
        let mut check =
            |want, method, target: &str, headers: super::Headers, body: Option<&[u8]>| {
                let reply = client.request(method, target, headers, body).unwrap();
                assert_eq!(reply.status, want, "{method} {target}");
                assert_eq!(reply.header("connection"), None, "{method} {target}");
                if want >= 400 && method != "HEAD" {
                    assert_eq!(reply.text().lines().count(), 1, "explains the error");
                }
                let next = client.get(&path(1)).unwrap();
                assert_eq!((next.status, next.text()), (200, "x".to_owned()), "after {want}");
            };
        check(404, "GET", &path(2), &[], None);
        check(404, "HEAD", &path(2), &[], None);
        check(404, "DELETE", &path(2), &[], None);
        check(404, "GET", &elsewhere, &[], None);
        check(404, "DELETE", &foreign, &[("If-Match", "\"x\"")], None);
        check(404, "PUT", &elsewhere, &[], Some(b"abc"));
        check(404, "POST", "/9", &[], Some(b"abc"));
        check(405, "GET", "/1", &[], None);
        check(405, "HEAD", "/1", &[], None);
        check(409, "PUT", &foreign, &[], Some(b"abc"));
        check(412, "PUT", &path(1), &[("If-None-Match", "*")], Some(b"abc"));
        check(412, "GET", &path(1), &[("If-Match", "\"x\"")], None);
        check(412, "DELETE", &path(1), &[("If-Match", "\"x\"")], None);
        check(
            412,
            "HEAD",
            &path(1),
            &[("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")],
            None,
        );
        check(416, "GET", &path(1), &[("Range", "bytes=5-")], None);
        check(304, "GET", &path(1), &[("If-None-Match", &etag)], None);
        check(400, "POST", "/1/batch", &[], Some(b"no tar"));
        check(400, "POST", "/1/delete", &[("Content-Type", "text/plain")], Some(b"no name"));
        check(415, "POST", "/1/delete", &[], Some(b"no text"));
        check(404, "POST", "/9/delete", &[("Content-Type", "text/plain")], Some(b"no name"));
        // Read completely: no Expect, and no reason to refuse early.
        check(201, "PUT", &path(3), &[], Some(&large));
    });
}

#[test]
fn refusal_before_the_body_closes_the_connection() {
    both(|store| {
        store.create(&path(1), b"x");
        let large = 2 << 20;
        for (want, head) in [
            (404, put_head("/9/1/0/0123456789abcdef", 5, "")),
            (404, put_head("/9/1/0/0123456789abcdef", large, "")),
            (405, put_head("/1", 5, "")),
            (409, put_head(&with_foreign_cookie(&path(1)), large, "")),
            (412, put_head(&path(1), large, "If-None-Match: *\r\n")),
        ] {
            let (mut client, reply) = refused(store, head.as_bytes());
            assert_eq!((reply.status, reply.header("connection")), (want, Some("close")), "{head}");
            // The body that follows is not parsed as a request, and no reset destroys the reply.
            let _ = client.send(get_head(&path(1)).repeat(3).as_bytes());
            assert!(client.at_end());
        }
    });
}
