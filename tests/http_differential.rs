//! Compares the parsers with others on generated and mutated requests: the oracle must give the same
//! verdict on every stream, and `httparse` must accept every request that our parser accepts, with the same
//! result. Also compares what is read in targets, chunked bodies and forms of SeaweedFS clients.

mod http_oracle;

use std::cell::RefCell;
use std::collections::BTreeMap;

use hayloft::http::head::{self, Dialects, HeadLimits, HeadProgress};
use hayloft::http::scan::{Event, Scan};
use hayloft_fuzz::form::Sent;
use hayloft_fuzz::{chunked, fid_target, form};
use http_oracle::{Seen, oracle, oracle_as, path_of_target, seen, sent_target};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Small limits, so that mutated requests reach them.
const LIMITS: HeadLimits = HeadLimits { head_bytes_max: 400, fields_max: 8, target_bytes_max: 40 };

/// Words that are mostly accepted, and words that are mostly refused.
type Words = (&'static [&'static str], &'static [&'static str]);

const METHODS: Words =
    (&["GET", "GET", "HEAD", "PUT", "PUT", "POST", "DELETE"], &["PATCH", "get", "G(T", ""]);
const TARGETS: Words = (
    &[
        "/",
        "/1",
        "/1/batch",
        "/1/delete",
        "/1/2/3/0123456789abcdef",
        "/1/2/3/0123456789abcdef?x",
        "/123456789/123456789/123456789/12345678",
        "http://a/",
        "HTTP://A:80/1/2",
        "http://b:8080",
    ],
    &[
        "/123456789/123456789/123456789/123456789",
        "http://a/123456789/123456789/123456789/1",
        "*",
        "http://b/",
        "http:///",
        "http://u@a/",
        "https://a/",
        "/\u{e4}",
        "",
    ],
);
const VERSIONS: Words =
    (&["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"], &["HTTP/2.0", "HTTP/1.10", "http/1.1", "HTTP/1", ""]);
const NAMES: Words = (
    &[
        "Connection",
        "connection",
        "Range",
        "If-Range",
        "If-Match",
        "If-None-Match",
        "if-modified-since",
        "If-Unmodified-Since",
        "Content-Type",
        "X-Other",
        "Accept",
        "TE",
        "Upgrade",
        "Origin",
    ],
    &[
        "Content-Length",
        "content-length",
        "Transfer-Encoding",
        "Host",
        "Expect",
        "Expect",
        "Expect",
        "X Y",
        "",
    ],
);
const VALUES: Words = (
    &[
        "0",
        "5",
        "a",
        "",
        "close",
        "keep-alive",
        "x, Close ,keep-alive",
        "100-continue",
        "100-CONTINUE",
        "chunked",
        "bytes=0-1",
        "\"a\", W/\"b\"",
        "*",
        "a b\tc",
        "\u{e4}",
        "Sun, 06 Nov 1994 08:49:37 GMT",
    ],
    &["+5", "5, 5", "\0", "18446744073709551616", "000000000000000000000000005"],
);
const COLONS: Words = (&[": ", ": ", ":", ":\t "], &[" :", "", " \t"]);
const LINE_ENDS: Words = (&["\r\n"], &["\n", "\r", "\r\r\n", "\r\n ", " \r\n", ""]);
const BLANKS: Words = (&["", "", "\r\n"], &["\n", "\r\n\r\n", " "]);
const SPACES: Words = (&[" "], &["  ", "\t", ""]);
const HOSTS: Words = (&["Host: a\r\n", "host:b:8080 \r\n"], &["Host: a b\r\n", ""]);
const LENGTHS: Words = (
    &["Content-Length: 5\r\n", "Content-Length: 0\r\n", ""],
    &[
        "Content-Length: 18446744073709551615\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length:\r\n",
        "content-length: -0\r\n",
    ],
);
/// Bytes that mutations insert: those with a special meaning for some parser.
const BYTES: &[u8] = b"\r\n \t:,;/\0\x0b\x0c\x7f\x80\xff\"#%*+-.0159AGHTx\x1f@[_";

/// Picks mostly from the first list.
fn pick((good, bad): Words) -> impl Strategy<Value = &'static str> {
    prop_oneof![40 => proptest::sample::select(good), 1 => proptest::sample::select(bad)]
}

