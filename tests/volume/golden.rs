//! Pins the on-disk format with an image of a volume: building it again gives the same bytes, it opens and
//! reads back, and every field is where `docs/FORMAT.md` says.
//!
//! `HAYLOFT_BLESS=1 cargo test --test volume golden::` rewrites the image.
//! `tests/volume/golden_large.rs` covers parts, manifests and batch puts.

use std::cell::RefCell;
use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::GetError;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::common::{COOKIE, Process, STORE, pool, superblock};
use crate::golden_support::{
    FILE, FIRST, IMAGE, INCARNATION, Run, SECOND, SIZE, TEXT, Table, Writer, assert_same_bytes,
    checksum_is_valid, content, golden, is_zero, seed,
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1.vol");

/// Needles of the image: key, alternate key, content type, length of the data.
const CONTENTS: [(u64, u32, Option<&str>, usize); 6] = [
    (1, 0, TEXT, 500),
    (3, 0, None, 0),
    (4, 0, Some("image/png"), 70_000),
    (5, 0, IMAGE, 600),
    (5, 2, IMAGE, 600),
    (6, 9, None, 300),
];
/// Absent ids: deleted, lost with a torn commit, never stored.
const ABSENT: [(u64, u32); 3] = [(2, 7), (5, 1), (1, 1)];

/// Offsets of the commits of the image.
const COMMITS: [usize; 9] =
    [65_536, 69_632, 73_728, 77_824, 81_920, 86_016, 159_744, 163_840, 167_936];
const LOG_TAIL: usize = 172_032;
const TORN: usize = 6;
const SEAL: usize = 7;
/// The first and the last of the torn commit's three needles were complete.
const KEPT: u8 = 0b101;

/// Seven commits, with a power cut in the last one; then a seal, one more commit and a clean close.
fn build() -> Vec<u8> {
    let mut writer = Writer::start(FIRST, &Image::default());
    writer.create(superblock(SIZE));
    let volume = writer.open();
    for put in
        [writer.put(1, 0, IMAGE, 300), writer.put(2, 7, None, 1000), writer.put(1, 0, TEXT, 500)]
    {
        writer.run(put);
    }
    let deleting = Rc::clone(&volume);
    let deleted =
        writer.run(async move { deleting.delete(NeedleId::new(2, 7), COOKIE, None).await });
    deleted.unwrap();
    for put in [writer.put(3, 0, None, 0), writer.put(4, 0, Some("image/png"), 70_000)] {
        writer.run(put);
    }

    let cut = Rc::new(RefCell::new(None));
    let wrecks = Rc::clone(&cut);
    writer.world.on_event(move |snapshot| {
        let wreck = snapshot.wreck();
        if wreck.loose() > 0 {
            *wrecks.borrow_mut() = Some(wreck);
        }
    });
    for alt in [0, 1] {
        let put = writer.put(5, alt, IMAGE, 600);
        writer.runtime.handle().spawn(put);
    }
    let put = writer.put(5, 2, IMAGE, 600);
    writer.run(put);
    let wreck = cut.take().expect("a write was in flight");
    assert_eq!(wreck.loose(), 8, "the three needles share a commit");
    // Sector 0 is the record; each needle has two.
    let image = wreck.image(|sector| sector != 4, wreck.changes());

    let mut writer = Writer::start(SECOND, &image);
    let volume = writer.open();
    let put = writer.put(6, 9, None, 300);
    writer.run(put);
    writer.run(async move { volume.close().await });
    writer.world.look(|snapshot| snapshot.image()).bytes(FILE)
}

#[test]
fn rebuilt_image_has_the_same_bytes() {
    assert_same_bytes(PATH, &build());
}

#[test]
fn image_opens_and_every_needle_reads_back() {
    let image = Image::of(FILE, &golden(PATH, build));
    let mut process = Process::start(2, &image, &pool(8 << 20));
    let volume = process.open().unwrap();
    assert!(volume.volume().damage().is_empty(), "{:?}", volume.volume().damage());
    assert_eq!(volume.volume().figures().needles, CONTENTS.len() as u64);
    for (key, alt, content_type, len) in CONTENTS {
        let (reading, pool) = (Rc::clone(&volume), process.runtime.handle().pool().clone());
        let id = NeedleId::new(key, alt);
        let got = process.run(async move { reading.get(id, COOKIE, |len| pool.alloc(len)).await });
        let needle = got.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(needle.content_type(), content_type.map(str::as_bytes), "{id}");
        let data = content(key, alt, len);
        assert_eq!(&needle.buf[needle.data.clone()], data, "{id}");
        assert_eq!((needle.etag, needle.body_len), (xxh3_64(&data), len as u64), "{id}");
    }
    for (key, alt) in ABSENT {
        let got = process.get(&volume, NeedleId::new(key, alt));
        assert_eq!(got, Err(GetError::NotFound));
    }
    let id = NeedleId::new(2, 7);
    process.put(&volume, id, b"the log goes on").unwrap();
    assert_eq!(process.get(&volume, id).unwrap(), b"the log goes on");
}

#[test]
fn superblock_matches_the_documented_layout() {
    let image = golden(PATH, build);
    let table = Table::of("Superblock");
    table.assert_contiguous(512);
    for at in [0, 4096, image.len() - 4096] {
        let copy = &image[at..at + 512];
        assert_eq!(table.bytes(copy, "magic"), b"HAYLSUPR");
        assert_eq!(table.bytes(copy, "store"), STORE);
        table.check(
            copy,
            &[
                ("format version", 1),
                ("compat", 0),
                ("ro-compat", 0),
                ("incompat", 0),
                ("volume", 1),
                ("unit", 512),
                ("chunk", 65_536),
                ("checksum id", 1),
                ("incarnation", INCARNATION),
                ("parent", 0),
                ("generation", 0),
                ("size", SIZE),
                ("hash seed", 42),
                ("state", 1),
                ("reserved", 0),
                ("created", 1_700_000_000_000_000_000),
                ("revision", 1),
                ("history from", 0),
            ],
        );
        assert!(checksum_is_valid(copy, 0x4841_594c_4f46_5400));
        assert!(is_zero(&copy[128..504]) && is_zero(&image[at + 512..at + 4096]));
    }
    assert!(is_zero(&image[16_384..65_536]));
}

#[test]
fn tail_hints_match_the_documented_layout() {
    let image = golden(PATH, build);
    let table = Table::of("Tail hint");
    table.assert_contiguous(512);
    let record = |n: usize| {
        let at = COMMITS[n];
        Table::of("Commit record").number(&image[at..at + 512], "checksum")
    };
    // The clean close overwrote tail hint number 1, of the first open.
    for (at, number, tail, sequence, version, clean) in
        [(8192, 2, COMMITS[8], 8, FIRST.wall + 8, 0), (12_288, 3, LOG_TAIL, 9, SECOND.wall, 1)]
    {
        let hint = &image[at..at + 512];
        assert_eq!(table.bytes(hint, "magic"), b"HAYLHINT");
        table.check(
            hint,
            &[
                ("number", number),
                ("epoch", SECOND.epoch),
                ("tail", tail as u64),
                ("sequence", sequence),
                ("record checksum", record(usize::try_from(sequence).unwrap() - 1)),
                ("version", version),
                ("flags", clean),
            ],
        );
        assert!(checksum_is_valid(hint, seed(at)));
        assert!(is_zero(&hint[60..504]) && is_zero(&image[at + 512..at + 4096]));
    }
}

#[test]
fn commit_records_match_the_documented_layout() {
    let image = golden(PATH, build);
    let table = Table::of("Commit record");
    table.assert_contiguous(512);
    let mut previous = 0;
    for (n, &at) in COMMITS.iter().enumerate() {
        let record = &image[at..at + 512];
        let end = COMMITS.get(n + 1).copied().unwrap_or(LOG_TAIL);
        let run = if n <= TORN { FIRST } else { SECOND };
        let needles = match n {
            TORN => 3,
            SEAL => 0,
            _ => 1,
        };
        assert_eq!(table.bytes(record, "magic"), b"HAYLCMMT");
        table.check(
            record,
            &[
                ("epoch", run.epoch),
                ("sequence", n as u64 + 1),
                ("length", (end - at) as u64),
                ("needles", needles),
                ("flags", u64::from(n == SEAL)),
                ("durable tail", at as u64),
                ("previous", previous),
                ("written", run.wall),
            ],
        );
        let kept = table.bytes(record, "kept");
        let (kept_byte, torn_epoch) = if n == SEAL { (KEPT, FIRST.epoch) } else { (0, 0) };
        assert_eq!((kept[0], table.number(record, "torn epoch")), (kept_byte, torn_epoch));
        assert!(is_zero(&kept[1..]) && is_zero(&record[200..504]));
        assert!(checksum_is_valid(record, seed(at)));
        previous = table.number(record, "checksum");
    }
    let seal = COMMITS[SEAL];
    let (first, copy) = (&image[seal..seal + 512], &image[seal + 512..seal + 1024]);
    table.check(copy, &[("flags", 0b11)]);
    let flags = 36..40;
    assert_eq!(copy[..flags.start], first[..flags.start]);
    assert_eq!(copy[flags.end..504], first[flags.end..504]);
    assert!(checksum_is_valid(copy, seed(seal + 512)));
    assert!(is_zero(&image[seal + 1024..COMMITS[SEAL + 1]]));
    assert!(is_zero(&image[LOG_TAIL..image.len() - 4096]));
}

/// An expected needle of the image.
struct Sample {
    commit: usize,
    ordinal: usize,
    key: u64,
    alt: u32,
    content_type: Option<&'static str>,
    len: usize,
    units: usize,
    version: u64,
    previous: usize,
}

const SAMPLE: Sample = Sample {
    commit: 0,
    ordinal: 0,
    key: 1,
    alt: 0,
    content_type: None,
    len: 0,
    units: 2,
    version: FIRST.wall,
    previous: 0,
};

const SAMPLES: [Sample; 8] = [
    Sample { content_type: IMAGE, len: 300, ..SAMPLE },
    Sample { commit: 1, key: 2, alt: 7, len: 1000, units: 3, version: FIRST.wall + 1, ..SAMPLE },
    Sample {
        commit: 2,
        content_type: TEXT,
        len: 500,
        units: 2,
        version: FIRST.wall + 2,
        previous: COMMITS[0] + 512,
        ..SAMPLE
    },
    Sample { commit: 4, key: 3, version: FIRST.wall + 4, ..SAMPLE },
    Sample {
        commit: 5,
        key: 4,
        content_type: Some("image/png"),
        len: 70_000,
        units: 138,
        version: FIRST.wall + 5,
        ..SAMPLE
    },
    Sample {
        commit: TORN,
        key: 5,
        content_type: IMAGE,
        len: 600,
        units: 2,
        version: FIRST.wall + 6,
        ..SAMPLE
    },
    Sample {
        commit: TORN,
        ordinal: 2,
        key: 5,
        alt: 2,
        content_type: IMAGE,
        len: 600,
        units: 2,
        version: FIRST.wall + 8,
        ..SAMPLE
    },
    Sample { commit: 8, key: 6, alt: 9, len: 300, version: SECOND.wall, ..SAMPLE },
];

impl Sample {
    fn offset(&self) -> usize {
        COMMITS[self.commit] + 512 + self.ordinal * self.units * 512
    }

    fn run(&self) -> Run {
        if self.commit <= TORN { FIRST } else { SECOND }
    }

    fn check_header(&self, header: &[u8], table: &Table, kind: u64, attributes_len: usize) {
        assert_eq!(table.bytes(header, "magic"), b"HNDL");
        table.check(
            header,
            &[
                ("kind", kind),
                ("attributes length", attributes_len as u64),
                ("key", self.key),
                ("alternate key", self.alt.into()),
                ("units", self.units as u64),
                ("cookie", COOKIE.0),
                ("version", self.version),
                ("modified", self.run().wall),
                ("data length", self.len as u64),
                ("batch ordinal", 0),
                ("batch count", 0),
                ("previous", self.previous as u64),
                ("epoch", self.run().epoch),
                ("sequence", self.commit as u64 + 1),
                ("ordinal", self.ordinal as u64),
                ("parts units", 0),
                ("batch", 0),
                ("body length", self.len as u64),
            ],
        );
    }

    fn check_footer(&self, needle: &[u8], kind: u64) {
        let table = Table::of("Footer");
        table.assert_contiguous(56);
        let footer = &needle[needle.len() - 56..];
        assert_eq!(table.bytes(footer, "magic"), b"HEND");
        table.check(
            footer,
            &[
                ("alternate key", self.alt.into()),
                ("key", self.key),
                ("units", self.units as u64),
                ("kind", kind),
                ("reserved", 0),
                ("ordinal", self.ordinal as u64),
                ("sequence", self.commit as u64 + 1),
                ("epoch", self.run().epoch),
                ("cookie", COOKIE.0),
            ],
        );
        assert!(checksum_is_valid(footer, seed(self.offset())));
    }
}

#[test]
fn needles_match_the_documented_layout() {
    let image = golden(PATH, build);
    let table = Table::of("Needle header");
    table.assert_contiguous(128);
    let entry = Table::of("Attributes");
    entry.assert_contiguous(4);
    for sample in &SAMPLES {
        let at = sample.offset();
        let needle = &image[at..at + sample.units * 512];
        let header = &needle[..128];
        let attributes_len = sample.content_type.map_or(0, |value| 4 + value.len());
        sample.check_header(header, &table, 1, attributes_len);
        table.check(header, &[("flags", 0)]);
        assert!(checksum_is_valid(header, seed(at)));

        let attributes = &needle[128..128 + attributes_len];
        if let Some(value) = sample.content_type {
            entry.check(attributes, &[("code", 1), ("length", value.len() as u64)]);
            assert_eq!(&attributes[4..], value.as_bytes());
        }
        let chunk_table = 128 + attributes_len.next_multiple_of(8);
        assert!(is_zero(&needle[128 + attributes_len..chunk_table]));
        let data = content(sample.key, sample.alt, sample.len);
        let chunks: Vec<&[u8]> = data.chunks(65_536).collect();
        let start = chunk_table + if chunks.len() > 1 { chunks.len() * 8 } else { 0 };
        for (n, stored) in needle[chunk_table..start].chunks(8).enumerate() {
            assert_eq!(stored, xxh3_64(chunks[n]).to_le_bytes());
        }
        let meta = xxh3_64_with_seed(&needle[128..start], seed(0));
        table.check(header, &[("data checksum", xxh3_64(&data)), ("meta checksum", meta)]);
        assert_eq!(&needle[start..start + sample.len], data);
        assert!(is_zero(&needle[start + sample.len..needle.len() - 56]));
        let shortest = start + sample.len + 56;
        assert_eq!(needle.len(), shortest.next_multiple_of(512).max(1024));
        sample.check_footer(needle, 1);
        if sample.commit != TORN {
            let end = COMMITS.get(sample.commit + 1).copied().unwrap_or(LOG_TAIL);
            assert!(is_zero(&image[at + needle.len()..end]), "after the commit's needles");
        }
    }
}

#[test]
fn tombstone_matches_the_documented_layout() {
    let image = golden(PATH, build);
    let sample = Sample {
        commit: 3,
        key: 2,
        alt: 7,
        units: 2,
        version: FIRST.wall + 3,
        previous: COMMITS[1] + 512,
        ..SAMPLE
    };
    let at = sample.offset();
    let needle = &image[at..at + 1024];
    let parts = Table::of("Tombstone");
    parts.assert_contiguous(1024);
    let table = Table::of("Needle header");
    for (copy, start, flags) in [(parts.0[0], 0, 0), (parts.0[2], 512, 1)] {
        assert_eq!((copy.0, copy.1), (start, 128));
        let header = &needle[start..start + 128];
        sample.check_header(header, &table, 2, 0);
        table.check(
            header,
            &[("flags", flags), ("data checksum", 0x2d06_8005_38d3_94c2), ("meta checksum", 0)],
        );
        assert!(checksum_is_valid(header, seed(at + start)));
    }
    assert!(is_zero(&needle[128..512]) && is_zero(&needle[640..968]));
    sample.check_footer(needle, 2);
}
