//! The real nginx with `docs/nginx.example.conf`, in front of the real daemon: clients get the daemon's
//! responses. `tests/smuggling.rs` tests that both parse the same requests from the same bytes.

mod daemon_harness;
mod nginx_harness;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use daemon_harness::{COOKIE, Daemon, Options, RawConnection, Reply, bytes, data_dir, path};
use hayloft::runtime::split_mix;
use nginx_harness::{Nginx, Setup, Upstream, listen_unix};
use nix::sys::signal::Signal;

const LARGEST: usize = 64 << 20;

fn options(dir: &tempfile::TempDir) -> Options {
    let args = listen_unix(dir.path());
    Options { shards: 2, volume_size: "512MiB", args, ..Options::default() }
}

/// Runs a test with the upstream on TCP and on a unix socket, and asserts that no upstream request failed.
fn over_tcp_and_unix(test: impl Fn(&Daemon, &Nginx)) {
    for upstream in [Upstream::Tcp, Upstream::Unix] {
        let dir = data_dir();
        let daemon = Daemon::start(dir.path(), &options(&dir));
        let nginx = Nginx::start(dir.path(), &daemon, &Setup { upstream, ..Setup::default() });
        test(&daemon, &nginx);
        assert_no_upstream_errors(&nginx);
        let wanted = if upstream == Upstream::Unix { "unix:" } else { "127.0.0.1:" };
        let logged = nginx.logged();
        let reached = logged.iter().flat_map(|request| &request.upstreams);
        assert!(reached.clone().count() > 0 && reached.clone().all(|to| to.starts_with(wanted)));
        drop(nginx);
        let log = daemon.log_text();
        assert!(daemon.stop().success(), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// Asserts that nginx saw no broken upstream connection, no malformed response, and repeated no request.
fn assert_no_upstream_errors(nginx: &Nginx) {
    let errors = nginx.errors();
    let bad = ["[emerg]", "[alert]", "[crit]", "prematurely", "reset by peer", "Broken pipe"];
    let bad = errors.lines().find(|line| bad.iter().any(|word| line.contains(word)));
    assert_eq!(bad, None);
    for request in nginx.logged() {
        assert!(request.upstreams.len() <= 1, "{request:?}");
        assert_ne!(request.status, 502, "{request:?}");
    }
}

fn has_body(got: &Reply, want: &[u8]) -> bool {
    got.header("content-length") == Some(&want.len().to_string()) && got.body == want
}

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

        assert_eq!(client.request("DELETE", &path(1), &[], None).unwrap().status, 204);
        assert_eq!(client.request("DELETE", &path(1), &[], None).unwrap().status, 404);
        assert_eq!(client.get(&path(1)).unwrap().status, 404);
        assert_eq!(client.get("/1/%31/0/0123456789abcdef").unwrap().status, 400, "undecoded");
        let wrong = client.request("POST", &path(1), &[], Some(b"")).unwrap();
        assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD, PUT, DELETE")));
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

fn connections_accepted(daemon: &Daemon) -> f64 {
    daemon.metric("hayloft_connections_accepted_total", "")
}

#[test]
fn upstream_connections_are_reused() {
    over_tcp_and_unix(|daemon, nginx| {
        let photo = bytes(1, 3000);
        nginx.writer().put(&path(1), &photo).unwrap();
        let foreign = format!("/1/1/0/{}", "f".repeat(16));
        let before = connections_accepted(daemon);
        // nginx closes a client connection after 1000 requests.
        for _ in 0..4 {
            let mut client = nginx.writer();
            for n in 0..50 {
                for _ in 0..5 {
                    assert!(has_body(&client.get(&path(1)).unwrap(), &photo));
                }
                let status = |client: &mut RawConnection, method, path: &str, header, body| {
                    client.request(method, path, &[header], body).unwrap().status
                };
                let (none, path) = (("X", "y"), path(1));
                assert_eq!(status(&mut client, "GET", &foreign, none, None), 404);
                let range = ("Range", "bytes=3000-");
                assert_eq!(status(&mut client, "GET", &path, range, None), 416);
                assert_eq!(status(&mut client, "HEAD", &path, none, None), 200);
                let create = ("If-None-Match", "*");
                assert_eq!(status(&mut client, "PUT", &path, create, Some(b"x")), 412);
                let body = if n % 2 == 0 { &photo[..] } else { b"x" };
                assert_eq!(status(&mut client, "PUT", &foreign, none, Some(body)), 409);
            }
        }
        let opened = connections_accepted(daemon) - before;
        assert!(opened <= 1.0, "{opened} connections for 2,000 sequential requests");

        // The connection survives a few idle seconds.
        std::thread::sleep(Duration::from_secs(4));
        assert!(has_body(&nginx.connect().get(&path(1)).unwrap(), &photo));
        assert_eq!(connections_accepted(daemon) - before, opened);

        // The daemon closes the connection after a malformed request, so the next request opens another.
        for n in 1..=5 {
            let got = nginx.connect().get("/not/a/photo").unwrap();
            assert_eq!(got.status, 400);
            assert!(has_body(&nginx.connect().get(&path(1)).unwrap(), &photo));
            assert_eq!(
                connections_accepted(daemon) - before,
                opened + f64::from(n),
                "each of these opens a connection"
            );
        }
    });
}

/// nginx must close idle connections before the daemon does; here after 1 s, the daemon after 2 s.
#[test]
fn idle_upstream_connections_close_without_errors() {
    let dir = data_dir();
    let config = "[limits]\nidle_timeout_seconds = 2\n".to_owned();
    let daemon = Daemon::start(dir.path(), &Options { config, ..options(&dir) });
    let edits = [("keepalive_timeout 60s;", "keepalive_timeout 1s;")];
    daemon.client().put(&path(1), b"photo").unwrap();
    let before = connections_accepted(&daemon);
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let daemon = &daemon;
            scope.spawn(move || {
                let dir = data_dir();
                let nginx =
                    Nginx::start(dir.path(), daemon, &Setup { edits: &edits, ..Setup::default() });
                let mut client = nginx.writer();
                // Pauses (ms) around the timeout of nginx, and around that of the daemon.
                for pause in [970, 990, 1000, 1010, 1990, 2010] {
                    assert_eq!(client.get(&path(1)).unwrap().body, b"photo");
                    assert_eq!(client.put(&path(2 + thread), b"x").unwrap().status / 10, 20);
                    std::thread::sleep(Duration::from_millis(pause + 2 * thread));
                }
                assert_eq!(client.get(&path(1)).unwrap().body, b"photo");
                assert_no_upstream_errors(&nginx);
            });
        }
    });
    // Each of the 6 instances opens one, and at least two more after timeouts.
    let opened = connections_accepted(&daemon) - before;
    assert!(opened >= 18.0, "{opened} connections: none was closed when idle");
}

