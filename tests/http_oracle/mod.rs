//! A reference parser of request heads for tests: slow, simple, and written from the rules, independently of
//! the parser under test. It has no state machine and no incremental state: it evaluates every prefix of a
//! stream, and the first prefix that is decisive gives the verdict.
//!
//! `fid` reads the names of SeaweedFS clients, `chunked` and `form` the bodies that they send.

#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "each test binary uses its own part, so that `expect` would fail in some"
)]

pub mod chunked;
pub mod fid;
pub mod form;

use std::collections::BTreeMap;

use hayloft::http::head::{Dialects, Head, HeadLimits, Span, Version};

/// The result of either parser for an accepted head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub len: usize,
    pub method: String,
    pub target: Vec<u8>,
    pub http10: bool,
    pub is_fid: bool,
    pub content_length: Option<u64>,
    pub is_chunked: bool,
    pub keep_alive: bool,
    pub expect_continue: bool,
    /// Names and values of the fields that the parser keeps.
    pub kept: Vec<(&'static str, Vec<u8>)>,
}

pub const KEPT: [&str; 10] = [
    "content_type",
    "x_hayloft_modified",
    "x_hayloft_expires",
    "x_hayloft_attributes",
    "range",
    "if_range",
    "if_match",
    "if_none_match",
    "if_modified_since",
    "if_unmodified_since",
];

/// Converts the result of the parser under test.
pub fn seen(head: &Head, buf: &[u8]) -> Seen {
    let spans: [Option<Span>; 10] = [
        head.content_type,
        head.x_hayloft_modified,
        head.x_hayloft_expires,
        head.x_hayloft_attributes,
        head.range,
        head.if_range,
        head.if_match,
        head.if_none_match,
        head.if_modified_since,
        head.if_unmodified_since,
    ];
    let kept = KEPT.into_iter().zip(spans);
    Seen {
        len: head.len,
        method: String::from_utf8(head.method.token().to_vec()).unwrap(),
        target: head.target.of(buf).to_vec(),
        http10: head.version == Version::Http10,
        is_fid: head.is_fid,
        content_length: head.content_length,
        is_chunked: head.is_chunked,
        keep_alive: head.keep_alive,
        expect_continue: head.expect_continue,
        kept: kept.filter_map(|(name, span)| Some((name, span?.of(buf).to_vec()))).collect(),
    }
}

/// Parses the first request of `stream`: accepted, refused with a status, or incomplete (`None`).
pub fn oracle(stream: &[u8], limits: &HeadLimits) -> Result<Option<Seen>, u16> {
    oracle_as(stream, limits, Dialects::Own)
}

/// As [`oracle`], of a request in one of these grammars.
pub fn oracle_as(
    stream: &[u8],
    limits: &HeadLimits,
    dialects: Dialects,
) -> Result<Option<Seen>, u16> {
    for end in 1..=stream.len() {
        if let Some(seen) = decide(&stream[..end], limits, dialects)? {
            return Ok(Some(seen));
        }
    }
    Ok(None)
}

/// The verdict on a prefix of a stream; `None` if it is not decisive.
fn decide(prefix: &[u8], limits: &HeadLimits, dialects: Dialects) -> Result<Option<Seen>, u16> {
    let skipped = if prefix.starts_with(b"\r\n") { 2 } else { 0 };
    let text = &prefix[skipped..];
    if text == b"\r" && skipped == 0 || text.is_empty() {
        return Ok(None);
    }
    let lines = split_lines(text);
    let (last, complete) = lines.split_last().unwrap();
    // The blank line ends the head: then `last` is the text after it, which is empty.
    let ended = complete.len() > 1 && complete.last().unwrap().is_empty();
    let mut fields = Vec::new();
    for (number, line) in complete.iter().enumerate() {
        match number {
            0 => request_line(line, limits)?,
            _ if ended && number == complete.len() - 1 => {}
            _ => {
                fields.push(field_line(line)?);
                check_last_field(&fields)?;
            }
        }
    }
    if ended {
        assert!(last.is_empty(), "a shorter prefix was decisive");
        return evaluate(prefix.len(), complete[0], &fields, dialects).map(Some);
    }
    match complete.len() {
        0 => partial_request_line(last, limits)?,
        _ => partial_field_line(last, fields.len() < usize::from(limits.fields_max))?,
    }
    if prefix.len() >= usize::from(limits.head_bytes_max) { Err(431) } else { Ok(None) }
}

/// Splits at CRLFs; the last piece is an incomplete line.
fn split_lines(mut text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(at) = text.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&text[..at]);
        text = &text[at + 2..];
    }
    lines.push(text);
    lines
}

