//! The cache of nginx.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::{assert_no_upstream_errors, has_body, options};
use crate::daemon_harness::{Daemon, RawConnection, bytes, data_dir, path};
use crate::nginx_harness::{Nginx, Setup};

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
