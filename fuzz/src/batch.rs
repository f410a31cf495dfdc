//! Batches: any bytes as a tar, and as what stands in one: names, times, media types.
//!
//! Input: the tar. Its first bytes are also taken for a name, a time, a field of a manifest.

use std::collections::HashSet;
use std::io::Read;

use hayloft::http::reply::valid_content_type;
use hayloft::http::{date, digits, modified, target};
use hayloft::shard::batch::entry::{Attributes, BadBatch, Name, attributes_of, name_of};
use hayloft::transfer::import::escape::{escape, unescape};
use tar::{Archive, Entry};

/// Values are not longer than this (bytes).
const VALUE_MAX: usize = 80;
/// 2026-11-21.
const NOW: u64 = 1_795_219_200;

/// Runs the target.
pub fn run(data: &[u8]) {
    let value = &data[..data.len().min(VALUE_MAX)];
    let value = value.split(|&byte| byte == 0).next().unwrap_or_default();
    times(value);
    texts(value);
    if let Some(name) = target::parse_entry(value) {
        assert_eq!(spelled(name), value);
    }
    if let Err(error) = unpack(data) {
        let shown = error.to_string();
        assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{shown}");
        assert!(shown.len() < 1000, "{shown}");
    }
}

fn unpack(data: &[u8]) -> Result<(), BadBatch> {
    let mut archive = Archive::new(data);
    let mut seen = HashSet::new();
    for entry in archive.entries().map_err(|error| BadBatch::not_a_tar(&error))? {
        let mut entry = entry.map_err(|error| BadBatch::not_a_tar(&error))?;
        if let Some(name) = name_of(&entry)? {
            photo(&mut entry, name)?;
            seen.insert(name);
        }
    }
    Ok(())
}

fn photo<R: Read>(entry: &mut Entry<'_, R>, name: Name) -> Result<(), BadBatch> {
    let path = entry.path_bytes();
    assert_eq!(spelled(name), path.strip_prefix(b"./").unwrap_or(&path));
    let Attributes { content_type, modified_ns } = attributes_of(entry)?;
    assert!(content_type.as_deref().is_none_or(valid_content_type));
    assert_ne!(modified_ns, Some(0));
    Ok(())
}

/// A name has one spelling.
fn spelled((key, alt, cookie): Name) -> Vec<u8> {
    let mut path = [0; target::OBJECT_PATH_MAX];
    let len = target::write_object(0, key, alt, cookie, &mut path);
    path[b"/0/".len()..len].to_vec()
}

fn times(value: &[u8]) {
    if let Some(ns) = modified::parse(value) {
        assert_eq!(modified::parse(modified::format(ns).as_bytes()), Some(ns));
        assert_eq!(modified::parse_pax(value), Some(ns));
    }
    let _ = modified::parse_pax(value);
    if let Some(seconds) = date::parse(value, NOW) {
        assert_eq!(date::parse(&date::format(seconds), NOW), Some(seconds));
    }
}

fn texts(value: &[u8]) {
    let field = escape(value);
    assert!(!field.contains(['\t', '\n', '\r', '\0']));
    assert_eq!(unescape(&field).as_deref(), Some(value));
    if let Ok(field) = str::from_utf8(value) {
        let _ = unescape(field);
    }
    if let Ok(number) = digits::parse_decimal(value) {
        assert_eq!(digits::decimal_len(number), value.len() - zeros(value));
    }
    if let Some(number) = digits::parse_hex16(value) {
        assert_eq!(&digits::hex16(number)[..], value);
    }
}

/// Zeros in front of other digits.
fn zeros(digits: &[u8]) -> usize {
    digits[..digits.len() - 1].iter().take_while(|&&digit| digit == b'0').count()
}
