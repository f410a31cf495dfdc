//! Runs the corpora of requests (`tests/corpus/http/`, whose README has the format, and
//! `tests/corpus/fid/`): the parser and the oracle must give the same verdict for every case, whole, byte
//! by byte and in random splits.

mod http_cases;
mod http_oracle;

use std::collections::BTreeSet;

use hayloft::http::fid::{ChunkEvent, ChunkedDecoder};
use hayloft::http::head::{self, Dialects, HeadLimits, HeadProgress};
use hayloft::runtime::split_mix;
use http_cases::{Case, Line, corpus};
use http_oracle::{Seen, chunked, oracle_as, seen};

const SPLITS_PER_CASE: usize = 1000;
const SEED: u64 = 0x4841_594c_4f46_5431;

/// What comes next in a stream.
enum Next {
    /// The request that begins at this offset.
    Request(usize),
    /// So many bytes of a body are missing.
    Missing(u64),
    /// A chunked body, as far as it was not decoded from this offset on, and its content so far.
    Chunks(usize, ChunkedDecoder, Vec<u8>),
    /// Nothing: the connection is closed.
    Closed,
}

/// The verdict of the parser on a stream, received up to each of `ends` in turn.
fn run(stream: &[u8], ends: &[usize], dialects: Dialects) -> Vec<Line> {
    let mut lines = Vec::new();
    let (mut next, mut progress) = (Next::Request(0), HeadProgress::default());
    for &end in ends {
        loop {
            let step = match &mut next {
                Next::Request(start) if *start <= end => {
                    let buf = &stream[*start..end];
                    let parsed = head::parse_as(buf, &HeadLimits::DEFAULT, dialects, &mut progress);
                    let parsed = parsed.map(|head| head.map(|head| seen(&head, buf)));
                    parsed.map(|seen| {
                        seen.map(|seen| {
                            progress = HeadProgress::default();
                            describe(&seen, &mut lines);
                            after_head(stream, *start, &seen)
                        })
                    })
                }
                Next::Chunks(at, decoder, content) if *at <= end => {
                    let mut decode = || loop {
                        let (consumed, event) = decoder.step(&stream[*at..end])?;
                        *at += consumed;
                        match event {
                            ChunkEvent::Data(left) if *at < end => {
                                let len = usize::try_from(left).unwrap_or(end).min(end - *at);
                                content.extend_from_slice(&stream[*at..*at + len]);
                                decoder.consume(len as u64);
                                *at += len;
                            }
                            ChunkEvent::Data(_) | ChunkEvent::More => return Ok(None),
                            ChunkEvent::End => return Ok(Some(Next::Request(*at))),
                        }
                    };
                    let step = decode();
                    if let Ok(Some(_)) = step {
                        lines.push(body_line(content));
                    }
                    step
                }
                _ => Ok(None),
            };
            match step {
                Ok(None) => break,
                Ok(Some(step)) => next = step,
                Err(reject) => {
                    lines.push(Line::Refused(reject.status.code(), reject.reason.to_owned()));
                    next = Next::Closed;
                }
            }
        }
    }
    rest(stream, &next, &mut lines);
    lines
}

/// The verdict of the oracle, which has no reasons.
fn run_oracle(stream: &[u8], dialects: Dialects) -> Vec<Line> {
    let (mut lines, mut next) = (Vec::new(), Next::Request(0));
    loop {
        let step = match next {
            Next::Request(start) => {
                let seen = oracle_as(&stream[start..], &HeadLimits::DEFAULT, dialects);
                seen.map(|seen| {
                    seen.map(|seen| {
                        describe(&seen, &mut lines);
                        after_head(stream, start, &seen)
                    })
                })
            }
            Next::Chunks(at, ..) => match chunked::decode(&stream[at..]) {
                Ok(decoded) => Ok(decoded.map(|(content, len)| {
                    lines.push(body_line(&content));
                    Next::Request(at + len)
                })),
                Err(()) => Err(400),
            },
            Next::Missing(_) | Next::Closed => Ok(None),
        };
        match step {
            Ok(None) => break,
            Ok(Some(step)) => next = step,
            Err(status) => {
                lines.push(Line::Refused(status, String::new()));
                next = Next::Closed;
            }
        }
    }
    rest(stream, &next, &mut lines);
    lines
}

