//! Multipart uploads: decisions before the body, and bodies that do not arrive.

use std::time::{Duration, Instant};

use super::{Store, both, both_with, put_head, with_foreign_cookie};
use crate::daemon_harness::{Daemon, Options, RawConnection, bytes, path};

const LEN: usize = 3 << 20;
const EXPECT: &str = "Expect: 100-continue\r\n";

fn wait_until_gone(store: &Store) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.daemon.metric("hayloft_connections", "") > 0.0 {
        assert!(Instant::now() < deadline, "a closed connection is still counted");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn begin(store: &Store, name: &str, body: &[u8], more: &str) -> RawConnection {
    let mut client = store.connect();
    client.send(put_head(name, LEN as u64, more).as_bytes()).unwrap();
    client.send(body).unwrap();
    client
}

#[test]
fn expect_is_answered_before_the_body() {
    both(|store| {
        for (size, key) in [(5, 1), (LEN as u64, 2)] {
            let old = store.create(&path(key), b"old");
            let foreign = with_foreign_cookie(&path(key));
            let elsewhere = format!("/9{}", &path(key)[2..]);
            let match_old = format!("If-Match: {old}\r\n");
            for (want, name, more) in [
                (412, &path(key), "If-None-Match: *\r\n"),
                (412, &path(key), "If-Match: \"x\"\r\n"),
                (412, &path(77), "If-Match: *\r\n"),
                (409, &foreign, ""),
                (409, &foreign, "If-Match: \"x\"\r\n"),
                (404, &elsewhere, "If-Match: \"x\"\r\n"),
                (100, &path(key), &match_old),
                (100, &path(78), "If-None-Match: *\r\n"),
            ] {
                let mut client = store.connect();
                let head = put_head(name, size, &format!("{EXPECT}{more}"));
                client.send(head.as_bytes()).unwrap();
                let reply = client.reply(false).unwrap();
                assert_eq!(reply.status, want, "{size} bytes, {more:?}");
                if want == 100 {
                    client.send(&bytes(9, usize::try_from(size).unwrap())).unwrap();
                    let stored = client.reply(false).unwrap().status;
                    assert_eq!(stored, if name == &path(key) { 204 } else { 201 });
                    assert_eq!(client.get(name).unwrap().status, 200, "the connection stays open");
                } else {
                    assert_eq!(reply.header("connection"), Some("close"));
                    assert!(client.at_end(), "the body was not read: {want}");
                }
            }
            assert_eq!(store.ask("DELETE", &path(78), &[], None).status, 204);
        }
        for target in ["/1", "/"] {
            let mut client = store.connect();
            let head = put_head(target, LEN as u64, EXPECT).replacen("PUT", "POST", 1);
            client.send(head.as_bytes()).unwrap();
            assert_eq!(client.reply(false).unwrap().status, 100);
            client.send(&bytes(1, LEN)).unwrap();
            let url = client.reply(false).unwrap().header("location").unwrap().to_owned();
            assert!(client.get(&url).unwrap().body == bytes(1, LEN));
        }
        // A client that does not wait may get only the final reply.
        let mut client = begin(store, &path(50), &bytes(5, LEN), EXPECT);
        let first = client.reply(false).unwrap().status;
        assert!(first == 201 || (first == 100 && client.reply(false).unwrap().status == 201));
        assert!(client.get(&path(50)).unwrap().body == bytes(5, LEN));
    });
}

#[test]
fn interrupted_upload_changes_nothing() {
    both_with("", "128MiB", |store| {
        let old = bytes(1, LEN);
        store.create(&path(1), &old);
        store.create(&path(2), b"small");
        let used = || store.daemon.metric("hayloft_volume_used_bytes", "");
        let before = used();
        for key in 1..=3 {
            for sent in [0, 1, 1 << 20, (2 << 20) + 5, LEN - 1] {
                drop(begin(store, &path(key), &bytes(7, sent), ""));
            }
        }
        let mut post = store.connect();
        let head = put_head("/1", LEN as u64, "").replacen("PUT", "POST", 1);
        post.send(head.as_bytes()).unwrap();
        post.send(&bytes(7, LEN / 2)).unwrap();
        drop(post);
        wait_until_gone(store);
        assert!(store.get(&path(1)).body == old);
        assert_eq!(store.get(&path(2)).body, b"small");
        assert_eq!(store.get(&path(3)).status, 404);
        store.assert_needles(2);
        assert!(used() > before, "received parts use space until compaction");
        // Interrupted uploads do not lock their names.
        for (key, status) in [(1, 204), (2, 204), (3, 201)] {
            let new = bytes(key, LEN);
            assert_eq!(store.ask("PUT", &path(key), &[], Some(&new)).status, status);
            assert!(store.get(&path(key)).body == new);
        }
    });
}

#[test]
fn old_photo_is_served_until_upload_completes() {
    both(|store| {
        let (old, new) = (bytes(1, LEN), bytes(2, LEN));
        store.create(&path(1), &old);
        let mut slow = begin(store, &path(1), &new[..LEN - 1], "");
        std::thread::sleep(Duration::from_millis(100));
        assert!(store.get(&path(1)).body == old);
        // A faster upload is replaced when the slow one completes.
        assert_eq!(store.ask("PUT", &path(1), &[], Some(b"quick")).status, 204);
        slow.send(&new[LEN - 1..]).unwrap();
        assert_eq!(slow.reply(false).unwrap().status, 204);
        assert!(store.get(&path(1)).body == new);
    });
}

#[test]
fn condition_is_checked_again_after_the_body() {
    both(|store| {
        let new = bytes(2, LEN);
        let mut slow = begin(store, &path(1), &new[..LEN - 1], "If-None-Match: *\r\n");
        std::thread::sleep(Duration::from_millis(100));
        store.create(&path(1), b"quick");
        slow.send(&new[LEN - 1..]).unwrap();
        assert_eq!(slow.reply(false).unwrap().status, 412);
        assert_eq!(
            slow.get(&path(1)).unwrap().body,
            b"quick",
            "the body was read, so the connection stays open"
        );
        let mut slow = begin(store, &path(2), &new[..LEN - 1], "");
        std::thread::sleep(Duration::from_millis(100));
        store.create(&with_foreign_cookie(&path(2)), b"quick");
        slow.send(&new[LEN - 1..]).unwrap();
        assert_eq!(slow.reply(false).unwrap().status, 409);
    });
}

#[test]
fn reservation_of_interrupted_upload_is_released() {
    both(|store| {
        let len = 20 << 20;
        for _ in 0..10 {
            let mut client = store.connect();
            client.send(put_head(&path(1), len, EXPECT).as_bytes()).unwrap();
            assert_eq!(client.reply(false).unwrap().status, 100);
            client.send(&bytes(1, 2000)).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            drop(client);
            wait_until_gone(store);
        }
        // Space is reserved as soon as the body starts: 64 MiB hold two of these at a time, not three.
        let ask = |key| {
            let mut client = store.connect();
            client.send(put_head(&path(key), len, EXPECT).as_bytes()).unwrap();
            let status = client.reply(false).unwrap().status;
            if status == 100 {
                client.send(&bytes(1, 2000)).unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
            (client, status)
        };
        let (mut first, mut second, third) = (ask(1), ask(2), ask(3));
        assert_eq!((first.1, second.1, third.1), (100, 100, 507));
        for (client, _) in [&mut first, &mut second] {
            client.send(&bytes(1, 20 << 20)[2000..]).unwrap();
            assert_eq!(client.reply(false).unwrap().status, 201);
        }
    });
}

#[test]
fn refusal_reaches_a_client_that_sends_the_whole_body() {
    both(|store| {
        store.create(&path(1), b"x");
        let body = bytes(1, 12 << 20);
        let foreign = with_foreign_cookie(&path(1));
        let elsewhere = format!("/9{}", &path(1)[2..]);
        for (want, name) in [(409, &foreign), (404, &elsewhere)] {
            let mut client = store.connect();
            let reply = client.put(name, &body).unwrap();
            assert_eq!((reply.status, reply.header("connection")), (want, Some("close")));
            assert!(client.at_end());
        }
        let mut client = store.connect();
        let head =
            format!("POST /1/batch HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        client.send(head.as_bytes()).unwrap();
        client.send(&body).unwrap();
        assert_eq!(client.reply(false).unwrap().status, 413);
    });
}

#[test]
fn stop_waits_for_a_multipart_upload() {
    for shards in [1, 2] {
        let store = Store::start(shards, "", "64MiB");
        let photo = bytes(1, LEN);
        let mut slow = begin(&store, &path(1), &photo[..LEN / 2], "");
        std::thread::sleep(Duration::from_millis(200));
        store.daemon.signal(nix::sys::signal::Signal::SIGTERM);
        std::thread::sleep(Duration::from_millis(200));
        slow.send(&photo[LEN / 2..]).unwrap();
        let reply = slow.reply(false).unwrap();
        assert_eq!((reply.status, reply.header("connection")), (201, Some("close")));
        drop(slow);
        let dir = store.stop();
        let daemon = Daemon::start(dir.path(), &Options::default());
        assert!(daemon.connect().get(&path(1)).unwrap().body == photo);
    }
}
