//! Connections: keep-alive, close, pipelining, HTTP/1.0 clients.

use std::io::Write;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Store, both, both_with, get_head, put_head};
use crate::daemon_harness::{bytes, path};

#[test]
fn mixed_small_and_multipart_pipeline_is_answered_in_order() {
    both_with("", "128MiB", |store| {
        let sizes = [10, 2_000_000, 300, (1 << 20) + 1, 0, 70_000, 1 << 20, 5, 1_500_000];
        let mut stream = Vec::new();
        for round in 0..2_u64 {
            for (n, size) in sizes.iter().enumerate() {
                let seed = round * 100 + n as u64;
                stream.extend(put_head(&path(n as u64), *size as u64, "").into_bytes());
                stream.extend(bytes(seed, *size));
                stream.extend(get_head(&path(n as u64)).into_bytes());
                stream.extend(get_head(&path(n as u64 / 2)).into_bytes());
            }
            // A POST is answered in order, too.
            stream.extend(put_head("/1", 3, "").replacen("PUT", "POST", 1).into_bytes());
            stream.extend(b"abc");
        }
        let mut client = store.connect();
        let mut writer = client.stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || writer.write_all(&stream).unwrap());
        for round in 0..2_u64 {
            for (n, size) in sizes.iter().enumerate() {
                let seed = round * 100 + n as u64;
                let want = if round == 0 { 201 } else { 204 };
                assert_eq!(client.reply(false).unwrap().status, want, "{round} {n}");
                let got = client.reply(false).unwrap();
                assert!(got.status == 200 && got.body == bytes(seed, *size), "{round} {n}");
                let before = n / 2;
                let got = client.reply(false).unwrap();
                let want = bytes(round * 100 + before as u64, sizes[before]);
                assert!(got.status == 200 && got.body == want, "{round} {n}");
            }
            assert_eq!(client.reply(false).unwrap().status, 201, "{round}");
        }
        sender.join().unwrap();
        assert_eq!(client.get(&path(0)).unwrap().status, 200, "the connection stays open");
    });
}

#[test]
fn pipelined_writes_and_reads_of_one_name_stay_in_order() {
    both(|store| {
        let mut stream = String::new();
        for n in 0..20 {
            stream += &format!("{}{n:05}", put_head(&path(1), 5, ""));
            stream += &get_head(&path(1));
            stream += &format!("DELETE {} HTTP/1.1\r\nHost: a\r\n\r\n", path(1));
            stream += &get_head(&path(1));
        }
        let mut client = store.connect();
        client.send(stream.as_bytes()).unwrap();
        for n in 0..20 {
            assert_eq!(client.reply(false).unwrap().status, 201);
            assert_eq!(client.reply(false).unwrap().text(), format!("{n:05}"));
            assert_eq!(client.reply(false).unwrap().status, 204);
            assert_eq!(client.reply(false).unwrap().status, 404);
        }
    });
}

#[test]
fn requests_split_anywhere_give_the_same_replies() {
    both(|store| {
        let body = bytes(1, 3000);
        let mut stream = put_head(&path(1), 3000, "").into_bytes();
        stream.extend(&body);
        stream.extend(get_head(&path(1)).into_bytes());
        for cut in (1..stream.len()).step_by(97).chain([stream.len() - 1]) {
            let mut client = store.connect();
            client.send(&stream[..cut]).unwrap();
            std::thread::sleep(Duration::from_millis(2));
            client.send(&stream[cut..]).unwrap();
            assert!(matches!(client.reply(false).unwrap().status, 201 | 204), "{cut}");
            assert!(client.reply(false).unwrap().body == body, "{cut}");
        }
    });
}

#[test]
fn connection_close_is_honoured() {
    both(|store| {
        store.create(&path(1), b"x");
        let large = bytes(2, 2 << 20);
        store.create(&path(2), &large);
        for value in ["close", "Close", "keep-alive, close", "x, CLOSE ,y"] {
            for (name, body) in [(&path(1), &b"x"[..]), (&path(2), &large)] {
                let mut client = store.connect();
                let got = client.request("GET", name, &[("Connection", value)], None).unwrap();
                assert!(got.status == 200 && got.body == body);
                assert_eq!(got.header("connection"), Some("close"));
                assert!(client.at_end(), "{value}");
            }
        }
        let mut client = store.connect();
        let put =
            client.request("PUT", &path(3), &[("Connection", "close")], Some(&large)).unwrap();
        assert_eq!((put.status, put.header("connection")), (201, Some("close")));
        assert!(client.at_end());
    });
}