fn check(holds: bool, status: u16) -> Result<(), u16> {
    if holds { Ok(()) } else { Err(status) }
}

fn is_token(bytes: &[u8]) -> bool {
    let other = "\"(),/:;<=>?@[\\]{}";
    bytes.iter().all(|&b| (0x21..0x7f).contains(&b) && !other.contains(char::from(b)))
}

fn is_path(bytes: &[u8]) -> bool {
    let other = "\"#<>[\\]^`{|}";
    bytes.iter().all(|&b| (0x21..0x7f).contains(&b) && !other.contains(char::from(b)))
}

fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|&b| b == b'\t' || b >= b' ' && b != 0x7f)
}

/// Returns whether `bytes` may be the value of `Host`, or the authority of a URL.
fn is_host(bytes: &[u8]) -> bool {
    let other = "-._~!$&'()*+,;=:[]%";
    bytes.iter().all(|&b| b.is_ascii_alphanumeric() || other.contains(char::from(b)))
}

/// Splits a target, or a prefix of one, into host and path. A target in origin form has no host.
fn parts_of_target(target: &[u8]) -> Result<(Option<&[u8]>, &[u8]), u16> {
    if target.is_empty() || target[0] == b'/' {
        return Ok((None, target));
    }
    let common = target.len().min(b"http://".len());
    check(target[..common].eq_ignore_ascii_case(&b"http://"[..common]), 400)?;
    let rest = &target[common..];
    Ok(rest.split_at(rest.iter().position(|&b| b == b'/').unwrap_or(rest.len())))
        .map(|(host, path)| (Some(host), path))
}

/// Checks a target, or a prefix of one.
fn target(bytes: &[u8], limits: &HeadLimits) -> Result<(), u16> {
    let (host, path) = parts_of_target(bytes)?;
    check(host.is_none_or(is_host) && is_path(path), 400)?;
    check(path.is_empty() || host.is_none_or(|host| !host.is_empty()), 400)?;
    check(bytes.len() <= usize::from(limits.target_bytes_max), 414)
}

fn whole_target(bytes: &[u8], limits: &HeadLimits) -> Result<(), u16> {
    target(bytes, limits)?;
    check(!bytes.is_empty() && parts_of_target(bytes)?.0.is_none_or(|host| !host.is_empty()), 400)
}

/// Normalises an authority: lower case, with an explicit port.
fn normal(host: &[u8]) -> String {
    let host = str::from_utf8(host).unwrap().to_ascii_lowercase();
    let port = host.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap();
    match host.strip_suffix(port).unwrap() {
        name if !name.ends_with(':') => format!("{host}:80"),
        name if port.is_empty() => format!("{name}80"),
        _ => host,
    }
}

/// The target of an accepted request as sent, including scheme and host if it has them.
pub fn sent_target(stream: &[u8]) -> Vec<u8> {
    stream.split(|&b| b == b' ').nth(1).unwrap().to_vec()
}

/// Converts a target to origin form.
pub fn path_of_target(target: &[u8]) -> Vec<u8> {
    match parts_of_target(target).unwrap() {
        (Some(_), b"") => b"/".to_vec(),
        (_, path) => path.to_vec(),
    }
}

/// Returns whether `bytes` is `HTTP/x.y` or a prefix of it.
fn is_version_prefix(bytes: &[u8]) -> bool {
    bytes.len() <= 8
        && bytes
            .iter()
            .zip(b"HTTP/1.1")
            .all(|(&got, &want)| got == want || want == b'1' && got.is_ascii_digit())
}

fn request_line(line: &[u8], limits: &HeadLimits) -> Result<(), u16> {
    let parts: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
    let [method, path, version] = parts[..] else { return Err(400) };
    check(!method.is_empty() && is_token(method), 400)?;
    whole_target(path, limits)?;
    check(version.len() == 8 && is_version_prefix(version), 400)
}

fn partial_request_line(line: &[u8], limits: &HeadLimits) -> Result<(), u16> {
    let parts: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
    match parts[..] {
        [method] => check(is_token(method), 400),
        [method, path] => {
            check(!method.is_empty() && is_token(method), 400)?;
            target(path, limits)
        }
        [_, path, version] => {
            whole_target(path, limits)?;
            let version = match version {
                [version @ .., b'\r'] if version.len() == 8 => version,
                version => version,
            };
            check(is_version_prefix(version), 400)
        }
        _ => Err(400),
    }
}

fn field_line(line: &[u8]) -> Result<(String, Vec<u8>), u16> {
    let colon = line.iter().position(|&b| b == b':').ok_or(400u16)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    check(!name.is_empty() && is_token(name) && is_value(value), 400)?;
    let name = String::from_utf8(name.to_ascii_lowercase()).unwrap();
    let mut value = value;
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    Ok((name, value.to_vec()))
}

