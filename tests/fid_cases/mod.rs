//! Requests that name photos by fid, in simulated shards: forms however they are built and split, raw and
//! chunked bodies, metadata, packed photos, ranges, conditions, deletions, and what is refused.

mod bench;
mod form;

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::GzEncoder;
use hayloft::http::fid::TokenKey;
use hayloft::node::shard::{FidKeys, ShardConfig};
use hayloft::runtime::split_mix;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::shard_world::{SECOND, Shards, config};
use bench::{Bench, Reply, with_fids};
use form::{Form, data};

const FID: &str = "/1,02d2dd59a8";

/// Bytes that cannot be packed.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 3;
    let bytes = std::iter::repeat_with(|| split_mix(&mut state).to_le_bytes());
    bytes.flatten().take(len).collect()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// CRC32C, bit by bit.
fn castagnoli(bytes: &[u8]) -> String {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
    let crc = !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step));
    format!("{crc:08x}")
}

#[test]
fn a_photo_is_stored_read_and_deleted_in_either_shard() {
    let mut bench = Bench::start();
    for at in [0, 1] {
        bench.at = at;
        let photo = data(3000 + at, 1);
        let etag = format!("\"{}\"", castagnoli(&photo));
        let stored = bench.post(FID, &Form::of(&photo));
        assert_eq!((stored.status, stored.field("ETag")), (201, Some(&*etag)), "{}", stored.head);
        let json = stored.json();
        assert_eq!((&json["name"], &json["mime"]), (&"p.jpg".into(), &"image/jpeg".into()));
        assert_eq!(json["size"], photo.len());
        assert_eq!(format!("{}", json["eTag"]), etag);
        let again = bench.post(FID, &Form::of(&photo));
        assert_eq!((again.status, again.body.len(), again.field("ETag")), (204, 0, Some(&*etag)));
        let other = bench.post(FID, &Form::of(&photo[1..]));
        assert_eq!(other.status, 201, "other bytes replace it");
        assert_eq!(bench.post(FID, &Form::of(&photo)).status, 201);
        for target in [FID, "/1,2D2DD59A8.jpg", "/1/02d2dd59a8", "/1/02d2dd59a8/x.jpg"] {
            let read = bench.get(target, "");
            assert_eq!((read.status, read.field("ETag")), (200, Some(&*etag)), "{target}");
            assert_eq!(read.field("Content-Type"), Some("image/jpeg"));
            assert_eq!(read.field("Content-Disposition"), Some("inline; filename=p.jpg"));
            assert!(read.body == photo, "{target}");
        }
        let own = bench.get("/1/2/0/00000000d2dd59a8", "");
        assert!(own.status == 200 && own.body == photo, "the same photo by its own path");
        let head = bench.send(&format!("HEAD {FID}"), b"");
        assert_eq!(head.field("Content-Length"), Some(&*photo.len().to_string()));
        assert_eq!((head.status, head.body.len()), (200, 0));
        let range = bench.get(FID, "Range: bytes=10-19\r\n");
        assert_eq!((range.status, &range.body[..]), (206, &photo[10..20]));
        let part = format!("bytes 10-19/{}", photo.len());
        assert_eq!(range.field("Content-Range"), Some(&*part));
        let behind = bench.get(FID, "Range: bytes=9000-\r\n");
        let size = format!("bytes */{}", photo.len());
        assert_eq!((behind.status, behind.field("Content-Range")), (416, Some(&*size)));
        let known = bench.get(FID, &format!("If-None-Match: {etag}\r\n"));
        assert_eq!((known.status, known.body.len()), (304, 0));
        let wrong = bench.send("DELETE /1,0200000001", b"");
        assert_eq!(wrong.status, 400, "another cookie");
        assert_eq!(bench.get("/1,0200000001", "").status, 404);
        let deleted = bench.send(&format!("DELETE {FID}"), b"");
        let size = photo.len() + 4 + 1 + 6 + 11 + 5;
        assert_eq!((deleted.status, &deleted.json()["size"]), (202, &size.into()));
        let deleted = bench.send(&format!("DELETE {FID}"), b"");
        assert_eq!((deleted.status, &*deleted.body), (404, &br#"{"size":0}"#[..]));
        assert_eq!(bench.get(FID, "").status, 404);
        assert_eq!(bench.post(FID, &Form::of(b"")).status, 201, "an empty photo");
        let empty = bench.get(FID, "");
        assert_eq!(
            (empty.status, empty.body.len(), empty.field("ETag")),
            (200, 0, Some("\"00000000\""))
        );
        assert_eq!(bench.send(&format!("DELETE {FID}"), b"").json()["size"], 0);
    }
}

/// Lengths around what fits into one needle, chunk and piece.
const LENGTHS: [usize; 12] = [
    0, 1, 2, 65_535, 65_536, 65_537, 131_072, 1_048_573, 1_048_575, 1_048_576, 1_048_577, 2_500_000,
];

#[test]
fn forms_of_all_lengths_are_stored_however_they_end() {
    let mut bench = Bench::start();
    for (n, len) in LENGTHS.into_iter().enumerate() {
        let photo = data(len, n as u64);
        let forms = [
            Form::of(&photo),
            Form::of(&photo).ends_short(),
            Form::default()
                .field("a", b"before")
                .with("Content-Disposition: form-data; filename=\"p.jpg\"", &photo),
            Form::of(&photo).field("b", b"after").field("c", &[b'x'; 5000]),
            Form::of(&photo).field("b", b"after").ends_short(),
        ];
        for (m, form) in forms.iter().enumerate() {
            let target = format!("/1,{:x}d2dd59a8", n * 10 + m + 1);
            bench.at = m % 2;
            let stored = bench.post(&target, form);
            assert_eq!(stored.status, 201, "{len} bytes, form {m}: {:?}", stored.json());
            let read = bench.get(&target, "");
            assert!(read.status == 200 && read.body == photo, "{len} bytes, form {m}");
            let etag = format!("\"{}\"", castagnoli(&photo));
            assert_eq!(read.field("ETag"), Some(&*etag), "{len} bytes, form {m}");
        }
    }
}

#[test]
fn chunked_bodies_of_all_lengths_are_stored() {
    let mut bench = Bench::start();
    for (n, len) in LENGTHS.into_iter().enumerate() {
        let photo = data(len, n as u64);
        for (m, chunks) in
            [vec![1_usize << 30], vec![1000, 7, 66_000], vec![65_536]].iter().enumerate()
        {
            let target = format!("/1,{:x}d2dd59a8", n * 10 + m + 1);
            bench.at = m % 2;
            let form = Form::of(&photo).chunked(chunks);
            let stored = bench.send(&format!("POST {target}"), &form);
            assert_eq!(stored.status, 201, "{len} bytes, {chunks:?}: {:?}", stored.json());
            let read = bench.get(&target, "");
            assert!(read.status == 200 && read.body == photo, "{len} bytes, {chunks:?}");
        }
        let target = format!("/1,{:x}d2dd59a8", n * 10 + 9);
        let mut raw = b"Transfer-Encoding: chunked\r\nContent-Type: a/b\r\n\r\n".to_vec();
        for chunk in photo.chunks(100_000) {
            raw.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            raw.extend_from_slice(chunk);
            raw.extend_from_slice(b"\r\n");
        }
        raw.extend_from_slice(b"0\r\n\r\n");
        let line = format!("PUT {}/n.x", target.replace(',', "/"));
        assert_eq!(bench.send(&line, &raw).status, 201, "{len} bytes");
        let read = bench.get(&target, "");
        assert!(read.body == photo && read.field("Content-Type") == Some("a/b"), "{len} bytes");
        assert_eq!(read.field("Content-Disposition"), Some("inline; filename=n.x"));
    }
}

/// Whatever the sizes of the pieces in which a request arrives, the same is stored, and the request after it
/// on the same connection is found.
#[test]
fn requests_may_arrive_in_any_pieces() {
    let mut bench = Bench::start();
    let mut state = 7;
    for n in 1..60_u64 {
        let len = usize::try_from(split_mix(&mut state) % 4000).unwrap();
        let photo = data(len, n);
        let form = Form::of(&photo).field("x", b"y");
        let rest = if n % 2 == 0 { form.with_length() } else { form.chunked(&[13, 700, 1]) };
        let target = format!("/1,{n:x}d2dd59a8");
        let mut bytes = format!("POST {target} HTTP/1.1\r\nHost: a\r\n").into_bytes();
        bytes.extend_from_slice(&rest);
        bytes.extend_from_slice(
            format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        let mut pieces = Vec::new();
        let mut left = &bytes[..];
        while !left.is_empty() {
            let most = 1 + split_mix(&mut state) % if n % 3 == 0 { 30 } else { 3000 };
            let (piece, after) = left.split_at(left.len().min(usize::try_from(most).unwrap()));
            pieces.push(piece.to_vec());
            left = after;
        }
        bench.at = usize::from(n % 4 == 1);
        let first = bench.pieces(pieces);
        assert_eq!(first.status, 201, "{n}: {}", first.head);
        let len: usize = first.field("Content-Length").unwrap().parse().unwrap();
        let second = Reply::parse(&first.body[len..]);
        assert!(second.status == 200 && second.body == photo, "{n}: {}", second.head);
    }
}

#[test]
fn metadata_comes_back() {
    let mut bench = Bench::start();
    let form = Form::default().with(
        "Content-Disposition: form-data; name=\"file\"; filename=\"gr\u{fc}n & \\\"x\\\".txt\"\r\n\
         Content-Type: text/plain\r\nContent-Md5: kAFQmDzST7DWlj99KOF/cg==",
        b"abc",
    );
    let rest = [&b"Seaweed-Owner: bob\r\nSeaweed-a-b: c\r\n"[..], &form.with_length()].concat();
    let stored = bench.send(&format!("POST {FID}?ts=784111777"), &rest);
    assert_eq!(stored.status, 201, "{}", stored.head);
    assert_eq!(stored.field("Content-MD5"), Some("kAFQmDzST7DWlj99KOF/cg=="));
    assert_eq!(stored.json()["contentMd5"], "kAFQmDzST7DWlj99KOF/cg==");
    assert!(stored.body.windows(6).any(|six| six == b"\\u0026"), "escaped as Go does");
    let read = bench.get(FID, "Origin: http://b\r\n");
    for (name, value) in [
        ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Owner", "bob"),
        ("A-B", "c"),
        ("Access-Control-Allow-Origin", "*"),
        ("Content-Disposition", "inline; filename*=utf-8''gr%C3%BCn%20&%20%22x%22.txt"),
    ] {
        assert_eq!(read.field(name), Some(value), "{}", read.head);
    }
    let saved = bench.get(&format!("{FID}?dl=true"), "");
    assert!(saved.field("Content-Disposition").unwrap().starts_with("attachment; "));
    let query = "?response-content-type=a%2Fb&response-cache-control=no-store";
    let chosen = bench.get(&format!("{FID}{query}"), "");
    assert_eq!(
        (chosen.field("Content-Type"), chosen.field("Cache-Control")),
        (Some("a/b"), Some("no-store"))
    );
    let since = "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    assert_eq!(bench.get(FID, since).status, 304);
    let wrong = Form::default().with(
        "Content-Disposition: form-data; filename=a\r\nContent-Md5: kAFQmDzST7DWlj99KOF/cg==",
        b"abd",
    );
    let refused = bench.post("/1,03d2dd59a8", &wrong);
    assert_eq!(refused.status, 400);
    assert!(refused.json()["error"].is_string());
    assert_eq!(bench.get("/1,03d2dd59a8", "").status, 404, "nothing is stored");
    let octets = Form::default().with(
        "Content-Disposition: form-data; filename=a\r\nContent-Type: application/octet-stream",
        b"abd",
    );
    assert!(bench.post("/1,03d2dd59a8", &octets).json()["mime"].is_null());
}

/// Names and pairs may make the head of an answer longer than the space before the data.
#[test]
fn a_head_of_any_length_is_sent() {
    let mut bench = Bench::start();
    let value = "v".repeat(1600);
    for (n, len) in [0, 3000, 1_300_000].into_iter().enumerate() {
        let photo = data(len, 5);
        let target = format!("/1,{n:x}d2dd59a8");
        let rest = [
            format!("Seaweed-One: {value}\r\nSeaweed-Two: {value}\r\n").as_bytes(),
            &Form::of(&photo).with_length(),
        ]
        .concat();
        assert_eq!(bench.send(&format!("POST {target}"), &rest).status, 201);
        let query = format!("?response-content-disposition={}", "d".repeat(1500));
        let read = bench.get(&format!("{target}{query}"), "");
        assert_eq!(
            (read.status, read.field("One"), read.field("Two")),
            (200, Some(&*value), Some(&*value))
        );
        assert!(read.body == photo, "{len}");
        let part = bench.get(&target, "Range: bytes=1-5\r\n");
        assert_eq!(part.status, if len == 0 { 416 } else { 206 });
    }
    let rest = [
        format!("Seaweed-One: {}\r\n", "v".repeat(3400)).as_bytes(),
        &Form::of(b"x").with_length(),
    ]
    .concat();
    assert_eq!(bench.send(&format!("POST {FID}"), &rest).status, 400, "too long to be stored");
}

#[test]
fn packed_photos_are_sent_as_the_reader_takes_them() {
    let mut bench = Bench::start();
    for (n, len) in [0, 10, 70_000, 3_000_000].into_iter().enumerate() {
        let plain = if len > 1_000_000 { noise(len) } else { vec![b'a'; len] };
        let gz = packed(&plain);
        assert_eq!(gz.len() > 1 << 20, n == 3, "the last one takes more than a needle");
        bench.at = n % 2;
        let target = format!("/1,{:x}d2dd59a8", n + 1);
        let form = Form::default()
            .with("Content-Disposition: form-data; filename=\"\"\r\nContent-Encoding: gzip", &gz);
        let stored = bench.post(&target, &form);
        assert_eq!(stored.status, 201, "{:?}", stored.json());
        assert_eq!(stored.json()["size"].as_u64().unwrap_or(0), len as u64, "of the plain bytes");
        let etag = format!("\"{}\"", castagnoli(&gz));
        let as_stored = bench.get(&target, "Accept-Encoding: br, gzip\r\n");
        assert!(
            as_stored.body == gz && as_stored.field("Content-Encoding") == Some("gzip"),
            "{len}"
        );
        assert_eq!(as_stored.field("ETag"), Some(&*etag));
        let unpacked = bench.get(&target, "Accept-Encoding: gzip;q=0\r\n");
        assert!(unpacked.status == 200 && unpacked.body == plain, "{len}");
        assert_eq!(unpacked.field("Content-Encoding"), None);
        assert_eq!(unpacked.field("Content-Length"), Some(&*len.to_string()));
        let head = bench.send(&format!("HEAD {target}"), b"");
        assert_eq!(head.field("Content-Length"), Some(&*len.to_string()));
        for (from, to) in
            [(0, 4), (5, 9), (60_000, 60_010), (2_000_000, 2_000_100), (len - len.min(5), len)]
        {
            if to >= len {
                continue;
            }
            let part = bench.get(&target, &format!("Range: bytes={from}-{}\r\n", to - 1));
            assert!(part.status == 206 && part.body == plain[from..to], "{len}: {from} to {to}");
        }
    }
    let none = Form::default()
        .with("Content-Disposition: form-data; filename=a\r\nContent-Encoding: gzip", b"no gzip");
    assert_eq!(bench.post("/1,aad2dd59a8", &none).status, 400);
    assert_eq!(bench.get("/1,aad2dd59a8", "").status, 404);
}

#[test]
fn what_cannot_be_stored_is_refused_as_clients_expect() {
    let mut bench = Bench::start();
    assert_eq!(bench.post(FID, &Form::of(b"first")).status, 201);
    let form = Form::of(b"other");
    for (line, expected, why) in [
        ("POST /1,0200000001", 500, "mismatching cookie"),
        ("POST /9,02d2dd59a8", 500, "no such volume"),
        ("POST /1,02", 400, "the path is not"),
        ("POST /1,02d2dd59a8?ttl=5q", 400, "the ttl"),
        ("POST /1,02d2dd59a8?ts=x", 400, "ts is not"),
    ] {
        let reply = bench.send(line, &form.with_length());
        let error = reply.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(
            reply.status == expected && error.contains(why),
            "{line}: {} {error}",
            reply.status
        );
    }
    let fields = "Content-Type: multipart/form-data; boundary=x\r\n";
    for (body, why) in [
        ("", "ends within the form"),
        ("--y\r\n\r\na\r\n--y--\r\n", "begin with its boundary"),
        ("--x\r\nA: b\r\n\r\na", "ends within the form"),
        ("--x\r\nA: b\r\n\r\na\r\n--x", "ends within the form"),
        ("--x\r\nA: b\r\n\r\na\r\n--x--y", "bytes follow"),
        ("--x\r\nA: b\r\n\r\na\r\n--xy\r\n", "is not followed by"),
        ("--x\r\nA : b\r\n\r\na\r\n--x--\r\n", "before the colon"),
        ("--x\r\nContent-Disposition: a; filename=b\r\n\r\na\r\n--x--y", "bytes follow"),
        (
            "--x\r\nContent-Disposition: a; filename=b\r\n\r\na\r\n--x\r\n\
             Content-Disposition: a; filename=c\r\n\r\na\r\n--x--\r\n",
            "more than one file",
        ),
    ] {
        let rest = format!("{fields}Content-Length: {}\r\n\r\n{body}", body.len());
        let reply = bench.send(&format!("POST {FID}"), rest.as_bytes());
        let error = reply.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(reply.status == 400 && error.contains(why), "{body:?}: {} {error}", reply.status);
        let chunked = format!(
            "{fields}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        let reply = bench.send(&format!("POST {FID}"), chunked.as_bytes());
        assert_eq!(reply.status, 400, "chunked {body:?}");
    }
    for form in [
        Form::default().field("a", &vec![b'x'; 70_000]).field("b", b"y"),
        Form::of(b"z").field("a", &vec![b'x'; 70_000]),
    ] {
        assert_eq!(bench.post(FID, &form).status, 400, "fields of more than 64 KiB");
    }
    let fits = Form::of(b"z").field("a", &vec![b'x'; 65_000]);
    assert_eq!(bench.post("/1,05d2dd59a8", &fits).status, 201, "a field of less than 64 KiB");
    let nameless = Form::default().field("file", b"no name");
    assert_eq!(bench.post("/1,04d2dd59a8", &nameless).status, 201);
    assert_eq!(bench.get("/1,04d2dd59a8", "").body, b"no name");
    for (line, expected) in [
        ("POST /1,02d2dd59a8", 411),
        ("PATCH /1,02d2dd59a8", 400),
        ("OPTIONS /1,02d2dd59a8", 200),
        ("GET /1,02", 400),
        ("GET /9,02d2dd59a8", 404),
        ("DELETE /9,02d2dd59a8", 500),
        ("GET /healthz", 200),
        ("GET /readyz", 200),
        ("DELETE /status", 400),
    ] {
        assert_eq!(bench.send(line, b"").status, expected, "{line}");
    }
    let read = bench.get(FID, "");
    assert_eq!((read.status, &read.body[..]), (200, &b"first"[..]), "nothing has changed");
    let status = bench.get("/status", "").json();
    assert_eq!(status["Volumes"][0]["Id"], 1);
    let health = bench.get("/healthz", "");
    let start = health.field("X-Hayloft-Start").expect("a number of the start");
    assert!(start.len() == 16 && start.bytes().all(|byte| byte.is_ascii_hexdigit()), "{start}");
}

/// RFC 9112 section 6.1: what could be understood in two ways ends the connection.
#[test]
fn ambiguous_framing_is_refused_and_ends_the_connection() {
    let mut bench = Bench::start();
    let get = format!("GET {FID} HTTP/1.1\r\nHost: a\r\n\r\n");
    for (fields, expected) in [
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501),
        ("Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", 400),
    ] {
        let request = format!("POST {FID} HTTP/1.1\r\nHost: a\r\n{fields}{get}");
        let reply = bench.pieces(vec![request.into_bytes()]);
        assert_eq!(reply.status, expected, "{fields:?}");
        let body = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(!body.contains("HTTP/1.1"), "{fields:?}: a second answer");
    }
    let chunked = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".as_bytes();
    for target in ["/1", "/", "/1/batch", "/1/2/0/0123456789abcdef"] {
        assert_eq!(bench.send(&format!("POST {target}"), chunked).status, 501, "{target}");
    }
}

#[test]
fn a_slow_upload_is_ended_and_stores_nothing() {
    let mut bench = Bench::start();
    let form = Form::of(&data(3000, 1));
    for rest in [form.with_length(), form.chunked(&[1, 2, 3])] {
        let mut bytes = format!("POST {FID} HTTP/1.1\r\nHost: a\r\n").into_bytes();
        bytes.extend_from_slice(&rest[..rest.len() - 1000]);
        let reply = bench.pieces(vec![bytes]);
        assert_eq!(reply.status, 408);
        assert_eq!(bench.get(FID, "").status, 404);
    }
    // A few bytes now and then are too slow, too, in however many chunks.
    let client = bench.shards.connect(0);
    let sender = client.clone();
    bench.shards.spawn(async move {
        let head = format!("POST {FID} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        sender.send(head.as_bytes()).await;
        while sender.send(b"1\r\nx\r\n").await {
            sender.pause(SECOND).await;
        }
    });
    let reader = client.clone();
    bench.shards.spawn(async move { reader.take_all().await });
    let watched = client.clone();
    bench.shards.run_until("the end", 60 * SECOND, |_| watched.taken().end.is_some());
    assert_eq!(client.taken().statuses(), [408]);
}

/// A token for a photo, without an end, signed with this key.
fn token(fid: &str, key: &str) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let claims = format!("{{\"fid\":\"{fid}\"}}");
    let text = format!("{}.{}", encode(b"{\"alg\":\"HS256\"}"), encode(claims.as_bytes()));
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", encode(&mac.finalize().into_bytes()))
}

#[test]
fn tokens_are_needed_for_what_has_a_key() {
    let keys =
        FidKeys { read: Some(TokenKey::new(b"to read")), write: Some(TokenKey::new(b"to write")) };
    let shards = Shards::start(2, || ShardConfig { keys: keys.clone(), ..with_fids() });
    let mut bench = Bench { shards, at: 0 };
    let form = Form::of(b"photo");
    let write = token("1,02d2dd59a8", "to write");
    let read = token("1,02d2dd59a8", "to read");
    for target in [FID.to_owned(), format!("{FID}?jwt={read}"), format!("{FID}?jwt=x")] {
        let refused = bench.post(&target, &form);
        assert_eq!((refused.status, &refused.json()["error"]), (401, &"wrong jwt".into()));
    }
    assert_eq!(bench.post(&format!("{FID}?jwt={write}"), &form).status, 201);
    let bearer = format!("Authorization: Bearer {write}\r\n");
    let rest = [bearer.as_bytes(), &Form::of(b"again").with_length()].concat();
    assert_eq!(bench.send(&format!("POST {FID}_3"), &rest).status, 201, "assigned together");
    assert_eq!(bench.get(FID, "").status, 401);
    assert_eq!(bench.get(FID, &bearer).status, 401, "it is to write");
    let found = bench.get(FID, &format!("Cookie: AT={read}\r\n"));
    assert_eq!((found.status, &found.body[..]), (200, &b"photo"[..]));
    assert_eq!(bench.send(&format!("DELETE {FID}"), b"").status, 401);
    assert_eq!(bench.send(&format!("DELETE {FID}?jwt={write}"), b"").status, 202);
    assert_eq!(bench.send("GET /status", b"").status, 200, "pages need none");
    // Nothing goes past the tokens.
    let own = "/1/2/0/00000000d2dd59a8";
    assert_eq!(bench.post(&format!("{FID}?jwt={write}"), &form).status, 201);
    assert_eq!(bench.get(own, "").status, 403);
    assert_eq!(bench.send(&format!("DELETE {own}"), b"").status, 403);
    let list = "2/0/00000000d2dd59a8\n";
    let list = format!("Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{list}", list.len());
    assert_eq!(bench.send("POST /1/delete", list.as_bytes()).status, 403);
}

#[test]
fn standalone_volumes_do_not_exist_for_fids() {
    let mut bench = Bench { shards: Shards::start(2, config), at: 0 };
    let put = "PUT /1/2/0/00000000d2dd59a8";
    assert_eq!(bench.send(put, b"Content-Length: 2\r\n\r\nhi").status, 201);
    assert_eq!(bench.send("GET /1,02d2dd59a8", b"").status, 400, "it is no target of its own");
    assert_eq!(bench.send("OPTIONS /1,02d2dd59a8", b"").status, 405);
}
