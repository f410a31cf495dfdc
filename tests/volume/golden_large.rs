//! Pins the format of parts, manifests and batch puts with an image, like `tests/volume/golden.rs`.
//!
//! `HAYLOFT_BLESS=1 cargo test --test volume golden_large::` rewrites the image.

use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::{Draft, NewNeedle, Upload};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::common::{self, COOKIE, Process, pool, superblock};
use crate::golden_support::{
    FILE, FIRST, IMAGE, Run, SECOND, SIZE, TEXT, Table, Writer, assert_same_bytes,
    checksum_is_valid, content, golden, is_zero, seed,
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1-large.vol");

/// Offsets of the commits of the image.
const COMMITS: [usize; 7] = [65_536, 69_632, 139_264, 143_360, 147_456, 151_552, 155_648];
const LOG_TAIL: usize = 159_744;

/// Multipart objects: key, alternate key, content type, lengths of the parts.
const LARGE: [(u64, u32, Option<&str>, &[usize]); 2] =
    [(1, 0, IMAGE, &[66_000, 300]), (2, 7, None, &[100])];
/// The other needles present at the end: key, alternate key, content type, length.
const SMALL: [(u64, u32, Option<&str>, usize); 2] = [(3, 1, IMAGE, 200), (4, 0, None, 0)];

fn body(key: u64, alt: u32, parts: &[usize]) -> Vec<u8> {
    content(key, alt, parts.iter().sum())
}

impl Writer {
    /// Writes the parts of an object; returns its manifest, to be stored while the upload is alive.
    fn upload(&mut self, n: usize) -> (Upload, Draft) {
        let (key, alt, content_type, parts) = LARGE[n];
        let pool = self.runtime.handle().pool().clone();
        let volume = Rc::clone(self.volume.as_ref().unwrap());
        self.run(async move {
            let body = body(key, alt, parts);
            let mut upload =
                volume.upload(NeedleId::new(key, alt), COOKIE, body.len() as u64).unwrap();
            let mut rest = &body[..];
            for &len in parts {
                assert_eq!(upload.next_len(len as u64), len as u64);
                let mut part = upload.part(&pool, len as u64).unwrap();
                let now;
                (now, rest) = rest.split_at(len);
                part.data_mut().copy_from_slice(now);
                upload.add(part).await.unwrap();
                upload.settle().await.unwrap();
            }
            let draft = upload.finish(&pool, content_type.map(str::as_bytes)).await.unwrap();
            (upload, draft)
        })
    }

    fn put_batch(&mut self, needles: Vec<NewNeedle>) {
        let volume = Rc::clone(self.volume.as_ref().unwrap());
        self.run(async move { volume.put_batch(needles, None).await }).unwrap();
    }
}

fn new(key: u64, alt: u32, draft: Draft) -> NewNeedle {
    NewNeedle { id: NeedleId::new(key, alt), cookie: COOKIE, draft }
}

/// A needle; the first object, with parts in two commits, and its manifest, which replaces that needle. After
/// a clean close, in a second process: a batch put, the part of the second object, and a batch put of its
/// manifest and of a needle that replaces one of the first batch.
fn build() -> Vec<u8> {
    let mut writer = Writer::start(FIRST, &Image::default());
    writer.create(superblock(SIZE));
    let volume = writer.open();
    let put = writer.put(1, 0, None, 10);
    writer.run(put);
    let (_upload, draft) = writer.upload(0);
    let storing = Rc::clone(&volume);
    let put =
        writer.run(async move { storing.put(NeedleId::new(1, 0), COOKIE, draft, None).await });
    assert!(put.unwrap().replaced);
    writer.run(async move { volume.close().await });
    let image = writer.world.look(|snapshot| snapshot.image());

    let mut writer = Writer::start(SECOND, &image);
    let volume = writer.open();
    let needles =
        vec![new(3, 1, writer.draft(3, 1, TEXT, 500)), new(4, 0, writer.draft(4, 0, None, 0))];
    writer.put_batch(needles);
    let (_upload, draft) = writer.upload(1);
    let needles = vec![new(3, 1, writer.draft(3, 1, IMAGE, 200)), new(2, 7, draft)];
    writer.put_batch(needles);
    writer.run(async move { volume.close().await });
    writer.world.look(|snapshot| snapshot.image()).bytes(FILE)
}

#[test]
fn rebuilt_image_has_the_same_bytes() {
    assert_same_bytes(PATH, &build());
}

#[test]
fn image_opens_and_every_body_reads_back() {
    let image = Image::of(FILE, &golden(PATH, build));
    let mut process = Process::start(2, &image, &pool(8 << 20));
    let volume = process.open().unwrap();
    assert!(volume.volume().damage().is_empty(), "{:?}", volume.volume().damage());
    let figures = volume.volume().figures();
    assert_eq!(figures.needles, 4);
    // The parts, and two units of each indexed needle.
    assert_eq!(figures.live, 66_560 + 1024 + 1024 + 4 * 1024);
    let large = LARGE.map(|(key, alt, content_type, parts)| {
        (key, alt, content_type, body(key, alt, parts), true)
    });
    let small = SMALL.map(|(key, alt, content_type, len)| {
        (key, alt, content_type, content(key, alt, len), false)
    });
    for (key, alt, content_type, data, is_large) in large.into_iter().chain(small) {
        let (reading, pool) = (Rc::clone(&volume), process.runtime.handle().pool().clone());
        let id = NeedleId::new(key, alt);
        let got = process.run(async move {
            let needle = reading.get(id, COOKIE, |len| pool.alloc(len)).await?;
            assert_eq!(needle.content_type(), content_type.map(str::as_bytes), "{id}");
            let head = (needle.body_len, needle.etag, needle.is_large);
            let bytes = if is_large {
                let range = 0..needle.body_len;
                common::read_large(&reading, &pool, id, needle, range, 65_536).await?
            } else {
                needle.buf[needle.data.clone()].to_vec()
            };
            Ok::<_, hayloft::volume::GetError>((head, bytes))
        });
        let (head, bytes) = got.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(head, (data.len() as u64, xxh3_64(&data), is_large), "{id}");
        assert!(bytes == data, "{id}");
    }
}

/// An expected needle of the image.
struct Sample {
    commit: usize,
    /// Units before it in the commit, after the record.
    behind: usize,
    ordinal: u64,
    kind: u64,
    id: (u64, u32),
    content_type: Option<&'static str>,
    data: Vec<u8>,
    units: usize,
    /// Number of needles that its process wrote before.
    age: u64,
    previous: usize,
    /// Position in the batch put, and its length.
    batch: Option<(u64, u64)>,
    /// For a manifest: the body of the object, and the units of its parts.
    body: Option<(Vec<u8>, u64)>,
}

/// The first commit of the second run.
const SECOND_RUN: usize = 4;

impl Sample {
    fn offset(&self) -> usize {
        COMMITS[self.commit] + 512 + self.behind * 512
    }

    fn run(&self) -> Run {
        if self.commit < SECOND_RUN { FIRST } else { SECOND }
    }

    fn check(&self, image: &[u8]) {
        let at = self.offset();
        let needle = &image[at..at + self.units * 512];
        let header = &needle[..128];
        let table = Table::of("Needle header");
        table.assert_contiguous(128);
        let attributes_len = self.content_type.map_or(0, |value| 4 + value.len());
        let chunk_table = 128 + attributes_len.next_multiple_of(8);
        let chunks: Vec<&[u8]> = self.data.chunks(65_536).collect();
        let tabled = chunks.len() > 1 || self.kind == 4;
        let start = chunk_table + if tabled { chunks.len() * 8 } else { 0 };
        let (body, parts_units) = match &self.body {
            Some((body, units)) => (body, *units),
            None => (&self.data, 0),
        };
        let (ordinal, count) = self.batch.unwrap_or((0, 0));
        assert_eq!(table.bytes(header, "magic"), b"HNDL");
        table.check(
            header,
            &[
                ("kind", self.kind),
                ("flags", 0),
                ("attributes length", attributes_len as u64),
                ("key", self.id.0),
                ("alternate key", self.id.1.into()),
                ("units", self.units as u64),
                ("cookie", COOKIE.0),
                ("version", self.run().wall + self.age),
                ("modified", self.run().wall),
                ("data length", self.data.len() as u64),
                ("batch ordinal", ordinal),
                ("batch count", count),
                ("previous", self.previous as u64),
                ("epoch", self.run().epoch),
                ("sequence", self.commit as u64 + 1),
                ("ordinal", self.ordinal),
                ("parts units", parts_units),
                // The writer of the image always draws the same number.
                ("batch", self.batch.map_or(0, |_| self.run().epoch)),
                ("data checksum", xxh3_64(body)),
                ("meta checksum", xxh3_64_with_seed(&needle[128..start], seed(0))),
                ("body length", body.len() as u64),
            ],
        );
        assert!(checksum_is_valid(header, seed(at)));
        assert!(is_zero(&needle[128 + attributes_len..chunk_table]));
        for (stored, chunk) in needle[chunk_table..start].chunks(8).zip(&chunks) {
            assert_eq!(stored, xxh3_64(chunk).to_le_bytes());
        }
        assert!(needle[start..start + self.data.len()] == self.data);
        assert!(is_zero(&needle[start + self.data.len()..needle.len() - 56]));
        let shortest = start + self.data.len() + 56;
        assert_eq!(needle.len(), shortest.next_multiple_of(512).max(1024));
        self.check_footer(needle);
    }

    fn check_footer(&self, needle: &[u8]) {
        let table = Table::of("Footer");
        table.assert_contiguous(56);
        let footer = &needle[needle.len() - 56..];
        assert_eq!(table.bytes(footer, "magic"), b"HEND");
        table.check(
            footer,
            &[
                ("alternate key", self.id.1.into()),
                ("key", self.id.0),
                ("units", self.units as u64),
                ("kind", self.kind),
                ("reserved", 0),
                ("ordinal", self.ordinal),
                ("sequence", self.commit as u64 + 1),
                ("epoch", self.run().epoch),
                ("cookie", COOKIE.0),
            ],
        );
        assert!(checksum_is_valid(footer, seed(self.offset())));
    }
}

/// Content of a manifest with these parts (offset, data).
fn manifest(parts: &[(usize, &[u8])]) -> Vec<u8> {
    let sums: Vec<u64> =
        parts.iter().flat_map(|(_, data)| data.chunks(65_536)).map(xxh3_64).collect();
    let mut data = vec![0; 8 + 16 * parts.len()];
    let mut set = |table: &Table, at: usize, name: &str, value: u64| {
        let (offset, width, _) = *table.0.iter().find(|(.., field)| *field == name).unwrap();
        data[at + offset..at + offset + width].copy_from_slice(&value.to_le_bytes()[..width]);
    };
    let (counts, entry) = (Table::of("Manifest"), Table::of("Part entry"));
    counts.assert_contiguous(8);
    entry.assert_contiguous(16);
    set(&counts, 0, "parts", parts.len() as u64);
    set(&counts, 0, "chunks", sums.len() as u64);
    for (n, (offset, part)) in parts.iter().enumerate() {
        set(&entry, 8 + 16 * n, "offset", *offset as u64);
        set(&entry, 8 + 16 * n, "length", part.len() as u64);
        set(&entry, 8 + 16 * n, "reserved", 0);
    }
    data.extend(sums.iter().flat_map(|sum| sum.to_le_bytes()));
    data
}

/// The only needle of the first commit.
fn sample() -> Sample {
    Sample {
        commit: 0,
        behind: 0,
        ordinal: 0,
        kind: 1,
        id: (1, 0),
        content_type: None,
        data: content(1, 0, 10),
        units: 2,
        age: 0,
        previous: 0,
        batch: None,
        body: None,
    }
}

fn samples() -> Vec<Sample> {
    let first = body(1, 0, LARGE[0].3);
    let second = body(2, 7, LARGE[1].3);
    let (long, short) = first.split_at(66_000);
    let at = |commit: usize| COMMITS[commit] + 512;
    let manifests = [manifest(&[(at(1), long), (at(2), short)]), manifest(&[(at(5), &second)])];
    assert_eq!(manifests.each_ref().map(Vec::len), [8 + 2 * 16 + 3 * 8, 8 + 16 + 8]);
    let [of_first, of_second] = manifests;
    vec![
        sample(),
        Sample { commit: 1, kind: 3, data: long.to_vec(), units: 130, age: 1, ..sample() },
        Sample { commit: 2, kind: 3, data: short.to_vec(), age: 2, ..sample() },
        Sample {
            commit: 3,
            kind: 4,
            content_type: IMAGE,
            data: of_first,
            age: 3,
            previous: at(0),
            body: Some((first.clone(), 132)),
            ..sample()
        },
        Sample {
            commit: 4,
            id: (3, 1),
            content_type: TEXT,
            data: content(3, 1, 500),
            batch: Some((0, 2)),
            ..sample()
        },
        Sample {
            commit: 4,
            behind: 2,
            ordinal: 1,
            id: (4, 0),
            data: Vec::new(),
            age: 1,
            batch: Some((1, 2)),
            ..sample()
        },
        Sample { commit: 5, kind: 3, id: (2, 7), data: second.clone(), age: 2, ..sample() },
        Sample {
            commit: 6,
            id: (3, 1),
            content_type: IMAGE,
            data: content(3, 1, 200),
            age: 3,
            previous: at(4),
            batch: Some((0, 2)),
            ..sample()
        },
        Sample {
            commit: 6,
            behind: 2,
            ordinal: 1,
            kind: 4,
            id: (2, 7),
            data: of_second,
            age: 4,
            batch: Some((1, 2)),
            body: Some((second, 2)),
            ..sample()
        },
    ]
}

#[test]
fn needles_match_the_documented_layout() {
    let image = golden(PATH, build);
    for sample in samples() {
        sample.check(&image);
    }
    assert!(is_zero(&image[LOG_TAIL..image.len() - 4096]));
}

#[test]
fn commits_are_at_the_expected_offsets() {
    let image = golden(PATH, build);
    let table = Table::of("Commit record");
    for (n, &at) in COMMITS.iter().enumerate() {
        let record = &image[at..at + 512];
        let end = COMMITS.get(n + 1).copied().unwrap_or(LOG_TAIL);
        let needles = samples().iter().filter(|sample| sample.commit == n).count();
        assert_eq!(table.bytes(record, "magic"), b"HAYLCMMT");
        let fields =
            [("sequence", n + 1), ("length", end - at), ("needles", needles), ("flags", 0)];
        table.check(record, &fields.map(|(name, value)| (name, value as u64)));
        assert!(checksum_is_valid(record, seed(at)));
    }
}
