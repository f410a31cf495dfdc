//! Tars of photos: any bytes as a tar, and as what stands in one: names, times, media types, pax records. And
//! the lists of photos that multi-deletes hold.
//!
//! Input: the tar. Its first bytes are also taken for a name, a time, a field of a manifest; all of it for
//! pax records and for a list of photos.

use std::io::{Cursor, Read};

use hayloft::base::types::VolumeId;
use hayloft::commands::transfer::import::escape::{escape, unescape};
use hayloft::http::photo_list::{self, ListedPhoto};
use hayloft::http::photo_tar::pax::{Record, split};
use hayloft::http::photo_tar::{Photo, Reader, TarError};
use hayloft::http::reply::valid_content_type;
use hayloft::http::{date, digits, modified, target};

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
    records(data);
    records(value);
    list(data);
    list(value);
    let mut photos = Vec::new();
    let read = unpack(Reader::new(data), &mut photos, true);
    if let Err(error) = &read {
        let shown = error.to_string();
        assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{shown}");
        assert!(shown.len() < 1000, "{shown}");
    }
    let mut known = Vec::new();
    let with_len = unpack(Reader::with_len(data, data.len() as u64), &mut known, false);
    assert_eq!(with_len.is_ok(), read.is_ok());
    // However the bytes between are passed over, the same photos come, and the same error.
    let mut others = Vec::new();
    let seeking = Reader::seeking(Cursor::new(data), data.len() as u64);
    let sought = unpack(seeking, &mut others, false);
    assert_eq!(format!("{sought:?}"), format!("{with_len:?}"));
    if read.is_ok() {
        assert!(photos == others && photos == known);
    }
}

fn unpack<R: Read>(
    mut tar: Reader<R>,
    photos: &mut Vec<Photo>,
    whole: bool,
) -> Result<(), TarError> {
    while let Some(photo) = tar.next_photo()? {
        let name = photo.name();
        assert_eq!(spelled((photo.key, photo.alt, photo.cookie)), name.as_bytes());
        assert_eq!(
            target::parse_entry(name.as_bytes()),
            Some((photo.key, photo.alt, photo.cookie))
        );
        let content_type = photo.content_type.as_ref();
        assert!(content_type.is_none_or(|value| valid_content_type(value.as_bytes())));
        if whole {
            let mut bytes = Vec::new();
            tar.read_to_end(&mut bytes)?;
            assert_eq!(bytes.len() as u64, photo.size);
        }
        photos.push(photo);
    }
    Ok(())
}

/// Records cover a beginning of the bytes without gaps, and an error comes last.
fn records(bytes: &[u8]) {
    let mut rest = bytes;
    let mut failed = false;
    for record in split(bytes) {
        assert!(!failed);
        let Ok(Record { key, value }) = record else {
            failed = true;
            continue;
        };
        let text = [b" ", key, b"=", value, b"\n"].concat();
        let digits = rest.iter().position(|&byte| byte == b' ').unwrap();
        let len = digits + text.len();
        assert_eq!(&rest[..len], [len.to_string().as_bytes(), &text].concat());
        rest = &rest[len..];
    }
    assert!(failed || rest.is_empty());
}

/// An accepted list has one spelling, apart from the end of its last line; the reason of a refusal can be
/// printed.
fn list(bytes: &[u8]) {
    match photo_list::parse(bytes) {
        Ok(photos) => {
            let line = |&ListedPhoto { key, alt, cookie }: &ListedPhoto| {
                [spelled((key, alt, cookie)), b"\n".to_vec()].concat()
            };
            let text: Vec<u8> = photos.iter().flat_map(line).collect();
            assert!(text == bytes || text.strip_suffix(b"\n") == Some(bytes));
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{shown}");
        }
    }
}

/// A name has one spelling.
fn spelled((key, alt, cookie): (u64, u32, u64)) -> Vec<u8> {
    let mut path = [0; target::OBJECT_PATH_MAX];
    let len = target::write_object(VolumeId(0), key, alt, cookie, &mut path);
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