/// What comes after the head of a request that begins at `start`.
fn after_head(stream: &[u8], start: usize, seen: &Seen) -> Next {
    let body = start + seen.len;
    let (length, here) = (seen.content_length.unwrap_or(0), (stream.len() - body) as u64);
    match length.checked_sub(here) {
        _ if !seen.keep_alive => Next::Closed,
        _ if seen.is_chunked => Next::Chunks(body, ChunkedDecoder::new(), Vec::new()),
        Some(missing @ 1..) => Next::Missing(missing),
        _ => Next::Request(body + usize::try_from(length).unwrap()),
    }
}

/// The line with the content of a chunked body.
fn body_line(content: &[u8]) -> Line {
    let space: &[u8] = if content.is_empty() { b"" } else { b" " };
    Line::Text([b"  body", space, content].concat())
}

/// Appends the line about the end of a stream.
fn rest(stream: &[u8], next: &Next, lines: &mut Vec<Line>) {
    match next {
        Next::Missing(missing) => lines.push(Line::Text(format!("body -{missing}").into_bytes())),
        Next::Request(start) if *start < stream.len() => lines.push(Line::Text(b"more".to_vec())),
        Next::Chunks(..) => lines.push(Line::Text(b"body more".to_vec())),
        Next::Request(_) | Next::Closed => {}
    }
}

/// Appends the lines of an accepted request.
fn describe(seen: &Seen, lines: &mut Vec<Line>) {
    let mut put = |parts: &[&[u8]]| lines.push(Line::Text(parts.concat()));
    put(&[seen.method.as_bytes(), b" ", &seen.target]);
    if seen.http10 {
        put(&[b"  version 1.0"]);
    }
    if let Some(length) = seen.content_length {
        put(&[b"  length ", length.to_string().as_bytes()]);
    }
    if seen.is_chunked {
        put(&[b"  chunked"]);
    }
    if !seen.keep_alive {
        put(&[b"  close"]);
    }
    if seen.expect_continue {
        put(&[b"  continue"]);
    }
    for (name, value) in &seen.kept {
        let space: &[u8] = if value.is_empty() { b"" } else { b" " };
        put(&[b"  ", name.as_bytes(), space, value]);
    }
}

/// Compares verdicts; the expected reason may be a part of the actual one.
fn agree(got: &[Line], want: &[Line]) -> bool {
    got.len() == want.len()
        && got.iter().zip(want).all(|pair| match pair {
            (Line::Refused(got, reason), Line::Refused(want, part)) => {
                got == want && reason.contains(part.as_str())
            }
            (got, want) => got == want,
        })
}

fn show(lines: &[Line]) -> String {
    let text = |line: &Line| match line {
        Line::Text(text) => format!("\n  => {}", text.escape_ascii()),
        Line::Refused(status, reason) => format!("\n  => {status} {reason}"),
    };
    lines.iter().map(text).collect()
}

/// The corpora, with the grammars that they are written for.
const CORPORA: [(&str, Dialects); 2] = [("http", Dialects::Own), ("fid", Dialects::WithFids)];

/// Runs `check`, which returns a description of a failure, on every case and reports all failures.
fn check_all(mut check: impl FnMut(&Case, Dialects) -> Option<String>) {
    let mut failures: Vec<String> = Vec::new();
    for (folder, dialects) in CORPORA {
        for case in corpus(folder) {
            let failure = check(&case, dialects);
            failures.extend(failure.map(|what| format!("{folder}/{}{what}", case.name)));
        }
    }
    assert!(failures.is_empty(), "{} failed\n{}", failures.len(), failures.join("\n"));
}