fn partial_field_line(line: &[u8], may_add_field: bool) -> Result<(), u16> {
    if line.is_empty() || line == b"\r" {
        return Ok(());
    }
    match line.iter().position(|&b| b == b':') {
        None => check(is_token(line), 400)?,
        Some(colon) => {
            check(colon > 0 && is_token(&line[..colon]), 400)?;
            let value = &line[colon + 1..];
            check(is_value(value.strip_suffix(b"\r").unwrap_or(value)), 400)?;
        }
    }
    check(may_add_field, 431)
}

/// Checks the last field for repetition and syntax; the fields before it were checked earlier.
fn check_last_field(fields: &[(String, Vec<u8>)]) -> Result<(), u16> {
    let (name, value) = fields.last().unwrap();
    let count = fields.iter().filter(|(other, _)| other == name).count();
    let single = KEPT.iter().any(|kept| kept.replace('_', "-") == *name)
        || ["host", "expect"].contains(&name.as_str());
    check(!(single && count > 1), 400)?;
    check(name != "host" || is_host(value), 400)
}

/// Evaluates a complete, well-formed head.
fn evaluate(
    len: usize,
    line: &[u8],
    fields: &[(String, Vec<u8>)],
    dialects: Dialects,
) -> Result<Seen, u16> {
    let mut all: BTreeMap<&str, Vec<&[u8]>> = BTreeMap::new();
    for (name, value) in fields {
        all.entry(name).or_default().push(value);
    }
    let parts: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
    check(parts[2] == b"HTTP/1.1" || parts[2] == b"HTTP/1.0", 505)?;
    let http10 = parts[2] == b"HTTP/1.0";
    let host = all.get("host").map(|values| values[0]);
    check(http10 || host.is_some(), 400)?;
    if let (Some(named), _) = parts_of_target(parts[1])? {
        let name = normal(named);
        check(name.rfind(':') != Some(0) && host.is_some_and(|host| normal(host) == name), 400)?;
    }
    let path = path_of_target(parts[1]);
    let is_fid = dialects == Dialects::WithFids && fid::is_fid(&path);
    let method = String::from_utf8(parts[0].to_vec()).unwrap();
    let is_known = ["GET", "HEAD", "PUT", "POST", "DELETE"].contains(&method.as_str());
    check(is_known || is_fid && method == "OPTIONS", if is_fid { 400 } else { 405 })?;
    let is_chunked = match all.get("transfer-encoding").map(Vec::as_slice) {
        None => false,
        Some(_) if !is_fid => return Err(501),
        Some(codings) => {
            check(!all.contains_key("content-length") && !http10, 400)?;
            check(method.starts_with('P'), 400)?;
            check(codings.len() == 1 && codings[0].eq_ignore_ascii_case(b"chunked"), 501)?;
            true
        }
    };
    let content_length = match all.get("content-length").map(Vec::as_slice) {
        None => None,
        Some([value]) => Some(length(value)?),
        Some(_) => return Err(400),
    };
    match method.starts_with('P') {
        true if is_chunked => {}
        true => check(content_length.is_some(), 411)?,
        false => check(content_length.is_none_or(|length| length == 0), 400)?,
    }
    let expect = all.get("expect").filter(|_| !http10);
    if let Some(values) = expect {
        check(values[0].eq_ignore_ascii_case(b"100-continue"), 417)?;
    }
    let options = all.get("connection").map(|values| values.join(&b","[..])).unwrap_or_default();
    let options = String::from_utf8_lossy(&options).to_ascii_lowercase();
    let option = |name| options.split(',').any(|option| option.trim_matches([' ', '\t']) == name);
    let kept = KEPT
        .into_iter()
        .filter_map(|name| Some((name, all.get(name.replace('_', "-").as_str())?[0].to_vec())));
    Ok(Seen {
        len,
        target: path,
        http10,
        is_fid,
        content_length,
        is_chunked,
        keep_alive: !option("close") && (!http10 || option("keep-alive")),
        expect_continue: expect.is_some() && (is_chunked || content_length > Some(0)),
        kept: kept.collect(),
        method,
    })
}

fn length(value: &[u8]) -> Result<u64, u16> {
    let text = str::from_utf8(value).map_err(|_| 400u16)?;
    check(!text.is_empty() && text.chars().all(|c| c.is_ascii_digit()), 400)?;
    match text.trim_start_matches('0') {
        "" => Ok(0),
        // Decimal numbers of equal length compare like strings.
        digits if digits.len() > 20 => Err(413),
        digits if digits.len() == 20 && digits > "18446744073709551615" => Err(413),
        digits => Ok(digits.parse().unwrap()),
    }
}