fn field() -> impl Strategy<Value = String> {
    let space = proptest::sample::select(&["", "", "", " ", "\t "]);
    (pick(NAMES), pick(COLONS), pick(VALUES), space, pick(LINE_ENDS))
        .prop_map(|(name, colon, value, space, end)| format!("{name}{colon}{value}{space}{end}"))
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let spaces = (pick(SPACES), pick(SPACES));
    let line = (pick(METHODS), pick(TARGETS), pick(VERSIONS), pick(LINE_ENDS), spaces);
    let fields = proptest::collection::vec(field(), 0..6);
    let expect = prop_oneof![3 => Just(""), 1 => Just("Expect: 100-continue\r\n")];
    let required = (pick(HOSTS), pick(LENGTHS), expect, any::<prop::sample::Index>());
    let rest = proptest::sample::select(&["", "12345", "GET / HTTP/1.1\r\n\r\n"]);
    (pick(BLANKS), line, required, fields, pick(LINE_ENDS), rest).prop_map(
        |(blank, line, required, mut fields, end, rest)| {
            let (method, target, version, line_end, (space1, space2)) = line;
            let (host, length, expect, host_index) = required;
            fields.insert(host_index.index(fields.len() + 1), host.to_owned());
            let fields = fields.concat();
            let line = format!("{method}{space1}{target}{space2}{version}{line_end}");
            format!("{blank}{line}{length}{fields}{expect}{end}{rest}").into_bytes()
        },
    )
}

#[derive(Clone, Copy, Debug)]
enum Mutation {
    Replace,
    Insert,
    Remove,
    /// Repeats a range of bytes, such as a field.
    Repeat,
    /// Truncates the stream.
    Cut,
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    use Mutation::{Cut, Insert, Remove, Repeat, Replace};
    let kind = proptest::sample::select(&[Replace, Replace, Insert, Insert, Remove, Repeat, Cut]);
    let index = any::<prop::sample::Index>;
    let byte = proptest::sample::select(BYTES);
    let mutations = proptest::collection::vec((kind, index(), index(), byte), 0..4);
    let mutations = prop_oneof![2 => Just(Vec::new()), 3 => mutations];
    (request(), mutations).prop_map(|(mut bytes, mutations)| {
        for (kind, at, to, byte) in mutations {
            let (at, to) = (at.index(bytes.len() + 1), to.index(bytes.len() + 1));
            let (at, to) = (at.min(to), at.max(to));
            match kind {
                Replace if at < bytes.len() => bytes[at] = byte,
                Replace | Insert => bytes.insert(at, byte),
                Remove => drop(bytes.drain(at..to.min(at + 20))),
                Repeat => {
                    let repeated = bytes[at..to].to_vec();
                    bytes.splice(at..at, repeated);
                }
                Cut => bytes.truncate(to),
            }
        }
        bytes
    })
}

/// The verdict of our parser on a stream, received up to each of `ends` in turn, with the reason of a
/// refusal.
fn ours(stream: &[u8], ends: &[usize]) -> Result<Option<Seen>, (u16, &'static str)> {
    ours_as(stream, ends, Dialects::Own)
}

fn ours_as(
    stream: &[u8],
    ends: &[usize],
    dialects: Dialects,
) -> Result<Option<Seen>, (u16, &'static str)> {
    let mut progress = HeadProgress::default();
    for &end in ends {
        match head::parse_as(&stream[..end], &LIMITS, dialects, &mut progress) {
            Ok(None) => {}
            Ok(Some(head)) => return Ok(Some(seen(&head, &stream[..end]))),
            Err(reject) => return Err((reject.status.code(), reject.reason)),
        }
    }
    Ok(None)
}

fn fields(stream: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut scan, mut fields) = (Scan::default(), Vec::new());
    while let Event::Field(field) = scan.step(stream, &LIMITS).unwrap() {
        fields.push((field.name.of(stream).to_vec(), field.value.of(stream).to_vec()));
    }
    fields
}