#[test]
fn limits_in_both_example_configurations_agree() {
    let nginx = include_str!("../docs/nginx.example.conf");
    let daemon = include_str!("../docs/hayloft.example.toml");
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
    let of_heads = named(include_str!("../src/http/fields.rs"), "(b\"", "Known::");
    let of_uploads = named(include_str!("../src/http/upload.rs"), "if is(\"", "{");
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
    let unused_address = format!("127.0.0.1:{}", daemon_harness::free_ports(1));
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
fn daemon_restart_needs_no_action_on_nginx() {
    for upstream in [Upstream::Tcp, Upstream::Unix] {
        let dir = data_dir();
        let options = options(&dir);
        let mut daemon = Daemon::start(dir.path(), &options);
        let nginx = Nginx::start(dir.path(), &daemon, &Setup { upstream, ..Setup::default() });
        let photo = bytes(1, 5000);
        assert_eq!(nginx.writer().put(&path(1), &photo).unwrap().status, 201);
        for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGTERM] {
            // nginx holds several upstream connections.
            let mut clients: Vec<RawConnection> = (0..8).map(|_| nginx.writer()).collect();
            for client in &mut clients {
                client
                    .send(format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(1)).as_bytes())
                    .unwrap();
            }
            for client in &mut clients {
                assert!(has_body(&client.reply(false).unwrap(), &photo));
            }
            let (data, admin) = (daemon.data, daemon.admin);
            daemon.signal(signal);
            assert!(daemon.wait(Duration::from_secs(10)).is_some(), "{upstream:?} {signal}");
            for client in &mut clients {
                assert_eq!(client.get(&path(1)).unwrap().status, 502, "the daemon is down");
            }
            daemon = Daemon::launch_on(dir.path(), &options, data, admin);
            let deadline = Instant::now() + Duration::from_secs(20);
            while !daemon.ready() {
                assert!(Instant::now() < deadline, "{}", daemon.log_text());
                std::thread::sleep(Duration::from_millis(10));
            }
            // Once the daemon is ready, no request may fail.
            for client in &mut clients {
                for _ in 0..20 {
                    assert!(has_body(&client.get(&path(1)).unwrap(), &photo));
                }
                assert!(has_body(&nginx.connect().get(&path(1)).unwrap(), &photo));
                assert_eq!(client.put(&path(2), b"x").unwrap().status / 10, 20);
            }
        }
        for request in nginx.logged() {
            let is_read = request.request.starts_with("GET ");
            assert!(request.upstreams.len() == 1 || is_read, "sent twice: {request:?}");
        }
    }
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

