//! Parser of the corpora of requests (`tests/corpus/http/`, `tests/corpus/fid/`; the format is in the
//! README of the first).

use std::fs;
use std::path::PathBuf;

/// A case: the bytes received on a connection, and the expected result.
pub struct Case {
    pub name: String,
    pub stream: Vec<u8>,
    pub verdict: Vec<Line>,
    /// Statuses of a node of a cluster, if the case says them.
    pub answers: Option<Vec<u16>>,
}

/// A line of the expected result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Any line but a refusal, as in the file.
    Text(Vec<u8>),
    /// A refusal: the status and a part of the reason.
    Refused(u16, String),
}

/// Reads all cases of a corpus: `http`, or `fid` for the targets of SeaweedFS clients.
pub fn corpus(folder: &str) -> Vec<Case> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
            read_file(&file, &fs::read_to_string(&path).unwrap(), &mut cases);
        }
    }
    cases
}

fn read_file(file: &str, text: &str, cases: &mut Vec<Case>) {
    for (number, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix("== ") {
            let name = format!("{file}: {name}");
            let (stream, verdict) = (Vec::new(), Vec::new());
            cases.push(Case { name, stream, verdict, answers: None });
            continue;
        }
        let Some(case) = cases.last_mut().filter(|_| !line.starts_with("# ")) else { continue };
        if let Some(statuses) = line.strip_prefix("=> answers ") {
            let statuses = statuses.split(' ').map(|status| status.parse().unwrap());
            case.answers = Some(statuses.collect());
            continue;
        }
        match line.strip_prefix("=> ") {
            Some(verdict) => case.verdict.push(read_verdict(verdict)),
            None => {
                assert!(case.verdict.is_empty(), "{file}:{}: stream after verdict", number + 1);
                case.stream.extend(unescape(line));
            }
        }
    }
}

fn read_verdict(text: &str) -> Line {
    match text.split_once(' ').map(|(first, rest)| (first.parse::<u16>(), rest)) {
        Some((Ok(status), reason)) => Line::Refused(status, reason.to_owned()),
        _ => Line::Text(unescape(text)),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let (bytes, rest) = unescape_until(text.as_bytes(), false);
    assert!(rest.is_empty());
    bytes
}

/// Unescapes up to the end, or up to the brace that ends a repetition. Returns the bytes and the rest.
fn unescape_until(mut text: &[u8], in_braces: bool) -> (Vec<u8>, &[u8]) {
    let mut bytes = Vec::new();
    while let [first, rest @ ..] = text {
        text = rest;
        match first {
            b'}' if in_braces => return (bytes, text),
            b'{' => match repetition(text) {
                Some((count, rest)) => {
                    let (repeated, rest) = unescape_until(rest, true);
                    bytes.extend(repeated.repeat(count));
                    text = rest;
                }
                None => bytes.push(b'{'),
            },
            b'\\' => {
                let (byte, rest) = escape(text);
                bytes.push(byte);
                text = rest;
            }
            byte => bytes.push(*byte),
        }
    }
    assert!(!in_braces, "a repetition is not closed");
    (bytes, text)
}

/// Parses the `N*` of `{N*text}`. Returns N and the rest.
fn repetition(text: &[u8]) -> Option<(usize, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let count = str::from_utf8(&text[..digits]).unwrap().parse().ok()?;
    Some((count, text[digits..].strip_prefix(b"*")?))
}

/// Parses an escape after its backslash. Returns the byte and the rest.
fn escape(text: &[u8]) -> (u8, &[u8]) {
    match text {
        [b'r', rest @ ..] => (b'\r', rest),
        [b'n', rest @ ..] => (b'\n', rest),
        [b't', rest @ ..] => (b'\t', rest),
        [b's', rest @ ..] => (b' ', rest),
        [b'\\', rest @ ..] => (b'\\', rest),
        [b'x', hex @ ..] => {
            let digits = str::from_utf8(&hex[..2]).unwrap();
            (u8::from_str_radix(digits, 16).unwrap(), &hex[2..])
        }
        other => panic!("unknown escape before {:?}", String::from_utf8_lossy(other)),
    }
}
