//! Ranges of small, large and empty photos.

use hayloft::runtime::split_mix;

use super::{both, both_with};
use crate::daemon_harness::{RawConnection, bytes, path};

/// Requests a satisfiable range and checks the reply.
fn check(
    client: &mut RawConnection,
    path: &str,
    photo: &[u8],
    spec: &str,
    first: usize,
    last: usize,
) {
    let range = format!("bytes={spec}");
    let got = client.request("GET", path, &[("Range", &range)], None).unwrap();
    assert_eq!(got.status, 206, "{spec}");
    assert!(got.body == photo[first..=last], "{spec}: other bytes");
    let content_range = format!("bytes {first}-{last}/{}", photo.len());
    assert_eq!(got.header("content-range"), Some(&content_range[..]), "{spec}");
    assert!(got.header("etag").is_some() && got.header("last-modified").is_some());
    assert_eq!(got.header("accept-ranges"), Some("bytes"));
}

#[test]
fn single_range_is_served_or_unsatisfiable() {
    both(|store| {
        for (key, size) in [(1, 1_usize), (2, 200_000), (3, 1 << 20), (4, 3_000_001)] {
            let (path, photo) = (path(key), bytes(key, size));
            store.create(&path, &photo);
            let (last, mut client) = (size - 1, store.connect());
            let mut check = |spec: &str, from, to| {
                check(&mut client, &path, &photo, spec, from, to);
            };
            check("0-0", 0, 0);
            check("0-", 0, last);
            check("-1", last, last);
            check(&format!("{last}-{last}"), last, last);
            check(&format!("{last}-"), last, last);
            check(&format!("0-{size}"), 0, last);
            check("0-99999999999999999999999", 0, last);
            check(&format!("-{}", size * 2), 0, last);
            check(&format!("-{size}"), 0, last);
            if size > 1 {
                check("65530-65540", 65_530, 65_540);
                check("65536-131071", 65_536, 131_071);
                check("100000-", 100_000, last);
                check("-70000", size - 70_000, last);
            }
            for spec in [format!("{size}-"), format!("{size}-{}", size + 5), "-0".to_owned()] {
                let range = format!("bytes={spec}");
                let got = store.ask("GET", &path, &[("Range", &range)], None);
                let content_range = format!("bytes */{size}");
                assert_eq!(
                    (got.status, got.header("content-range")),
                    (416, Some(&content_range[..]))
                );
            }
        }
    });
}

#[test]
fn malformed_or_multiple_ranges_are_ignored() {
    both(|store| {
        for (key, size) in [(1, 1000), (2, (1 << 20) + 1)] {
            let photo = bytes(key, size);
            store.create(&path(key), &photo);
            for value in [
                "bytes=5-2",
                "bytes=a-b",
                "items=0-5",
                "bytes=",
                "bytes=-",
                "bytes=--5",
                "0-5",
                "bytes=0-5,9-12",
                "bytes=0-5, 9-12",
                "bytes=0-5,",
                "bytes= 0-5",
                "bytes=+0-5",
            ] {
                let got = store.ask("GET", &path(key), &[("Range", value)], None);
                assert!(got.status == 200 && got.body == photo, "{value}: {}", got.status);
                assert_eq!(got.header("content-range"), None, "{value}");
            }
            // Other methods ignore ranges, even unsatisfiable ones.
            let range = [("Range", "bytes=9999999-")];
            let head = store.ask("HEAD", &path(key), &range, None);
            let len = size.to_string();
            assert_eq!((head.status, head.header("content-length")), (200, Some(&len[..])));
            assert_eq!(store.ask("PUT", &path(key), &range, Some(b"x")).status, 204);
            assert_eq!(store.ask("DELETE", &path(key), &range, None).status, 204);
        }
    });
}

#[test]
fn empty_photo_has_no_satisfiable_range() {
    both(|store| {
        store.create(&path(1), b"");
        for (range, status) in
            [("bytes=0-0", 416), ("bytes=0-", 416), ("bytes=-0", 416), ("bytes=-1", 200)]
        {
            let got = store.ask("GET", &path(1), &[("Range", range)], None);
            assert_eq!(got.status, status, "{range}");
            let content_range = (status == 416).then_some("bytes */0");
            assert_eq!(got.header("content-range"), content_range, "{range}");
        }
    });
}

#[test]
fn random_ranges_of_the_largest_body_are_exact() {
    both_with("", "256MiB", |store| {
        let photo = bytes(64, 64 << 20);
        store.create(&path(1), &photo);
        let size = photo.len();
        let mut state = 2_026;
        let mut below =
            |bound: usize| usize::try_from(split_mix(&mut state) % bound as u64).unwrap();
        let mut client = store.connect();
        for n in 0..240 {
            // Mostly a few bytes to some hundred KiB, half of them near boundaries of parts and chunks.
            let boundary = (1 << 16) << (below(2) * 4);
            let at = match n % 2 {
                0 => below(size),
                _ => (below(size / boundary) * boundary + below(5)).saturating_sub(2),
            };
            let len = 1 + below([3, 5000, 400_000, 2_500_000][n % 4]);
            let last = (at + len - 1).min(size - 1);
            match n % 3 {
                0 => check(&mut client, &path(1), &photo, &format!("{at}-{last}"), at, last),
                1 => check(&mut client, &path(1), &photo, &format!("-{len}"), size - len, size - 1),
                _ => {
                    let at = size - len;
                    check(&mut client, &path(1), &photo, &format!("{at}-"), at, size - 1);
                }
            }
            if n % 40 == 0 {
                client = store.connect();
            }
        }
    });
}