/// Clients that pause longer than the timeouts of the daemon succeed through nginx, because
/// `proxy_request_buffering` and the temporary file of `proxy_buffers` decouple them.
#[test]
fn nginx_buffers_slow_uploads_and_downloads() {
    let dir = data_dir();
    let config = "[limits]\nsend_timeout_seconds = 1\nbody_grace_seconds = 1\n\
                  body_min_bytes_per_second = 1000000\n";
    let daemon = Daemon::start(dir.path(), &Options { config: config.to_owned(), ..options(&dir) });
    let nginx = Nginx::start(dir.path(), &daemon, &Setup::default());
    let photo = bytes(1, 30_000_000);
    let pause = Duration::from_millis(3500);
    let head = format!("PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n", path(1));
    let (first, second) = photo.split_at(100_000);
    let upload = |mut client: RawConnection| {
        client.send(&[head.as_bytes(), first].concat()).unwrap();
        std::thread::sleep(pause);
        let _ = client.send(second);
        client.reply(false).map(|reply| reply.status).ok()
    };
    assert_ne!(upload(daemon.connect()), Some(201), "without nginx the upload times out");
    assert_eq!(upload(nginx.writer()), Some(201));
    let download = |mut client: RawConnection| {
        client.send(format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(1)).as_bytes()).unwrap();
        std::thread::sleep(pause);
        client.reply(false).is_ok_and(|got| has_body(&got, &photo))
    };
    assert!(!download(daemon.connect()), "without nginx the download times out");
    assert!(download(nginx.connect()) && download(nginx.writer()));
    assert_no_upstream_errors(&nginx);
}