fn runner(cases: u32) -> TestRunner {
    let cases =
        if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { cases };
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[test]
fn the_oracle_gives_the_same_verdict_however_the_stream_is_split() {
    let counts = RefCell::new(BTreeMap::<u16, u32>::new());
    let cuts = proptest::collection::vec(any::<prop::sample::Index>(), 0..6);
    let result = runner(20_000).run(&(mutated(), cuts), |(stream, cuts)| {
        let whole = ours(&stream, &[stream.len()]);
        let status = whole.clone().map_err(|(status, _)| status);
        prop_assert_eq!(&oracle(&stream, &LIMITS), &status);

        let bytes: Vec<usize> = (0..=stream.len()).collect();
        prop_assert_eq!(&ours(&stream, &bytes), &whole);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        ends.push(stream.len());
        ends.sort_unstable();
        prop_assert_eq!(&ours(&stream, &ends), &whole);

        let verdict = match status {
            Ok(Some(_)) => 200,
            Ok(None) => 100,
            Err(status) => status,
        };
        *counts.borrow_mut().entry(verdict).or_default() += 1;
        Ok(())
    });
    result.unwrap();
    // The streams must cover every verdict, or the comparison shows nothing about it.
    let counts = counts.into_inner();
    let total: u32 = counts.values().sum();
    println!("{counts:?}");
    for status in [100, 200, 400, 405, 411, 413, 414, 417, 431, 501, 505] {
        let count = counts.get(&status).copied().unwrap_or(0);
        assert!(count > 0 || total < 10_000, "never {status}: {counts:?}");
    }
    assert!(counts[&200] > total / 10, "{counts:?}");
}

#[test]
fn httparse_accepts_every_request_that_we_accept() {
    let accepted = RefCell::new(0);
    let result = runner(20_000).run(&mutated(), |stream| {
        let Ok(Some(seen)) = ours(&stream, &[stream.len()]) else { return Ok(()) };
        *accepted.borrow_mut() += 1;
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(&stream);
        prop_assert_eq!(parsed, Ok(httparse::Status::Complete(seen.len)));
        prop_assert_eq!(request.method, Some(seen.method.as_str()));
        let target = request.path.unwrap().as_bytes();
        prop_assert_eq!(target, sent_target(&stream));
        prop_assert_eq!(path_of_target(target), seen.target);
        prop_assert_eq!(request.version, Some(u8::from(!seen.http10)));
        let theirs = request.headers.iter();
        let theirs = theirs.map(|header| (header.name.as_bytes().to_vec(), header.value.to_vec()));
        prop_assert_eq!(theirs.collect::<Vec<_>>(), fields(&stream));
        Ok(())
    });
    result.unwrap();
    assert!(accepted.into_inner() > 0, "no generated request was accepted");
}

#[test]
fn the_oracle_gives_the_same_verdict_on_random_bytes() {
    let noise =
        proptest::collection::vec(prop_oneof![proptest::sample::select(BYTES), any::<u8>()], 0..60);
    let result = runner(5_000).run(&noise, |stream| {
        let status = ours(&stream, &[stream.len()]).map_err(|(status, _)| status);
        prop_assert_eq!(oracle(&stream, &LIMITS), status);
        Ok(())
    });
    result.unwrap();
}

/// Lines and targets of SeaweedFS clients in place of others, so that the same mutations apply.
const FID_WORDS: [(&str, &str); 6] = [
    ("/1/2/3/0123456789abcdef", "/1/2/p.jpg"),
    ("/1/batch", "/1,02637037d6"),
    ("/1/delete", "/1/02637037d6"),
    ("X-Other: ", "Transfer-Encoding: "),
    ("Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"),
    ("DELETE", "OPTIONS"),
];

#[test]
fn the_oracle_gives_the_same_verdict_on_requests_of_seaweedfs_clients() {
    let counts = RefCell::new(BTreeMap::<(bool, u16), u32>::new());
    let words = proptest::collection::vec(any::<bool>(), FID_WORDS.len());
    let result = runner(20_000).run(&(mutated(), words), |(stream, chosen)| {
        let mut text = String::from_utf8_lossy(&stream).into_owned();
        for ((old, new), _) in FID_WORDS.iter().zip(chosen).filter(|(_, chosen)| *chosen) {
            text = text.replace(old, new);
        }
        let stream = text.as_bytes();
        let whole = ours_as(stream, &[stream.len()], Dialects::WithFids);
        let bytes: Vec<usize> = (0..=stream.len()).collect();
        prop_assert_eq!(&ours_as(stream, &bytes, Dialects::WithFids), &whole);
        let status = whole.map_err(|(status, _)| status);
        prop_assert_eq!(&oracle_as(stream, &LIMITS, Dialects::WithFids), &status);
        let (is_fid, verdict) = match status {
            Ok(Some(seen)) if seen.is_chunked => (seen.is_fid, 201),
            Ok(Some(seen)) => (seen.is_fid, 200),
            Ok(None) => (false, 100),
            Err(status) => (false, status),
        };
        *counts.borrow_mut().entry((is_fid, verdict)).or_default() += 1;
        Ok(())
    });
    result.unwrap();
    let counts = counts.into_inner();
    let total: u32 = counts.values().sum();
    println!("{counts:?}");
    for verdict in
        [(true, 200), (true, 201), (false, 200), (false, 400), (false, 405), (false, 501)]
    {
        let count = counts.get(&verdict).copied().unwrap_or(0);
        assert!(count > 20 || total < 10_000, "{verdict:?}: {counts:?}");
    }
    assert_eq!(counts.get(&(false, 201)), None, "chunked, to a target of Hayloft's own");
}

/// Pieces of targets: most in their order, some anywhere.
fn fid_target_text() -> impl Strategy<Value = String> {
    const VOLUMES: Words = (&["1", "3", "4294967295", "007"], &["4294967296", "", "x", "+1"]);
    const SEPARATORS: Words = (&[",", "/"], &["//", "%2C", "_", "", "?"]);
    const HEX: Words = (
        &["01637037d6", "1637037D6", "ffffffffffffffff637037d6", "000000000000000000000000"],
        &[
            "637037d6",
            "1ffffffffffffffff637037d6",
            "0163703_7d6",
            "0x637037d6",
            "",
            "\u{e9}1637037d6",
        ],
    );
    const ADDED: Words =
        (&["", "", "_1", "_007"], &["_", "_1_2", "_-1", "_a", "_18446744073709551616"]);
    const ENDS: Words =
        (&["", ".jpg", "/p.jpg", "?ts=1", "/p?a/b"], &["/a/b", "/", ".", "..", "/%20?x", "?"]);
    let piece = proptest::sample::select(&["/", ",", "_", ".", "?", "0", "f", "batch"]);
    let anywhere = prop_oneof![
        8 => Just(None),
        1 => (piece, any::<prop::sample::Index>()).prop_map(Some),
    ];
    (pick(VOLUMES), pick(SEPARATORS), pick(HEX), pick(ADDED), pick(ENDS), anywhere).prop_map(
        |(volume, separator, hex, added, end, anywhere)| {
            let mut text = format!("/{volume}{separator}{hex}{added}{end}");
            if let Some((piece, at)) = anywhere {
                let at = (0..=text.len())
                    .filter(|&at| text.is_char_boundary(at))
                    .collect::<Vec<_>>()[at.index(text.chars().count() + 1)];
                text.insert_str(at, piece);
            }
            text
        },
    )
}

#[test]
fn the_oracle_reads_the_same_in_targets_of_seaweedfs_clients() {
    let named = RefCell::new([0, 0]);
    let result = runner(20_000).run(&fid_target_text(), |target| {
        named.borrow_mut()[usize::from(fid_target::compare(target.as_bytes()))] += 1;
        Ok(())
    });
    result.unwrap();
    let [others, photos] = named.into_inner();
    assert!(others * 20 > photos && photos * 20 > others, "{photos} photos, {others} others");
}

/// Bodies of chunks with some bytes changed, and what follows them.
fn chunked_body() -> impl Strategy<Value = Vec<u8>> {
    const SIZES: Words = (&["", "0"], &["000000000000000", "+", " ", "0x", "\t"]);
    const SIZE_ENDS: Words = (&["\r\n"], &["\n", "\r", ";a\r\n", " \r\n", "\r\r\n", ""]);
    const DATA_ENDS: Words = (&["\r\n"], &["\n", "\r", "", "x\r\n"]);
    const LASTS: Words = (&["0\r\n\r\n"], &["0\r\nA: b\r\n\r\n", "0\n\n", "0\r\n", "", "\r\n"]);
    let data = proptest::collection::vec(proptest::sample::select(&b"a0\r\n;5"[..]), 1..20);
    let chunk = (pick(SIZES), pick(SIZE_ENDS), pick(DATA_ENDS), data, any::<bool>());
    let mutation = prop_oneof![
        4 => Just(None),
        1 => (proptest::sample::select(BYTES), any::<prop::sample::Index>()).prop_map(Some),
    ];
    let cut = prop_oneof![9 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    let rest = proptest::sample::select(&["", "GET / HTTP/1.1\r\n\r\n", "\r\n", "0\r\n\r\n"]);
    (proptest::collection::vec(chunk, 0..5), pick(LASTS), rest, mutation, cut).prop_map(
        |(chunks, last, rest, mutation, cut)| {
            let mut body = Vec::new();
            for (front, size_end, data_end, data, is_upper) in chunks {
                let size = format!("{:x}", data.len());
                let size = if is_upper { size.to_uppercase() } else { size };
                body.extend_from_slice(format!("{front}{size}{size_end}").as_bytes());
                body.extend_from_slice(&data);
                body.extend_from_slice(data_end.as_bytes());
            }
            body.extend_from_slice(last.as_bytes());
            body.extend_from_slice(rest.as_bytes());
            if let Some((byte, at)) = mutation {
                let at = at.index(body.len().max(1)).min(body.len());
                body.insert(at, byte);
            }
            if let Some(at) = cut {
                body.truncate(at.index(body.len() + 1));
            }
            body
        },
    )
}

#[test]
fn the_oracle_decodes_the_same_chunks() {
    let counts = RefCell::new([0; 3]);
    let cuts = proptest::collection::vec(any::<u8>(), 0..6);
    let result = runner(20_000).run(&(chunked_body(), cuts), |(body, cuts)| {
        let verdict = match chunked::compare(&body, &cuts) {
            Ok(Some(_)) => 0,
            Ok(None) => 1,
            Err(()) => 2,
        };
        counts.borrow_mut()[verdict] += 1;
        Ok(())
    });
    result.unwrap();
    let counts = counts.into_inner();
    let total: u32 = counts.iter().sum();
    assert!(counts.iter().all(|count| count * 50 > total), "{counts:?}");
}

/// A boundary, and a form with it, with some bytes changed.
fn form_body() -> impl Strategy<Value = (String, Vec<u8>)> {
    const BOUNDARIES: Words = (
        &["B", "a:b", "0a1b2c3d4e5f60718293", "-", "--", "B B"],
        &["", "B ", "\u{e4}", "B\"", "B;C"],
    );
    const DISPOSITIONS: Words = (
        &[
            "Content-Disposition: form-data; name=file; filename=p.jpg\r\n",
            "Content-Disposition: form-data; name=\"file\"; filename=\"a;b \\\"c\\\"\"\r\n",
            "content-disposition: form-data; filename*=UTF-8''gr%C3%BCn; filename=\"\"\r\n",
            "Content-Disposition: form-data; name=x\r\n",
            "Content-Disposition: form-data; name=x\r\n",
            "Content-Disposition: form-data; name=x;\r\n",
            "Content-Disposition: form-data\r\n",
            "",
        ],
        &[
            "Content-Disposition: form-data; filename=a; filename=b\r\n",
            "Content-Disposition: form-data; filename=\"a\r\n",
            "Content-Disposition: form-data; filename=\"a\"b\r\n",
            "Content-Disposition: form-data; filename*=latin1''a\r\n",
            "Content-Disposition: form-data; filename\r\n",
            "Content-Disposition: ; filename=a\r\n",
            "Content-Disposition:\r\n",
            "Content-Disposition: form-data; filename=\"/a/\"; x=\";\"\r\n",
            "Content-Disposition: form-data; a b=c; filename=x\r\n",
        ],
    );
    const FIELDS: Words = (
        &["", "", "Content-Type: image/jpeg\r\n", "Content-MD5:\r\n", "A: b\r\n"],
        &[
            "content-encoding: GZIP\r\n",
            "Content-Md5: kAFQmDzST7DWlj99KOF/cg==\r\n",
            "Content-Type: a\r\nContent-Type: b\r\n",
            "A: b\r\n c\r\n",
            "A : b\r\n",
            "A: b\n",
            "--@: b\r\n",
            "A: b\r\n--@\r\n",
        ],
    );
    // The number sign is the boundary.
    const DATA: Words = (
        &["", "data", "\r\n", "\r\n--", "\r\n--\r\n--\r", "--@", "\r", "\r\n-\r\n", "a--@--\r\n"],
        &["\r\n--@", "\r\n--@x", "\r\n--@--", "\n--@\n"],
    );
    const BEGINS: Words = (&["--@\r\n"], &["\r\n--@\r\n", "x--@\r\n", "--@ \r\n", "--@--\r\n", ""]);
    const BETWEEN: Words = (&["\r\n--@\r\n"], &["\r\n--@ \r\n", "--@\r\n", "\n--@\n", "\r\n--@-"]);
    const LASTS: Words = (
        &["\r\n--@--\r\n", "\r\n--@--"],
        &["\r\n--@--x", "\r\n--@--\r\n\r\n", "\r\n--@-", "\r\n--@", "--@--", ""],
    );
    const EMPTY: Words = (&["\r\n"], &["", "\n", "\r\n\r\n"]);
    let data = proptest::collection::vec(pick(DATA), 0..4);
    let long = prop_oneof![60 => Just(0), 2 => Just(300), 1 => Just(30_000), 1 => Just(66_000)];
    let part = (pick(DISPOSITIONS), pick(FIELDS), pick(EMPTY), data, long);
    let mutation = prop_oneof![
        4 => Just(None),
        1 => (proptest::sample::select(BYTES), any::<prop::sample::Index>()).prop_map(Some),
    ];
    let parts = proptest::collection::vec((part, pick(BETWEEN)), 0..4);
    (pick(BOUNDARIES), pick(BEGINS), parts, pick(LASTS), mutation).prop_map(
        |(boundary, begin, parts, last, mutation)| {
            let mut text = begin.to_owned();
            for (number, ((disposition, fields, empty, data, long), between)) in
                parts.into_iter().enumerate()
            {
                text.push_str(if number > 0 { between } else { "" });
                let long = "z".repeat(long);
                text.push_str(&[disposition, fields, empty, &data.concat(), &long].concat());
            }
            text.push_str(last);
            let mut body = text.replace('@', boundary).into_bytes();
            if let Some((byte, at)) = mutation {
                let at = at.index(body.len().max(1)).min(body.len());
                body.insert(at, byte);
            }
            (boundary.to_owned(), body)
        },
    )
}

#[test]
fn the_oracle_takes_the_same_file_out_of_forms() {
    let counts = RefCell::new([0, 0]);
    let chunks = proptest::collection::vec(prop_oneof![0..40u16, any::<u16>()], 0..4);
    let cuts = proptest::collection::vec(any::<u16>(), 0..6);
    let sent = (chunks, cuts, prop_oneof![0..40u16, any::<u16>()])
        .prop_map(|(chunks, cuts, buffer)| Sent { chunks, cuts, buffer });
    let result = runner(20_000).run(&(form_body(), sent), |((boundary, body), sent)| {
        let is_valid = form::compare(boundary.as_bytes(), &body, &sent);
        counts.borrow_mut()[usize::from(is_valid)] += 1;
        Ok(())
    });
    result.unwrap();
    let [refused, accepted] = counts.into_inner();
    assert!(refused * 10 > accepted && accepted * 10 > refused, "{accepted}, {refused} refused");
}

#[test]
fn the_oracle_takes_the_same_boundary_out_of_content_types() {
    const TYPES: Words = (
        &["multipart/form-data", "Multipart/Form-Data "],
        &["multipart/mixed", "", "\"multipart/form-data"],
    );
    const PARAMETERS: Words = (
        &["boundary=B", "Boundary=\"B C\"", "charset=utf-8", "x=\"; boundary=C; \"", "x=y z"],
        &[
            "boundary=B C",
            "boundary=",
            "boundary",
            "x=\"",
            "boundary=\"B\\\\\"",
            "",
            "a b=c",
            "boundary=a=b",
        ],
    );
    let parameters = proptest::collection::vec((pick(PARAMETERS), pick(SEPARATORS)), 0..4);
    const SEPARATORS: Words = (&["; ", ";"], &[";;", " ", ","]);
    let counts = RefCell::new([0; 3]);
    let result = runner(20_000).run(&(pick(TYPES), parameters), |(media_type, parameters)| {
        let parameters: String =
            parameters.iter().map(|(parameter, before)| format!("{before}{parameter}")).collect();
        let verdict = form::compare_type(format!("{media_type}{parameters}").as_bytes());
        counts.borrow_mut()[verdict.map_or(0, |is_valid| 1 + usize::from(is_valid))] += 1;
        Ok(())
    });
    result.unwrap();
    let counts = counts.into_inner();
    let total: u32 = counts.iter().sum();
    assert!(counts.iter().all(|count| count * 100 > total), "{counts:?}");
}
