//! Lack of space, time or readable data: 503, 507, 408, 500.

use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::{Store, both, both_with, get_head, put_head, tar_of};
use crate::daemon_harness::{COOKIE, RawConnection, bytes, path};

const SMALL_POOL: &str = "[limits]\nbuffer_memory_per_shard = \"8MiB\"\nbody_grace_seconds = 60\n";

/// Starts an upload and stalls.
fn begun(store: &Store, n: u64, len: usize) -> RawConnection {
    let mut client = store.connect();
    client.send(put_head(&path(n), len as u64, "").as_bytes()).unwrap();
    client.send(&bytes(n, 2000)).unwrap();
    client
}

/// Whether the upload was refused; waits 5 ms for a reply.
fn is_refused(client: &mut RawConnection) -> bool {
    client.stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let reply = client.reply(false);
    client.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
        Err(error) => panic!("closed without a reply: {error}"),
    };
    assert_eq!(reply.status, 503);
    assert!(reply.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()));
    assert!(client.at_end(), "the body was not read");
    true
}

/// At most `at_most` bodies of one kind may be in progress: these are kept, further ones are refused, reads
/// continue, and those that were kept complete.
fn fill_up(store: &Store, len: usize, at_most: usize) {
    store.create(&path(900), &bytes(900, 100_000));
    store.create(&path(901), &bytes(901, 2_000_000));
    let begun = (0..at_most as u64 + 3).map(|n| (n, begun(store, n, len)));
    let mut held: Vec<(u64, RawConnection)> = begun.collect();
    let mut before = usize::MAX;
    store.daemon.wait_until("the excess uploads to be refused", || {
        // A request waits for a buffer for up to a tenth of a second.
        std::thread::sleep(Duration::from_millis(300));
        held.retain_mut(|(_, client)| !is_refused(client));
        std::mem::replace(&mut before, held.len()) == held.len() && held.len() <= at_most
    });
    assert!(held.len() >= 2, "{} of {len} bytes", held.len());
    assert!(store.get(&path(900)).body == bytes(900, 100_000), "a photo is read meanwhile");
    // With Expect the refusal comes before the body.
    let mut asking = store.connect();
    asking.send(put_head(&path(800), len as u64, "Expect: 100-continue\r\n").as_bytes()).unwrap();
    assert_eq!(asking.reply(false).unwrap().status, 503, "of {len} bytes");
    assert!(asking.at_end());
    for (n, client) in &mut held {
        client.send(&bytes(*n, len)[2000..]).unwrap();
        assert_eq!(client.reply(false).unwrap().status, 201, "{n}");
    }
    for (n, _) in &held {
        assert!(store.get(&path(*n)).body == bytes(*n, len), "{n}");
    }
    assert!(store.get(&path(901)).body == bytes(901, 2_000_000));
    assert_eq!(store.ask("PUT", &path(800), &[], Some(&bytes(1, len))).status, 201);
}

#[test]
fn bodies_are_admitted_while_buffers_last() {
    // Five eighths of 8 MiB.
    both_with(SMALL_POOL, "64MiB", |store| fill_up(store, 1 << 20, 4));
}

#[test]
fn multipart_uploads_are_admitted_while_buffers_last() {
    // A quarter of 8 MiB, in pieces of 64 KiB with overhead.
    both_with(SMALL_POOL, "256MiB", |store| fill_up(store, (1 << 20) + 100_000, 28));
}

#[test]
fn stalled_readers_are_admitted_while_buffers_last() {
    let config = SMALL_POOL.to_owned() + "send_timeout_seconds = 8\n";
    both_with(&config, "64MiB", |store| {
        // More than the socket buffers hold.
        let large = bytes(1, 24 << 20);
        store.create(&path(1), &large);
        store.create(&path(2), &bytes(2, 100_000));
        let mut stalled: Vec<RawConnection> = (0..32).map(|_| store.connect()).collect();
        for client in &mut stalled {
            client.send(get_head(&path(1)).as_bytes()).unwrap();
        }
        let first_byte = || store.ask("GET", &path(1), &[("Range", "bytes=0-0")], None);
        store.daemon.wait_until("all shares to be taken", || first_byte().status == 503);
        let used = store.daemon.metric("hayloft_buffer_used_bytes", "");
        assert!(used > 500_000.0, "they are being served: {used}");
        for _ in 0..20 {
            assert!(store.get(&path(2)).body == bytes(2, 100_000), "others are served");
        }
        store.create(&path(3), &bytes(3, 100_000));
        let one_more = first_byte();
        assert_eq!(one_more.status, 503, "no share is left");
        assert_eq!(one_more.header("retry-after"), Some("1"));
        // Refused clients may stay connected.
        store.daemon.wait_until("the stalled readers to be disconnected", || {
            store.daemon.metric("hayloft_connections", "") <= 4.0
        });
        drop(stalled);
        assert!(store.get(&path(1)).body == large, "buffers are free again");
    });
}

