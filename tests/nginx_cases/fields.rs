//! Header fields: which are forwarded, and how long they may be.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use super::over_tcp_and_unix;
use crate::daemon_harness::{COOKIE, bytes, data_dir, free_ports, path};
use crate::nginx_harness::{Nginx, Setup};

#[test]
fn limits_in_both_example_configurations_agree() {
    let nginx = include_str!("../../docs/nginx.example.conf");
    let daemon = include_str!("../../docs/hayloft.example.toml");
    let number = |text: &str, before: &str| -> u64 {
        let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before:?}")).1;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest[..digits].parse().unwrap()
    };
    let idle = number(daemon, "\n#idle_timeout_seconds = ");
    assert!(number(nginx, "\n    keepalive_timeout ") < idle);
    let largest = number(daemon, "\n#largest_body = \"");
    assert_eq!(number(nginx, "\n    client_max_body_size "), largest);
    assert!(
        daemon.contains(&format!("\"{largest}MiB\"")) && nginx.contains(&format!(" {largest}m;"))
    );
    let listen = daemon.split_once("\n#listen = [\"").unwrap().1.split_once('"').unwrap().0;
    assert!(nginx.contains(&format!("\n    server {listen} ")));
}

/// Headers beyond the limits of the daemon (8 KiB, 64 fields). The last two consist of fields that the server
/// for writes forwards.
fn oversized_headers() -> Vec<Vec<(String, String)>> {
    let one = |name: &str, len: usize| (name.to_owned(), "c".repeat(len));
    let many = (0..100).map(|n| (format!("X-{n}"), "a".to_owned())).collect();
    vec![
        vec![one("Cookie", 7_500)],
        vec![one("Cookie", 30 << 10)],
        vec![one("Cookie", 30 << 10), one("Authorization", 20 << 10), one("Referer", 5 << 10)],
        vec![one("X-A", 5_000), one("Cookie", 5_000)],
        vec![one("X-A", 9_000)],
        many,
    ]
}

#[test]
fn oversized_browser_headers_are_not_forwarded_on_reads() {
    over_tcp_and_unix(|daemon, nginx| {
        let photo = bytes(1, 3000);
        for (n, headers) in (1..).zip(oversized_headers()) {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            let direct = daemon.connect().request("GET", &path(n), &headers, None).unwrap();
            assert!([404, 431].contains(&direct.status), "{}", direct.status);
            let mut writer = nginx.writer();
            let is_forwarded = n > 4;
            let put = writer.request("PUT", &path(n), &headers, Some(&photo)).unwrap();
            assert_eq!(put.status, if is_forwarded { 431 } else { 201 }, "{n}: {}", put.text());
            if is_forwarded {
                assert_eq!(nginx.writer().put(&path(n), &photo).unwrap().status, 201);
            }
            let readers = if is_forwarded { vec![] } else { vec![writer] };
            for mut client in readers.into_iter().chain([nginx.connect()]) {
                for method in ["GET", "HEAD"] {
                    let got = client.request(method, &path(n), &headers, None).unwrap();
                    assert_eq!(got.status, 200, "{method}: {}", got.text());
                }
            }
        }
    });
}

/// A server that records the requests it receives and answers each with 200.
fn recorder() -> (std::net::SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (requests_in, requests) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, requests_in) = (stream.unwrap(), requests_in.clone());
            std::thread::spawn(move || {
                let mut got = [0; 65_536];
                // One read returns one request: heads are small, and nginx waits for the response.
                while let Ok(len @ 1..) = stream.read(&mut got) {
                    let head = String::from_utf8_lossy(&got[..len]).into_owned();
                    requests_in.send(head).unwrap();
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\
                                   X-Content-Type-Options: nosniff\r\n\r\nok";
                    stream.write_all(answer).unwrap();
                }
            });
        }
    });
    (address, requests)
}

/// Names of the header fields that the daemon evaluates, extracted from its source.
fn known_fields() -> Vec<&'static str> {
    let named = |source: &'static str, before: &'static str, rest: &'static str| {
        source.lines().filter_map(move |line| {
            let (name, after) = line.split_once(before)?.1.split_once('"')?;
            after.contains(rest).then_some(name)
        })
    };
    let of_heads = named(include_str!("../../src/http/fields.rs"), "(b\"", "Known::");
    let of_uploads = named(include_str!("../../src/http/upload.rs"), "if is(\"", "{");
    let names: Vec<&str> = of_heads.chain(of_uploads).collect();
    for name in ["x-hayloft-modified", "if-match", "range", "origin", "content-md5", "repr-digest"]
    {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    names
}

/// Whether the head has the field with the value that the test sends.
fn has_field(head: &str, name: &str) -> bool {
    head.lines().any(|line| {
        line.split_once(": ")
            .is_some_and(|(key, value)| key.eq_ignore_ascii_case(name) && value == "as-sent")
    })
}

