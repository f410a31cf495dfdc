//! Tokens and paths of Rust sources: the subset of the grammar that the checks need.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

/// Rust source with comments and literals replaced by spaces; line numbers are unchanged.
pub fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let blank = not_code(bytes, at);
        let visible = if blank == 0 { 1 } else { 0 };
        for &byte in &bytes[at..at + blank + visible] {
            out.push(if blank > 0 && byte != b'\n' { b' ' } else { byte });
        }
        at += blank + visible;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Length of the comment or literal at `at` (bytes); 0 if there is none.
pub fn not_code(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let until = |from: usize, end: &[u8]| {
        let found = rest[from..].windows(end.len()).position(|window| window == end);
        found.map_or(rest.len(), |position| from + position + end.len())
    };
    let escaped = |quote: u8| {
        let mut end = 1;
        while end < rest.len() && rest[end] != quote {
            end += if rest[end] == b'\\' { 2 } else { 1 };
        }
        (end + 1).min(rest.len())
    };
    let in_word = at > 0 && is_word(bytes[at - 1]) && !b"bc".contains(&bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => until(2, b"*/"),
        [b'"', ..] => escaped(b'"'),
        [b'r', ..] if !in_word => {
            let hashes = rest[1..].iter().take_while(|&&byte| byte == b'#').count();
            if rest.get(1 + hashes) != Some(&b'"') {
                return 0;
            }
            until(2 + hashes, format!("\"{}", "#".repeat(hashes)).as_bytes())
        }
        [b'\'', b'\\', ..] => escaped(b'\''),
        // A character literal of up to four bytes, or a lifetime.
        [b'\'', _, ..] => {
            let len = 1 + rest[2..].iter().take_while(|&&byte| byte & 0xc0 == 0x80).count();
            if rest.get(1 + len) == Some(&b'\'') { len + 2 } else { 0 }
        }
        _ => 0,
    }
}

pub fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// A word, `::`, or one other character.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    pub line: usize,
    pub text: &'static str,
}

/// The tokens of a file.
pub struct Tokens {
    pub all: Vec<Token>,
    /// Those that are always compiled.
    pub always: Vec<Token>,
    /// Those of items under `#[cfg(test)]`.
    pub for_tests: Vec<Token>,
}

/// Keywords that may precede a path.
pub const KEYWORDS: &[&str] =
    &["as", "dyn", "else", "for", "impl", "in", "match", "mut", "return", "use"];

pub fn ends_in_name(text: &str) -> bool {
    text.ends_with('>') || text.bytes().last().is_some_and(is_word)
}

/// Tokens by the text of the file.
static KNOWN: LazyLock<Mutex<HashMap<String, Arc<Tokens>>>> = LazyLock::new(Mutex::default);

/// Returns the tokens of a file. They are kept: the checks read the same files again and again.
pub fn tokens(text: &str) -> Arc<Tokens> {
    let known = KNOWN.lock().unwrap().get(text).cloned();
    known.unwrap_or_else(|| {
        let all = read(text);
        let (always, for_tests) = split_tests(&all);
        let tokens = Arc::new(Tokens { all, always, for_tests });
        KNOWN.lock().unwrap().insert(text.to_owned(), Arc::clone(&tokens));
        tokens
    })
}

fn read(text: &str) -> Vec<Token> {
    let code: &'static str = code(text).leak();
    let mut tokens = Vec::new();
    for (line, mut rest) in (1..).zip(code.lines()) {
        while let Some(first) = rest.chars().next() {
            let word = rest.bytes().take_while(|&byte| is_word(byte)).count();
            let len = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                len => len,
            };
            let text = &rest[..len];
            let last = tokens.last().map_or("", |token: &Token| token.text);
            // `::name` at the start of a path names a crate as `name` does.
            let starts = text == "::" && (!ends_in_name(last) || KEYWORDS.contains(&last));
            if !first.is_whitespace() && !starts {
                tokens.push(Token { line, text });
            }
            rest = &rest[len..];
        }
    }
    tokens
}

pub fn is(tokens: &[Token], at: usize, wanted: &[&str]) -> bool {
    (at..).zip(wanted).all(|(n, wanted)| tokens.get(n).is_some_and(|token| token.text == *wanted))
}

/// Position after the bracket that closes the one at `at`.
pub fn behind_bracket(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0;
    for (n, token) in tokens.iter().enumerate().skip(at) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return n + 1;
        }
    }
    tokens.len()
}

pub fn behind_attributes(tokens: &[Token], mut at: usize) -> usize {
    while is(tokens, at, &["#", "["]) {
        at = behind_bracket(tokens, at + 1);
    }
    at
}

/// Separates tokens that are always compiled from items under `#[cfg(test)]`.
fn split_tests(tokens: &[Token]) -> (Vec<Token>, Vec<Token>) {
    let (mut always, mut tests) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        if !is(tokens, at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            always.push(tokens[at]);
            at += 1;
            continue;
        }
        let mut end = behind_attributes(tokens, at);
        while end < tokens.len() && !is(tokens, end, &[";"]) && !is(tokens, end, &["{"]) {
            end = if is(tokens, end, &["("]) || is(tokens, end, &["["]) {
                behind_bracket(tokens, end)
            } else {
                end + 1
            };
        }
        end = if is(tokens, end, &["{"]) { behind_bracket(tokens, end) } else { end + 1 };
        let end = end.min(tokens.len());
        tests.extend_from_slice(&tokens[at..end]);
        at = end;
    }
    (always, tests)
}

/// All paths with their lines; groups are expanded.
pub fn paths(tokens: &[Token]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_name = tokens[at].text.bytes().all(is_word);
        let goes_on = at > 0 && tokens[at - 1].text == "::";
        at = if is_name && !goes_on { path(tokens, at, &[], &mut found) } else { at + 1 };
    }
    found
}

pub fn path(
    tokens: &[Token],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let mut whole = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        if token.text == "{" {
            at += 1;
            while at < tokens.len() && tokens[at].text != "}" {
                at = if tokens[at].text == "," { at + 1 } else { path(tokens, at, &whole, found) };
            }
            return at + 1;
        }
        whole.push(token.text.to_owned());
        at += 1;
        let next = tokens.get(at + 1).map_or("", |token| token.text);
        let goes_on = is(tokens, at, &["::"]) && next != "<";
        if !goes_on {
            found.push((token.line, whole));
            // Skips `as name` in a group.
            return if is(tokens, at, &["as"]) && !prefix.is_empty() { at + 2 } else { at };
        }
        at += 1;
    }
    at
}
