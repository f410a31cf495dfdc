//! Runs the corpus of request heads (`tests/corpus/http/`; the format is in its README): the parser and the
//! oracle must give the same verdict for every case, whole, byte by byte and in random splits.

mod http_cases;
mod http_oracle;

use std::collections::BTreeSet;

use hayloft::http::head::{self, HeadLimits, HeadProgress};
use hayloft::runtime::split_mix;
use http_cases::{Case, Line, corpus};
use http_oracle::{Seen, oracle, seen};

const SPLITS_PER_CASE: usize = 1000;
const SEED: u64 = 0x4841_594c_4f46_5431;

/// The verdict of the parser on a stream, received up to each of `ends` in turn.
fn run(stream: &[u8], ends: &[usize]) -> Vec<Line> {
    let mut lines = Vec::new();
    let (mut next, mut progress) = (Ok(0), HeadProgress::default());
    for &end in ends {
        while let Ok(start) = next
            && start <= end
        {
            let buf = &stream[start..end];
            match head::parse(buf, &HeadLimits::DEFAULT, &mut progress) {
                Ok(None) => break,
                Ok(Some(head)) => {
                    let seen = seen(&head, buf);
                    describe(&seen, &mut lines);
                    if !seen.keep_alive {
                        return lines;
                    }
                    next = next_start(stream, start, &seen);
                    progress = HeadProgress::default();
                }
                Err(reject) => {
                    let (status, reason) = (reject.status.code(), reject.reason.to_owned());
                    lines.push(Line::Refused(status, reason));
                    return lines;
                }
            }
        }
    }
    rest(stream, next, &mut lines);
    lines
}

/// The verdict of the oracle, which has no reasons.
fn run_oracle(stream: &[u8]) -> Vec<Line> {
    let (mut lines, mut next) = (Vec::new(), Ok(0));
    while let Ok(start) = next {
        match oracle(&stream[start..], &HeadLimits::DEFAULT) {
            Ok(None) => break,
            Ok(Some(seen)) => {
                describe(&seen, &mut lines);
                if !seen.keep_alive {
                    return lines;
                }
                next = next_start(stream, start, &seen);
            }
            Err(status) => {
                lines.push(Line::Refused(status, String::new()));
                return lines;
            }
        }
    }
    rest(stream, next, &mut lines);
    lines
}

/// Returns the offset of the next request, or the number of missing bytes of the body as an error.
fn next_start(stream: &[u8], start: usize, seen: &Seen) -> Result<usize, u64> {
    let body = start + seen.len;
    let (length, here) = (seen.content_length.unwrap_or(0), (stream.len() - body) as u64);
    match length.checked_sub(here) {
        Some(missing @ 1..) => Err(missing),
        _ => Ok(body + usize::try_from(length).unwrap()),
    }
}

/// Appends the line about the end of a stream.
fn rest(stream: &[u8], next: Result<usize, u64>, lines: &mut Vec<Line>) {
    match next {
        Err(missing) => lines.push(Line::Text(format!("body -{missing}").into_bytes())),
        Ok(start) if start < stream.len() => lines.push(Line::Text(b"more".to_vec())),
        Ok(_) => {}
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

/// Runs `check`, which returns a description of a failure, on every case and reports all failures.
fn check_all(mut check: impl FnMut(&Case) -> Option<String>) {
    let failures: Vec<String> =
        corpus().iter().filter_map(|case| Some(format!("{}{}", case.name, check(case)?))).collect();
    assert!(failures.is_empty(), "{} failed\n{}", failures.len(), failures.join("\n"));
}

/// Random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(split_mix(&mut self.0) % bound as u64).unwrap()
    }
}

#[test]
fn the_corpus_is_complete_and_covers_every_status() {
    let cases = corpus();
    assert!(cases.len() >= 300, "only {} cases", cases.len());
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "two cases of a file have the same name");
    for case in &cases {
        assert!(!case.stream.is_empty() && !case.verdict.is_empty(), "{}", case.name);
    }
    let statuses: BTreeSet<u16> = cases
        .iter()
        .flat_map(|case| &case.verdict)
        .filter_map(|line| match line {
            Line::Refused(status, _) => Some(*status),
            Line::Text(_) => None,
        })
        .collect();
    assert!(statuses.into_iter().eq([400, 405, 411, 413, 414, 417, 431, 501, 505]));
}

#[test]
fn cases_received_at_once_give_their_verdict() {
    check_all(|case| {
        let got = run(&case.stream, &[case.stream.len()]);
        (!agree(&got, &case.verdict)).then(|| show(&got))
    });
}

#[test]
fn cases_received_byte_by_byte_give_the_same_verdict() {
    check_all(|case| {
        let whole = run(&case.stream, &[case.stream.len()]);
        let ends: Vec<usize> = (0..=case.stream.len()).collect();
        let got = run(&case.stream, &ends);
        (got != whole).then(|| show(&got))
    });
}

#[test]
fn cases_received_in_random_pieces_give_the_same_verdict() {
    let mut random = Random(SEED);
    let mut cases = 0;
    check_all(|case| {
        cases += 1;
        let len = case.stream.len();
        let whole = run(&case.stream, &[len]);
        (0..SPLITS_PER_CASE).find_map(|_| {
            let pieces = 1 + random.below(6);
            let mut ends: Vec<usize> = (0..pieces).map(|_| random.below(len + 1)).collect();
            ends.push(len);
            ends.sort_unstable();
            let got = run(&case.stream, &ends);
            (got != whole).then(|| format!(" split at {ends:?}{}", show(&got)))
        })
    });
    println!("{cases} cases, each in {SPLITS_PER_CASE} random splits: the same verdicts");
    assert!(cases >= 300, "only {cases} cases");
}

#[test]
fn the_oracle_gives_the_same_verdicts() {
    check_all(|case| {
        let want: Vec<Line> = case
            .verdict
            .iter()
            .map(|line| match line {
                Line::Refused(status, _) => Line::Refused(*status, String::new()),
                text => text.clone(),
            })
            .collect();
        let got = run_oracle(&case.stream);
        (got != want).then(|| show(&got))
    });
}