#[test]
fn nginx_forwards_all_known_fields_and_no_credentials() {
    let dir = data_dir();
    let (server, requests) = recorder();
    let nginx = Nginx::start_before(dir.path(), &server.to_string(), &Setup::default());
    // Fields of the connection, which nginx generates itself.
    let own = ["host", "connection", "content-length", "expect", "transfer-encoding", "upgrade"];
    let wanted: Vec<&str> = known_fields().into_iter().filter(|name| !own.contains(name)).collect();
    let others = ["cookie", "authorization", "referer", "user-agent", "accept", "x-forwarded-for"];
    let headers: Vec<(&str, &str)> =
        wanted.iter().chain(&others).map(|name| (*name, "as-sent")).collect();
    for method in ["PUT", "POST", "DELETE"] {
        let got = nginx.writer().request(method, &path(1), &headers, Some(b"x")).unwrap();
        assert_eq!((got.status, got.header("x-content-type-options")), (200, Some("nosniff")));
        let head = requests.recv_timeout(Duration::from_secs(10)).unwrap();
        for name in &wanted {
            assert!(has_field(&head, name), "{method}: {name} was not forwarded: {head}");
        }
        for name in others {
            let is_forwarded = !["cookie", "authorization", "referer"].contains(&name);
            assert_eq!(has_field(&head, name), is_forwarded, "{method}: {name}: {head}");
        }
        assert_eq!(head.matches("Host: ").count(), 1, "{head}");
        assert!(head.contains("\r\nHost: hayloft.invalid\r\n"), "{head}");
        assert!(!head.contains("\r\nConnection: "), "{head}");
    }
    let of_reads = |name: &str| name.starts_with("if-") || name == "range";
    for method in ["GET", "HEAD"] {
        let got = nginx.connect().request(method, &path(1), &headers, None).unwrap();
        assert_eq!((got.status, got.header("x-content-type-options")), (200, Some("nosniff")));
        let head = requests.recv_timeout(Duration::from_secs(10)).unwrap();
        for (name, _) in &headers {
            assert_eq!(has_field(&head, name), of_reads(name), "{method}: {name}: {head}");
        }
    }
}

#[test]
fn field_checks_of_the_daemon_work_behind_nginx() {
    over_tcp_and_unix(|_, nginx| {
        for (field, wanted) in [
            (("Content-Range", "bytes 0-4/9"), 400),
            (("Content-Encoding", "gzip"), 415),
            (("Content-Type", "multipart/form-data; boundary=x"), 415),
            (("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA=="), 400),
            (("Origin", "http://evil.example"), 403),
            // nginx sends a Host that no page can have, so every Origin is foreign to the daemon.
            (("Origin", "http://test"), 403),
            (("Origin", "http://hayloft"), 403),
            (("Origin", ""), 403),
        ] {
            let put = nginx.writer().request("PUT", &path(1), &[field], Some(b"photo")).unwrap();
            assert_eq!(put.status, wanted, "{field:?}: {}", put.text());
            assert_eq!(nginx.connect().get(&path(1)).unwrap().status, 404, "{field:?}");
        }
        let mut writer = nginx.writer();
        let right = ("Content-Digest", "sha-256=:LCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564=:");
        // The digest of "foo".
        assert_eq!(writer.request("PUT", &path(1), &[right], Some(b"foo")).unwrap().status, 201);
    });
}

/// Requests that would take effect if nginx dropped an empty field or the second of two equal fields.
#[test]
fn empty_and_repeated_fields_are_forwarded_unchanged() {
    over_tcp_and_unix(|_, nginx| {
        let mut writer = nginx.writer();
        assert_eq!(writer.put(&path(1), b"old").unwrap().status, 201);
        // The digests of "foo" and of nothing.
        let (right, wrong) = ("rL0Y20zC+Fzt72VPzMSk2A==", "1B2M2Y8AsgTpgAmY7PhCfg==");
        for (headers, wanted) in [
            (&[("If-Match", "")][..], 400),
            (&[("Content-Encoding", "identity"), ("Content-Encoding", "gzip")], 415),
            (&[("Content-MD5", right), ("Content-MD5", wrong)], 400),
            (&[("Origin", "http://hayloft.invalid"), ("Origin", "http://evil.example")], 403),
        ] {
            let got = nginx.writer().request("PUT", &path(1), headers, Some(b"foo")).unwrap();
            assert_eq!(got.status, wanted, "{headers:?}: {}", got.text());
            assert_eq!(nginx.connect().get(&path(1)).unwrap().body, b"old", "{headers:?}");
        }
        let once = ("Content-MD5", right);
        assert_eq!(writer.request("PUT", &path(1), &[once], Some(b"foo")).unwrap().status, 204);
    });
}

/// nginx reports refused requests and upstream failures with the URL, which contains the cookie.
#[test]
fn error_log_contains_no_cookie() {
    let dir = data_dir();
    let unused_address = format!("127.0.0.1:{}", free_ports(1));
    let edits = [("client_max_body_size 64m;", "client_max_body_size 1k;")];
    let nginx = Nginx::start_before(
        dir.path(),
        &unused_address,
        &Setup { edits: &edits, ..Setup::default() },
    );
    for (mut client, method, len, wanted) in [
        (nginx.connect(), "DELETE", 0, 403),
        (nginx.connect(), "PUT", 10, 403),
        (nginx.connect(), "GET", 0, 502),
        (nginx.writer(), "PUT", 10, 502),
        (nginx.writer(), "PUT", 2000, 413),
    ] {
        let body = bytes(1, len);
        let got = client.request(method, &path(1), &[], (len > 0).then_some(&body)).unwrap();
        assert_eq!(got.status, wanted, "{method}");
    }
    let reported = nginx.errors();
    for what in ["access forbidden by rule", "Connection refused", "too large body"] {
        assert!(reported.contains(what), "{what}: {reported}");
    }
    assert!(reported.contains(COOKIE) && !nginx.error_log().is_empty(), "{reported}");
    assert!(!nginx.error_log().contains(COOKIE), "{}", nginx.error_log());
    // The failure log has the cause of each 502, and no cookie.
    let failures = nginx.failures_all(2);
    let lines: Vec<&str> = failures.lines().collect();
    assert_eq!(lines.len(), 2, "{failures}");
    for (line, method) in lines.into_iter().zip(["GET", "PUT"]) {
        assert!(
            line.contains(&format!(" 127.0.0.1 {method} 502 upstream={unused_address}")),
            "{line}"
        );
        assert!(line.contains(" answered=502 connected_after=- "), "{line}");
    }
    assert!(!failures.contains(COOKIE), "{failures}");
}
