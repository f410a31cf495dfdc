//! Tests of whole tars: written by the `tar` crate, and crafted ones. For those of GNU tar, see
//! `tests/import_tar.rs`.

use std::io::{Cursor, Read};

use proptest::prelude::*;
use tar::EntryType;

use super::*;
use crate::base::types::VolumeId;

const COOKIE: &str = "0123456789abcdef";

fn name(key: u64) -> String {
    format!("{key}/0/{COOKIE}")
}

/// Data with its padding.
fn padded(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A header, modified by `change`.
fn header(kind: u8, name: &str, size: u64, change: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_entry_type(EntryType::new(kind));
    header.set_size(size);
    header.set_mtime(77);
    change(&mut header);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn entry(kind: u8, name: &str, data: &[u8]) -> Vec<u8> {
    [header(kind, name, data.len() as u64, |_| ()), padded(data)].concat()
}

fn photo(key: u64) -> Vec<u8> {
    entry(b'0', &name(key), b"photo")
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let mut len = rest.len() + 1;
    while len != len.to_string().len() + rest.len() {
        len = len.to_string().len() + rest.len();
    }
    [len.to_string().as_bytes(), &rest].concat()
}

fn records(kind: u8, records: &[(&str, &str)]) -> Vec<u8> {
    let bytes: Vec<_> = records.iter().map(|(key, value)| record(key, value.as_bytes())).collect();
    entry(kind, "PaxHeaders/x", &bytes.concat())
}

fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

/// The photos of a tar with their data. Checks that seeking gives the same photos.
fn read(tar: &[u8]) -> Result<Vec<(Photo, Vec<u8>)>, TarError> {
    let mut reader = Reader::with_len(tar, tar.len() as u64);
    let mut found = Vec::new();
    while let Some(photo) = reader.next_photo()? {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        assert_eq!(bytes.len() as u64, photo.size);
        found.push((photo, bytes));
    }
    assert!(reader.next_photo().unwrap().is_none(), "a photo after the end");
    let mut seeking = Reader::seeking(Cursor::new(tar), tar.len() as u64);
    for (photo, _) in &found {
        assert!(seeking.next_photo().unwrap().as_ref() == Some(photo));
    }
    assert!(seeking.next_photo().unwrap().is_none());
    Ok(found)
}

fn only(entries: &[Vec<u8>]) -> Photo {
    let mut found = read(&tar(entries)).unwrap();
    assert_eq!(found.len(), 1);
    found.pop().unwrap().0
}

#[track_caller]
fn refused(entries: &[Vec<u8>], reason: &str) {
    let error = read(&tar(entries)).expect_err(reason).to_string();
    assert!(error.contains(reason), "{error}");
    assert!(error.is_ascii() && error.lines().count() == 1, "{error}");
}

#[test]
fn sparse_files_are_refused_with_any_mark() {
    let mut sparse = entry(b'S', &name(1), b"");
    refused(&[sparse.clone()], "is a sparse file (type S)");
    sparse[257..265].copy_from_slice(b"\0\0\0\0\0\0\0\0");
    assert!(read(&tar(&[sparse])).is_err());
    let named = [("GNU.sparse.name", "7/0/0123456789abcdef"), ("GNU.sparse.major", "1")];
    refused(&[records(b'x', &named), photo(1)], "\"7/0/0123456789abcdef\" is a sparse file");
    for (key, value) in [
        ("SCHILY.realsize", "300000"),
        ("SCHILY.filetype", "sparse"),
        ("GNU.sparse.map", "0,4"),
        ("GNU.sparse.anything", ""),
        ("SUN.holesdata", " 0 4"),
    ] {
        refused(&[records(b'x', &[(key, value)]), photo(1)], key);
        refused(&[records(b'g', &[(key, value)]), photo(1)], key);
    }
}

#[test]
fn line_ends_in_a_value_do_not_start_a_record() {
    let mut value = b"x\n".to_vec();
    value.extend(record("path", b"9/0/fedcba9876543210"));
    value.extend(record("SCHILY.xattr.user.mime_type", b"text/html"));
    value.extend(record("size", b"1"));
    let forged = entry(b'x', "x", &record("comment", &value));
    let photo = only(&[forged, photo(1)]);
    assert_eq!((photo.name(), photo.size, photo.content_type), (name(1), 5, None));
}

#[test]
fn a_tar_with_malformed_records_is_refused() {
    for bytes in
        [&b"12 path=x\n"[..], b"path=x\n", b"11 mtime=1\n\0", b"010 size=5\n", b"7 size=\n"]
    {
        for kind in [b'x', b'g'] {
            refused(&[entry(kind, "PaxHeaders/x", bytes), photo(1)], "pax record");
        }
    }
}

#[test]
fn the_last_of_two_records_applies() {
    let photo = only(&[
        records(
            b'x',
            &[
                ("path", "9/9/fedcba9876543210"),
                ("size", "1"),
                ("mtime", "1"),
                (MEDIA_TYPE, "text/html"),
                (VOLUME, "1"),
                ("path", &name(2)),
                ("size", "5"),
                ("mtime", "2.5"),
                (MEDIA_TYPE, "image/png"),
                (VOLUME, "3"),
            ],
        ),
        photo(1),
    ]);
    assert_eq!((photo.name(), photo.size), (name(2), 5));
    assert_eq!(photo.modified_ns, Some(2_500_000_000));
    assert_eq!(
        (photo.content_type.as_deref(), photo.volume),
        (Some("image/png"), Some(VolumeId(3)))
    );
}

#[test]
fn an_empty_value_deletes_the_attribute() {
    let before = [("mtime", "5"), (MEDIA_TYPE, "image/png"), (VOLUME, "3")];
    let deleted = [("mtime", ""), (MEDIA_TYPE, ""), (VOLUME, "")];
    let both = [before, deleted].concat();
    for extensions in [
        vec![records(b'x', &both)],
        vec![records(b'g', &before), records(b'x', &deleted)],
        vec![records(b'g', &before), records(b'g', &deleted)],
    ] {
        let found = only(&[extensions, vec![photo(1)]].concat());
        // The time in the header does not apply either.
        assert_eq!((found.modified_ns, found.content_type, found.volume), (None, None, None));
    }
    refused(&[records(b'x', &[("path", "")]), photo(1)], "is not {key}/{alt}/{cookie}");
    refused(&[records(b'x', &[("size", "")]), photo(1)], "has no size");
}

#[test]
fn a_time_of_0_applies_in_a_record_but_not_in_a_header() {
    let without = || entry_at(0);
    for (stated, want) in
        [("0", Some(0)), ("0.000000000", Some(0)), ("-5.5", Some(0)), ("0.5", Some(500_000_000))]
    {
        for kind in [b'x', b'g'] {
            let found = only(&[records(kind, &[("mtime", stated)]), without()]);
            assert_eq!(found.modified_ns, want, "{stated}");
        }
    }
    assert_eq!(only(&[without()]).modified_ns, None);
    assert_eq!(only(&[entry_at(1)]).modified_ns, Some(1_000_000_000));
}

/// A photo with the modification time `modified` (seconds) in its header.
fn entry_at(modified: u64) -> Vec<u8> {
    [header(b'0', &name(1), 5, |header| header.set_mtime(modified)), padded(b"photo")].concat()
}

#[test]
fn blanks_around_a_media_type_are_removed() {
    let typed = |value: &str| only(&[records(b'x', &[(MEDIA_TYPE, value)]), photo(1)]).content_type;
    assert_eq!(typed(" image/gif\t").as_deref(), Some("image/gif"));
    assert_eq!(typed("text/plain; x=y").as_deref(), Some("text/plain; x=y"));
    for blank in [" ", "\t \t"] {
        assert_eq!(typed(blank), None, "{blank:?}");
    }
    for bad in ["image/png\n", "\n", &"x".repeat(256)] {
        refused(&[records(b'x', &[(MEDIA_TYPE, bad)]), photo(1)], "has a media type");
    }
}

#[test]
fn directories_of_v7_tars_are_skipped() {
    let old = |name: &str, size| {
        header(0, name, size, |header| {
            let bytes = header.as_mut_bytes();
            bytes[156] = 0;
            bytes[257..265].fill(0);
        })
    };
    assert_eq!(only(&[old("1/", 0), old("1/0/", 0), photo(1)]).name(), name(1));
    let sizeless = header(b'5', "1/", 0, |header| header.as_old_mut().size = [0; 12]);
    assert_eq!(only(&[sizeless, photo(1)]).name(), name(1));
    refused(&[old("photos/", 0), photo(1)], "is a directory other than {key}/");
    refused(&[old("1/", 5), padded(b"bytes"), photo(1)], "is a directory with data");
    refused(&[entry(b'0', "1/", b""), photo(1)], "is not {key}/{alt}/{cookie}");
}

#[test]
fn a_size_record_applies_and_no_size_overflows() {
    let zero = header(b'0', &name(1), 0, |_| ());
    let found = only(&[records(b'x', &[("size", "5")]), zero, padded(b"photo")]);
    assert_eq!(found.size, 5);
    for (size, why) in [
        ("18446744073709551615", "is longer than the tar"),
        ("18446744073709551104", "is longer than the tar"),
        ("18446744073709551616", "has a size that exceeds 64 bits"),
        ("-1", "has a size that is not a number"),
        ("5 ", "has a size that is not a number"),
        ("0x5", "has a size that is not a number"),
    ] {
        refused(&[records(b'x', &[("size", size)]), photo(1)], why);
    }
    let sized = |field: &[u8; 12]| {
        let header = header(b'0', &name(1), 0, |header| header.as_old_mut().size = *field);
        [header, padded(b"photo")].concat()
    };
    assert_eq!(only(&[sized(b"\x80\0\0\0\0\0\0\0\0\0\0\x05")]).size, 5);
    for (field, why) in [
        (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", "is longer than the tar"),
        // A parser that reads only the last eight bytes gets 5.
        (b"\x80\0\0\x01\0\0\0\0\0\0\0\x05", "has a size that exceeds 64 bits"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfb", "has a negative size"),
        (b"\0\0\0\0\0\0\0\0\0\0\0\0", "has no size"),
        (b"00000000005x", "has a size that is not a number"),
    ] {
        refused(&[sized(field)], why);
    }
    // If the length of the tar is unknown, reading fails at its end.
    let tar = tar(&[records(b'x', &[("size", "18446744073709551615")]), photo(1)]);
    let read = Reader::new(&tar[..]).next_twice();
    assert!(matches!(read, Err(TarError::Cut)), "{read:?}");
    let sought = Reader::seeking(Cursor::new(&tar), tar.len() as u64).next_twice();
    assert!(matches!(sought, Err(TarError::Longer(_))), "{sought:?}");
}

impl<R: Read> Reader<R> {
    /// Reads a photo and the next one.
    fn next_twice(mut self) -> Result<Option<Photo>, TarError> {
        self.next_photo()?;
        self.next_photo()
    }
}

#[test]
fn a_name_comes_from_one_header_only() {
    let long = |name: &str| entry(b'L', "././@LongLink", &[name.as_bytes(), b"\0"].concat());
    let path = |name: &str| records(b'x', &[("path", name)]);
    let mime = records(b'x', &[(MEDIA_TYPE, "image/png")]);
    assert_eq!(only(&[long(&name(2)), photo(1)]).name(), name(2));
    assert_eq!(only(&[path(&name(2)), photo(1)]).name(), name(2));
    for extensions in [[long(&name(2)), mime.clone()], [mime, long(&name(2))]] {
        let found = only(&[extensions.concat(), photo(1)]);
        assert_eq!((found.name(), found.content_type.as_deref()), (name(2), Some("image/png")));
    }
    let repeated = "two headers of the same kind";
    refused(
        &[long(&name(2)), path(&name(3)), photo(1)],
        "has a name in both a GNU header and a pax record",
    );
    refused(
        &[path(&name(3)), long(&name(2)), photo(1)],
        "has a name in both a GNU header and a pax record",
    );
    refused(&[path(&name(2)), path(&name(3)), photo(1)], repeated);
    refused(&[long(&name(2)), long(&name(3)), photo(1)], repeated);
    refused(&[photo(1), path(&name(2))], "not followed by an entry");
    refused(&[long("2/0/0123456789abcdef\0x"), photo(1)], "is not {key}/{alt}/{cookie}");
    refused(&[entry(b'K', "././@LongLink", b"target\0"), photo(1)], "is not a regular file");
    // A size record does not apply to extension headers.
    let sized = records(b'x', &[("size", "5")]);
    assert_eq!(only(&[sized, long(&name(2)), photo(1)]).name(), name(2));
    let longest = record("comment", &vec![b' '; (1 << 20) - 17]);
    assert_eq!(longest.len(), 1 << 20);
    assert_eq!(only(&[entry(b'x', "x", &longest), photo(1)]).name(), name(1));
    let huge = header(b'x', "x", (1 << 20) + 1, |_| ());
    refused(&[huge, vec![b' '; 2 << 20]], "more than 1 MiB");
}

#[test]
fn global_records_apply_until_replaced() {
    let found = read(&tar(&[
        records(b'g', &[("comment", "a commit"), (MEDIA_TYPE, "image/png"), (VOLUME, "3")]),
        photo(1),
        records(b'x', &[(MEDIA_TYPE, "image/gif")]),
        photo(2),
        photo(3),
        records(b'g', &[("mtime", "2")]),
        photo(4),
        // Also between an extension header and its entry.
        records(b'x', &[(VOLUME, "5")]),
        records(b'g', &[(MEDIA_TYPE, ""), (VOLUME, "4")]),
        photo(5),
    ]));
    let found = found.unwrap();
    let got: Vec<_> = found
        .iter()
        .map(|(photo, _)| {
            let seconds = photo.modified_ns.unwrap() / 1_000_000_000;
            (photo.content_type.as_deref(), photo.volume.unwrap().0, seconds)
        })
        .collect();
    let (png, gif) = (Some("image/png"), Some("image/gif"));
    assert_eq!(got, [(png, 3, 77), (gif, 3, 77), (png, 3, 77), (png, 3, 2), (None, 5, 2)]);
    for record in [("path", "1/0/0123456789abcdef"), ("size", "5"), ("size", "")] {
        refused(&[records(b'g', &[record]), photo(1)], "cannot apply to every entry");
    }
}

#[test]
fn entries_other_than_regular_files_are_refused() {
    for kind in [b'1', b'2', b'3', b'4', b'6', b'A', b'D', b'M', b'N', b'V', b'X', b'z'] {
        refused(&[entry(kind, &name(1), b""), photo(2)], "is not a regular file");
    }
    // The type is checked before the size, which the label of a volume does not have.
    let label = header(b'V', "backup", 0, |header| header.as_old_mut().size = [0; 12]);
    refused(&[label, photo(2)], "is not a regular file");
    for (key, value) in [("GNU.volume.offset", "5"), ("SCHILY.offset", "512")] {
        refused(&[records(b'x', &[(key, value)]), photo(1)], "is a part of a file");
        refused(&[records(b'g', &[(key, value)]), photo(1)], "or a part");
    }
    refused(&[records(b'x', &[("SCHILY.filetype", "fifo")]), photo(1)], "is not a regular file");
    refused(&[records(b'g', &[("SCHILY.filetype", "fifo")]), photo(1)], "special files");
    refused(&[entry(b'5', "1/", b"bytes"), photo(1)], "is a directory with data");
    refused(&[records(b'x', &[("size", "5")]), entry(b'5', "1/", b""), photo(1)], "with data");
    refused(&[entry(b'5', "photos/", b""), photo(1)], "is a directory other than {key}/");
    for bad in ["", "-1", "x", "4294967296"] {
        let tar = [records(b'x', &[(VOLUME, "1"), (VOLUME, bad)]), photo(1)];
        if bad.is_empty() {
            assert_eq!(only(&tar).volume, None);
        } else {
            refused(&tar, "HAYLOFT.volume");
        }
    }
    let plain = [("SCHILY.filetype", "regular"), ("GNU.volume.label", "backup")];
    assert_eq!(only(&[records(b'x', &plain), entry(b'7', &name(1), b"x")]).name(), name(1));
}

#[test]
fn a_tar_ends_with_a_block_of_zeros_and_no_other_tar_may_follow() {
    let one = tar(&[photo(1)]);
    let mut garbage = one.clone();
    garbage.extend([b'#'; 3000]);
    assert_eq!(read(&garbage).unwrap().len(), 1, "POSIX allows anything there");
    assert_eq!(read(&one[..one.len() - 512]).unwrap().len(), 1);
    for len in [one.len() - 513, one.len() - 1024, one.len() - 1025, 1024, 1000, 600] {
        assert!(matches!(read(&one[..len]), Err(TarError::Cut)), "{len}");
    }
    let joined = [&one[..], &tar(&[photo(2)])].concat();
    assert!(matches!(read(&joined), Err(TarError::Joined)));
    let lone_zeros = [&one[..one.len() - 512], &tar(&[photo(2)])].concat();
    assert!(matches!(read(&lone_zeros), Err(TarError::Joined)));
    for bytes in [&b""[..], b"a text", &[b'#'; 600]] {
        assert!(matches!(read(bytes), Err(TarError::Damaged(_))));
    }
}

proptest! {
    /// Names, types, times, volumes and data written by the `tar` crate are read back.
    #[test]
    fn exported_photos_are_read_back(
        photos in prop::collection::vec(
            (any::<u64>(), any::<u32>(), any::<u64>(), any::<u32>(), "[ -~]{1,255}", 0..1500_usize),
            1..5)
    ) {
        let mut tar = tar::Builder::new(Vec::new());
        for (key, alt, cookie, volume, kind, len) in &photos {
            let volume = volume.to_string();
            let records = [
                (VOLUME, volume.as_bytes()),
                (MODIFIED, b"12.000000034"),
                (MEDIA_TYPE, kind.as_bytes()),
            ];
            tar.append_pax_extensions(records).unwrap();
            let mut header = tar::Header::new_ustar();
            header.set_size(*len as u64);
            let name = format!("{key}/{alt}/{cookie:016x}");
            tar.append_data(&mut header, name, &vec![7; *len][..]).unwrap();
        }
        let found = read(&tar.into_inner().unwrap()).unwrap();
        prop_assert_eq!(found.len(), photos.len());
        for ((photo, bytes), (key, alt, cookie, volume, kind, len)) in found.iter().zip(&photos) {
            prop_assert_eq!((photo.key, photo.alt, photo.cookie), (*key, *alt, *cookie));
            prop_assert_eq!(photo.volume, Some(VolumeId(*volume)));
            let kind = Some(kind.trim()).filter(|kind| !kind.is_empty());
            prop_assert_eq!(photo.content_type.as_deref(), kind);
            prop_assert_eq!(photo.modified_ns, Some(12_000_000_034));
            prop_assert_eq!(bytes, &vec![7; *len]);
        }
    }

    /// A damaged tar is read or refused, also with correct checksums.
    #[test]
    fn a_damaged_tar_never_panics(changes in prop::collection::vec((0..4096_usize, any::<u8>()), 1..8)) {
        let mut tar = tar(&[
            records(b'g', &[(MEDIA_TYPE, "image/png")]),
            records(b'x', &[("mtime", "1.5"), ("size", "5")]),
            photo(1),
        ]);
        let len = tar.len();
        for (at, byte) in changes {
            tar[at % len] = byte;
        }
        for header in tar.chunks_exact_mut(512) {
            let sum: u32 = header[..148].iter().chain(&header[156..]).map(|&b| u32::from(b)).sum();
            if header[257..262] == *b"ustar" {
                header[148..156].copy_from_slice(format!("{:06o}\0 ", sum + 256).as_bytes());
            }
        }
        if let Err(error) = read(&tar) {
            prop_assert!(error.to_string().is_ascii());
        }
    }
}