/// Random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(split_mix(&mut self.0) % bound as u64).unwrap()
    }
}

fn covered_statuses(cases: &[Case], least: usize) -> BTreeSet<u16> {
    assert!(cases.len() >= least, "only {} cases", cases.len());
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "two cases of a file have the same name");
    for case in cases {
        assert!(!case.stream.is_empty() && !case.verdict.is_empty(), "{}", case.name);
    }
    let lines = cases.iter().flat_map(|case| &case.verdict).filter_map(|line| match line {
        Line::Refused(status, _) => Some(*status),
        Line::Text(_) => None,
    });
    lines.collect()
}

#[test]
fn the_corpora_are_complete_and_cover_every_status() {
    let statuses = covered_statuses(&corpus("http"), 300);
    assert!(statuses.into_iter().eq([400, 405, 411, 413, 414, 417, 431, 501, 505]));
    // What has nothing to do with the target is in the other one.
    let cases = corpus("fid");
    assert!(covered_statuses(&cases, 180).into_iter().eq([400, 405, 411, 413, 417, 501]));
    let answers: BTreeSet<u16> =
        cases.iter().filter_map(|it| it.answers.clone()).flatten().collect();
    assert!(answers.is_superset(&BTreeSet::from([200, 201, 400, 404, 500, 501])));
}

#[test]
fn cases_received_at_once_give_their_verdict() {
    check_all(|case, dialects| {
        let got = run(&case.stream, &[case.stream.len()], dialects);
        (!agree(&got, &case.verdict)).then(|| show(&got))
    });
}

#[test]
fn cases_received_byte_by_byte_give_the_same_verdict() {
    check_all(|case, dialects| {
        let whole = run(&case.stream, &[case.stream.len()], dialects);
        let ends: Vec<usize> = (0..=case.stream.len()).collect();
        let got = run(&case.stream, &ends, dialects);
        (got != whole).then(|| show(&got))
    });
}

#[test]
fn cases_received_in_random_pieces_give_the_same_verdict() {
    let mut random = Random(SEED);
    let mut cases = 0;
    check_all(|case, dialects| {
        cases += 1;
        let len = case.stream.len();
        let whole = run(&case.stream, &[len], dialects);
        (0..SPLITS_PER_CASE).find_map(|_| {
            let pieces = 1 + random.below(6);
            let mut ends: Vec<usize> = (0..pieces).map(|_| random.below(len + 1)).collect();
            ends.push(len);
            ends.sort_unstable();
            let got = run(&case.stream, &ends, dialects);
            (got != whole).then(|| format!(" split at {ends:?}{}", show(&got)))
        })
    });
    println!("{cases} cases, each in {SPLITS_PER_CASE} random splits: the same verdicts");
    assert!(cases >= 300, "only {cases} cases");
}

/// A node of a cluster sees the same requests to Hayloft's own targets as any other.
#[test]
fn own_targets_have_the_same_verdict_on_a_node_of_a_cluster() {
    let mut same = 0;
    for case in corpus("http") {
        let ends = [case.stream.len()];
        let seen = oracle_as(&case.stream, &HeadLimits::DEFAULT, Dialects::WithFids);
        if !seen.is_ok_and(|seen| seen.is_some_and(|seen| seen.is_fid)) {
            let got = run(&case.stream, &ends, Dialects::WithFids);
            assert!(agree(&got, &case.verdict), "{}{}", case.name, show(&got));
            same += 1;
        }
    }
    assert!(same >= 300, "only {same} cases");
}

#[test]
fn the_oracle_gives_the_same_verdicts() {
    check_all(|case, dialects| {
        let want: Vec<Line> = case
            .verdict
            .iter()
            .map(|line| match line {
                Line::Refused(status, _) => Line::Refused(*status, String::new()),
                text => text.clone(),
            })
            .collect();
        let got = run_oracle(&case.stream, dialects);
        (got != want).then(|| show(&got))
    });
}