#[test]
fn http_1_0_clients_are_served() {
    both(|store| {
        let large = bytes(2, (1 << 20) + 5);
        store.create(&path(1), b"x");
        store.create(&path(2), &large);
        for (name, body) in [(path(1), &b"x"[..]), (path(2), &large)] {
            let mut client = store.connect();
            client.send(format!("GET {name} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
            let got = client.reply(false).unwrap();
            assert!(got.status == 200 && got.body == body);
            assert_eq!(got.header("connection"), Some("close"));
            assert!(client.at_end());
            let mut client = store.connect();
            let keep = format!("GET {name} HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
            for _ in 0..2 {
                client.send(keep.as_bytes()).unwrap();
                let got = client.reply(false).unwrap();
                assert!(got.status == 200 && got.body == body);
                assert_eq!(got.header("connection"), Some("keep-alive"));
            }
        }
        // HTTP/1.0 has no 100 (Continue).
        let mut client = store.connect();
        let head = put_head(&path(3), 5, "Expect: 100-continue\r\n").replace("/1.1", "/1.0");
        client.send(head.as_bytes()).unwrap();
        client.send(b"hello").unwrap();
        assert_eq!(client.reply(false).unwrap().status, 201);
        assert!(client.at_end());
        assert_eq!(store.get(&path(3)).body, b"hello");
    });
}

#[test]
fn half_closed_connections_get_their_replies() {
    both(|store| {
        let large = bytes(2, 2 << 20);
        store.create(&path(2), &large);
        let mut client = store.connect();
        client.send(get_head(&path(2)).repeat(2).as_bytes()).unwrap();
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        for _ in 0..2 {
            assert!(client.reply(false).unwrap().body == large);
        }
        assert!(client.at_end());
    });
}

#[test]
fn drain_refuses_writes_and_answers_reads() {
    for shards in [1, 2] {
        let store = Store::start(shards, "", "64MiB");
        let large = bytes(9, 2 << 20);
        store.create(&path(1), b"x");
        store.create(&path(9), &large);
        let heads = [
            put_head(&path(2), 1, "") + "y",
            put_head("/1", 1, "").replacen("PUT", "POST", 1) + "y",
            put_head("/1/batch", 1, "").replacen("PUT", "POST", 1) + "y",
            put_head("/1/delete", 1, "Content-Type: text/plain\r\n").replacen("PUT", "POST", 1)
                + "y",
            format!("DELETE {} HTTP/1.1\r\nHost: a\r\n\r\n", path(1)),
            put_head(&path(2), 2 << 20, "Expect: 100-continue\r\n"),
            get_head(&path(1)),
            // Moves to the other shard, which is draining too.
            get_head(&path(9)),
        ];
        // Each connection is within a request when the signal arrives, so none is idle.
        let mut clients: Vec<_> = heads.iter().map(|_| store.connect()).collect();
        for (client, head) in clients.iter_mut().zip(&heads) {
            client.send(&head.as_bytes()[..20]).unwrap();
        }
        store.daemon.wait_for_metric("hayloft_connections", "", heads.len() as f64);
        store.daemon.signal(Signal::SIGTERM);
        store.daemon.wait_until("the drain", || store.daemon.log_text().contains("draining"));
        for (client, head) in clients.iter_mut().zip(&heads) {
            client.send(&head.as_bytes()[20..]).unwrap();
            let reply = client.reply(false).unwrap();
            let want = if head.starts_with("GET") { 200 } else { 503 };
            assert_eq!((reply.status, reply.header("connection")), (want, Some("close")), "{head}");
            assert_eq!(reply.header("retry-after").is_some(), want == 503);
            assert!(head != &get_head(&path(9)) || reply.body == large);
            assert!(client.at_end());
        }
        store.stop();
    }
}

/// No protocol is switched, and the request is answered as if nothing had been asked.
#[test]
fn upgrades_are_ignored() {
    both(|store| {
        let photo = bytes(1, 2_000_000);
        let h2c: super::Headers = &[
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABk"),
        ];
        let websocket: super::Headers = &[
            ("Connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", "13"),
        ];
        for upgrade in [h2c, websocket] {
            let mut client = store.connect();
            for (key, body) in [(1, &b"small"[..]), (2, &photo)] {
                let stored = client.request("PUT", &path(key), upgrade, Some(body)).unwrap();
                assert!([201, 204].contains(&stored.status), "{}", stored.text());
                let got = client.request("GET", &path(key), upgrade, None).unwrap();
                assert!(got.status == 200 && got.body == body);
                assert_eq!((got.header("upgrade"), got.header("connection")), (None, None));
            }
            let missing = client.request("GET", &path(3), upgrade, None).unwrap();
            assert_eq!(missing.status, 404);
            assert_eq!(client.request("DELETE", &path(1), upgrade, None).unwrap().status, 204);
        }
    });
}

#[test]
fn absolute_form_target_is_accepted() {
    both(|store| {
        let (host, large) = ("http://test", bytes(1, 2_000_000));
        let mut client = store.connect();
        for (key, body) in [(1, &b"small"[..]), (2, &large)] {
            let name = format!("{host}{}", path(key));
            assert_eq!(client.request("PUT", &name, &[], Some(body)).unwrap().status, 201);
            assert!(client.get(&name).unwrap().body == body);
            assert!(client.get(&path(key)).unwrap().body == body);
            assert_eq!(client.request("HEAD", &name, &[], None).unwrap().status, 200);
            let upper = format!("HTTP://TEST:80{}", path(key));
            assert_eq!(client.request("DELETE", &upper, &[], None).unwrap().status, 204);
        }
        let posted = client.request("POST", host, &[], Some(b"x")).unwrap();
        assert_eq!(posted.status, 201);
        assert!(posted.header("location").unwrap().starts_with("/1/"), "a path, as always");
        let options = client.request("OPTIONS", &format!("{host}{}", path(1)), &[], None).unwrap();
        assert_eq!(options.header("allow"), Some("GET, HEAD, PUT, POST, DELETE"));
        for other in ["http://b", "https://test", "http://test:8080", "http://test@test"] {
            let reply = store.get(&format!("{other}{}", path(1)));
            assert_eq!(reply.status, 400, "{other}");
        }
    });
}