#[test]
fn full_volume_replies_507_but_serves_reads() {
    both_with("", "16MiB", |store| {
        let photo = bytes(1, 1 << 20);
        let mut client = store.connect();
        let mut stored = 0;
        loop {
            let reply = client.put(&path(stored), &photo).unwrap();
            if reply.status == 507 {
                assert_eq!(reply.header("connection"), None, "the body was read");
                break;
            }
            assert_eq!(reply.status, 201, "{}", reply.text());
            stored += 1;
        }
        assert!((8..16).contains(&stored), "{stored} of 1 MiB in 16 MiB");
        let large = bytes(1, 3 << 20);
        let tar =
            tar_of(&[(&format!("500/0/{COOKIE}"), &photo), (&format!("501/0/{COOKIE}"), b"x")]);
        for (method, target, body) in [
            ("PUT", &path(0)[..], &photo),
            ("POST", "/", &photo),
            ("POST", "/1", &photo),
            ("POST", "/1/batch", &tar),
        ] {
            let reply = store.ask(method, target, &[], Some(body));
            assert_eq!(reply.status, 507, "{method} {target}: {}", reply.text());
        }
        for (method, target) in [("PUT", &path(400)[..]), ("POST", "/1"), ("POST", "/")] {
            let mut client = store.connect();
            let head = put_head(target, large.len() as u64, "Expect: 100-continue\r\n");
            client.send(head.replacen("PUT", method, 1).as_bytes()).unwrap();
            assert_eq!(client.reply(false).unwrap().status, 507, "{method} {target}");
            assert!(client.at_end());
        }
        for key in [400, 500, 501] {
            assert_eq!(store.get(&path(key)).status, 404, "{key}");
        }
        for key in 0..stored {
            assert!(store.get(&path(key)).body == photo, "{key}");
            assert_eq!(
                store.ask("DELETE", &path(key), &[], None).status,
                204,
                "deletes are accepted"
            );
        }
    });
}

#[test]
fn slow_requests_are_ended_with_408() {
    let config = "[limits]\nhead_timeout_seconds = 1\nbody_grace_seconds = 1\n\
                  body_min_bytes_per_second = 1000000\n";
    both_with(config, "64MiB", |store| {
        let batch = put_head("/1/batch", 5000, "").replacen("PUT", "POST", 1);
        let text = "Content-Type: text/plain\r\n";
        let multi_delete = put_head("/1/delete", 5000, text).replacen("PUT", "POST", 1);
        let mut slow: Vec<(RawConnection, String)> = [
            "GET /1".to_owned(),
            put_head(&path(2), 10, "") + "12345",
            put_head(&path(2), 10, "Expect: 100-continue\r\n"),
            put_head(&path(3), 200_000, "") + &"x".repeat(70_000),
            put_head(&path(4), 3 << 20, "") + &"x".repeat(1_100_000),
            put_head(&path(5), 3 << 20, ""),
            batch + &"x".repeat(3000),
            multi_delete + &"x".repeat(3000),
        ]
        .into_iter()
        .map(|begun| (store.connect(), begun))
        .collect();
        let began = Instant::now();
        for (client, begun) in &mut slow {
            client.send(begun.as_bytes()).unwrap();
        }
        for (client, begun) in &mut slow {
            let mut reply = client.reply(false).unwrap();
            if begun.contains("Expect") {
                assert_eq!(reply.status, 100);
                reply = client.reply(false).unwrap();
            }
            let shown = begun.lines().next().unwrap();
            assert_eq!((reply.status, reply.header("connection")), (408, Some("close")), "{shown}");
            assert!(
                began.elapsed() >= Duration::from_millis(900),
                "ended before the deadline: {shown}"
            );
            assert!(client.at_end());
        }
        for key in 2..=5 {
            assert_eq!(store.get(&path(key)).status, 404, "{key}");
        }
    });
}

/// Offset of a photo's bytes in the volume file.
fn place_of(file: &std::fs::File, data: &[u8]) -> u64 {
    let mut front = vec![0; 16 << 20];
    file.read_exact_at(&mut front, 0).unwrap();
    // Data of a needle begins on a multiple of four bytes.
    let at = front.chunks(4).position(|bytes| bytes == &data[..4]).unwrap() * 4;
    assert_eq!(front[at..at + 64], data[..64]);
    at as u64
}

fn flip(file: &std::fs::File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn damage_is_an_error_not_wrong_bytes() {
    both(|store| {
        let (small, large) = (bytes(1, 100_000), bytes(2, 3 << 20));
        store.create(&path(1), &small);
        store.create(&path(2), &large);
        store.create(&path(3), b"next to it");
        let volume = store.dir.path().join("data/1.0.vol");
        let file = std::fs::File::options().read(true).write(true).open(volume).unwrap();
        flip(&file, place_of(&file, &small) + 70_000);
        let mut client = store.connect();
        let reply = client.get(&path(1)).unwrap();
        assert_eq!((reply.status, reply.header("connection")), (500, None), "{}", reply.text());
        assert_eq!(reply.text().lines().count(), 1);
        assert_eq!(client.get(&path(3)).unwrap().body, b"next to it");
        flip(&file, place_of(&file, &small) + 70_000);
        assert!(client.get(&path(1)).unwrap().body == small, "it can be read again");

        // The third part of the multipart object: the parts before it are sent, and no byte of it.
        let third = place_of(&file, &large[2 << 20..]);
        flip(&file, third + 100_000);
        let mut client = store.connect();
        client.send(get_head(&path(2)).as_bytes()).unwrap();
        let mut got = Vec::new();
        client.stream.read_to_end(&mut got).unwrap();
        let head = got.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        assert!(got.starts_with(b"HTTP/1.1 200") && got.len() < head + large.len());
        let body = &got[head..];
        assert!(body.len() >= 1 << 20 && body.len() <= (2 << 20) + 65_536, "{}", body.len());
        assert!(large.starts_with(body), "wrong bytes before the end");
        for (range, want) in [
            ("bytes=0-2097151", 206),
            ("bytes=2097152-2162687", 206),
            ("bytes=-1", 206),
            ("bytes=2197152-", 500),
        ] {
            let got = store.ask("GET", &path(2), &[("Range", range)], None);
            assert_eq!(got.status, want, "{range}");
        }
        assert_eq!(store.ask("HEAD", &path(2), &[], None).status, 200);
        // The damaged object can be replaced.
        assert_eq!(store.ask("PUT", &path(2), &[], Some(b"new")).status, 204);
        assert_eq!(store.get(&path(2)).body, b"new");
    });
}
