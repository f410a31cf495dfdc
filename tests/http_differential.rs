//! Compares the parser with two others on generated and mutated requests: the oracle must give the same
//! verdict on every stream, and `httparse` must accept every request that our parser accepts, with the same
//! result.

mod http_oracle;

use std::cell::RefCell;
use std::collections::BTreeMap;

use hayloft::http::head::{self, HeadLimits, HeadProgress};
use hayloft::http::scan::{Event, Scan};
use http_oracle::{Seen, oracle, path_of_target, seen, sent_target};
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
    let mut progress = HeadProgress::default();
    for &end in ends {
        match head::parse(&stream[..end], &LIMITS, &mut progress) {
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