/// Haystack's caching rule: photos of writable volumes are cached; other photos and errors are not.
#[test]
fn cache_keeps_photos_of_writable_volumes_and_no_errors() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &options(&dir));
    let nginx = Nginx::start(dir.path(), &daemon, &Setup { cache: true, ..Setup::default() });
    let mut client = nginx.connect();
    let asked = || daemon.metric("hayloft_requests_total", "method=\"get\"");
    let photo = bytes(1, 300_000);
    let stored = nginx.writer().put(&path(1), &photo).unwrap();
    let etag = stored.header("etag").unwrap().to_owned();
    nginx.writer().put(&path(2), &photo).unwrap();
    let before = asked();
    let mut wanted = 0.0;
    for round in 0..3 {
        // Cached from the first response on.
        wanted += if round == 0 { 1.0 } else { 0.0 };
        let got = client.get(&path(1)).unwrap();
        assert!(got.status == 200 && has_body(&got, &photo));
        assert_eq!(got.header("x-hayloft-volume"), Some("writable"));
        assert_eq!(asked() - before, wanted, "round {round}");
        // Responses from the cache equal those of the daemon, also when the first request is for a range.
        wanted += if round == 0 { 1.0 } else { 0.0 };
        for (key, from) in [(1, 1000), (2, 250_000)] {
            let range = format!("bytes={from}-{}", from + 9);
            let got = client.request("GET", &path(key), &[("Range", &range)], None).unwrap();
            let said = format!("bytes {from}-{}/300000", from + 9);
            assert_eq!((got.status, got.header("content-range")), (206, Some(&said[..])));
            assert_eq!(got.body, photo[from..from + 10]);
        }
        let got = client.request("GET", &path(1), &[("Range", "bytes=300000-")], None).unwrap();
        assert_eq!((got.status, got.header("content-range")), (416, Some("bytes */300000")));
        let got = client.request("GET", &path(1), &[("If-None-Match", &etag)], None).unwrap();
        assert_eq!(got.status, 304);
        assert_eq!(asked() - before, wanted, "round {round}");
        // A 404 is not cached.
        wanted += 1.0;
        assert_eq!(client.get(&path(404)).unwrap().status, 404);
        assert_eq!(asked() - before, wanted, "round {round}");
    }
    assert_no_upstream_errors(&nginx);
}

/// The responses come from a server of the test, which counts the requests.
#[test]
fn cache_does_not_keep_photos_of_read_only_volumes() {
    for (state, rounds, wanted) in [("read-only", 5, 5), ("writable", 5, 1)] {
        let dir = data_dir();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let nginx = Nginx::start_before(
            dir.path(),
            &server.to_string(),
            &Setup { cache: true, ..Setup::default() },
        );
        let answers = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut answers, mut got) = (0, [0; 4096]);
            // One read returns one request: nginx sends the next one after the response. Ends with nginx.
            while stream.read(&mut got).is_ok_and(|len| len > 0) {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nCache-Control: public, max-age=86400\r\n\
                     X-Hayloft-Volume: {state}\r\n\r\nphoto"
                );
                stream.write_all(head.as_bytes()).unwrap();
                answers += 1;
            }
            answers
        });
        let mut client = nginx.connect();
        for _ in 0..rounds {
            let got = client.get(&path(1)).unwrap();
            assert_eq!((got.status, &got.body[..]), (200, &b"photo"[..]));
        }
        drop(nginx);
        assert_eq!(answers.join().unwrap(), wanted, "{state}");
    }
}

/// `proxy_cache_lock` would make each reader of the same URL wait, in steps of half a second, for a response
/// that is then not cached.
#[test]
fn readers_of_uncacheable_urls_do_not_serialize() {
    for (answer, status) in [
        ("200 OK\r\nCache-Control: public, max-age=86400\r\nX-Hayloft-Volume: read-only", 200),
        ("404 Not Found", 404),
    ] {
        let dir = data_dir();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut got = [0; 4096];
                    while stream.read(&mut got).is_ok_and(|len| len > 0) {
                        // Long enough that all readers have sent their requests.
                        std::thread::sleep(Duration::from_millis(100));
                        let head = format!("HTTP/1.1 {answer}\r\nContent-Length: 5\r\n\r\nphoto");
                        let _ = stream.write_all(head.as_bytes());
                    }
                });
            }
        });
        let setup = Setup { cache: true, ..Setup::default() };
        let nginx = Nginx::start_before(dir.path(), &server.to_string(), &setup);
        let mut clients: Vec<RawConnection> = (0..16).map(|_| nginx.connect()).collect();
        let began = Instant::now();
        for client in &mut clients {
            client.send(format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(1)).as_bytes()).unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.reply(false).unwrap().status, status);
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(1), "{status}: the last of 16 readers waited {took:?}");
    }
}
