//! Pins the format of records of losses with an image, like `tests/volume/golden.rs`.
//!
//! `HAYLOFT_BLESS=1 cargo test --test volume golden_losses::` rewrites the image.

use std::rc::Rc;

use hayloft::base::types::{Cookie, NeedleId};
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{EarlierRange, HashPrefix, Loss};
use hayloft::volume::{Damage, DamageSource, Expected, GetError, Hasher, Superblock};

use crate::common::{COOKIE, Process, expected, pool, superblock_with_losses};
use crate::golden_support::{
    FILE, FIRST, IMAGE, SECOND, SIZE, TEXT, Table, Writer, assert_same_bytes, checksum_is_valid,
    golden, is_zero, seed,
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1-losses.vol");

const HISTORY_FROM: u64 = FIRST.wall - 5;
/// The second commit, which consists of the records.
const AT: usize = 69_632;
/// The needle that the first record supersedes.
const SUPERSEDED: u64 = 65_536 + 512;
const HASH: HashPrefix = HashPrefix { leading: 0x0bad_5eed_1234_4000, bits: 50 };
const RANGE: EarlierRange = EarlierRange { generation: 6, offset: 1 << 33, len: 12_288 };

/// The hash of an id, as an index that keeps 35 bits knows it.
fn hash_of(key: u64) -> HashPrefix {
    let hash = Hasher::new(42).hash(NeedleId::new(key, 0));
    HashPrefix { leading: hash.bits() >> 29 << 29, bits: 35 }
}

fn losses() -> [(Loss, u64); 5] {
    let object = |key, alt| Loss::Object { id: NeedleId::new(key, alt), cookie: COOKIE, len: 1024 };
    [
        (object(1, 0), SUPERSEDED),
        (object(2, 7), 0),
        (Loss::Unidentified { hash: HASH, len: 70_144 }, 0),
        (Loss::Unidentified { hash: hash_of(4), len: 512 }, 0),
        (Loss::Range(RANGE), 0),
    ]
}

/// A needle, then records of losses, one of which supersedes it, and a clean close; then, in a second
/// process, another needle.
fn build() -> Vec<u8> {
    let mut writer = Writer::start(FIRST, &Image::default());
    let superblock = superblock_with_losses(SIZE);
    writer.create(Superblock { history_from: HISTORY_FROM, ..superblock });
    let volume = writer.open();
    let put = writer.put(1, 0, IMAGE, 300);
    writer.run(put);
    let recording = Rc::clone(&volume);
    writer.run(async move { recording.volume().record_losses(&losses()).await }).unwrap();
    writer.run(async move { volume.close().await });
    let image = writer.world.look(|snapshot| snapshot.image());

    let mut writer = Writer::start(SECOND, &image);
    let volume = writer.open();
    let put = writer.put(3, 0, TEXT, 100);
    writer.run(put);
    writer.run(async move { volume.close().await });
    writer.world.look(|snapshot| snapshot.image()).bytes(FILE)
}

#[test]
fn rebuilt_image_has_the_same_bytes() {
    assert_same_bytes(PATH, &build());
}

#[test]
fn image_opens_and_every_lost_object_is_unreadable() {
    let image = Image::of(FILE, &golden(PATH, build));
    let mut process = Process::start(2, &image, &pool(8 << 20));
    let volume = process.open_as(Expected { hash_bits: None, ..expected() }).unwrap();
    for (key, alt, len) in [(1, 0, 1024), (2, 7, 1024), (4, 0, 512)] {
        let id = NeedleId::new(key, alt);
        let lost = GetError::Unreadable(id, Damage::Lost(len));
        assert_eq!(process.get(&volume, id), Err(lost));
    }
    assert_eq!(process.get(&volume, NeedleId::new(2, 0)), Err(GetError::NotFound));
    let damage = volume.volume().damage();
    assert_eq!(damage.len(), 5);
    assert_eq!(damage[0].source, DamageSource::Generation(RANGE.generation));
    assert_eq!((damage[0].at.offset, damage[0].at.len), (RANGE.offset, RANGE.len));
    process.put(&volume, NeedleId::new(2, 7), b"found again").unwrap();
    assert_eq!(process.get(&volume, NeedleId::new(2, 7)).unwrap(), b"found again");
}

#[test]
fn superblock_matches_the_documented_layout() {
    let image = golden(PATH, build);
    let table = Table::of("Superblock");
    table.check(&image[..512], &[("incompat", 1), ("history from", HISTORY_FROM)]);
}

#[test]
fn records_match_the_documented_layout() {
    let image = golden(PATH, build);
    let (table, footer) = (Table::of("Needle header"), Table::of("Footer"));
    let special = Table::of("Records of losses");
    table.assert_contiguous(128);
    footer.assert_contiguous(56);
    // Kind, the fields that have a meaning of their own, and the offset of what is superseded.
    let expected = [
        (5, (1, 0), COOKIE, 1024, SUPERSEDED),
        (5, (2, 7), COOKIE, 1024, 0),
        (6, (HASH.leading, 50), Cookie(0), 70_144, 0),
        (6, (hash_of(4).leading, 35), Cookie(0), 512, 0),
        (7, (1 << 33, 24), Cookie(6), 12_288, 0),
    ];
    for (n, (kind, (key, alt), cookie, len, previous)) in expected.into_iter().enumerate() {
        let at = AT + 512 + n * 1024;
        let needle = &image[at..at + 1024];
        for (start, flags) in [(0, 0), (512, 1)] {
            let header = &needle[start..start + 128];
            assert_eq!(table.bytes(header, "magic"), b"HNDL");
            let own = [
                ("key", key),
                ("alternate key", alt),
                ("cookie", cookie.0),
                ("version", FIRST.wall + 1 + n as u64),
                ("previous", previous),
                ("body length", len),
            ];
            special.check(header, &own);
            table.check(header, &own);
            table.check(
                header,
                &[
                    ("kind", kind),
                    ("flags", flags),
                    ("attributes length", 0),
                    ("units", 2),
                    ("modified", FIRST.wall),
                    ("data length", 0),
                    ("batch ordinal", 0),
                    ("batch count", 0),
                    ("epoch", FIRST.epoch),
                    ("sequence", 2),
                    ("ordinal", n as u64),
                    ("parts units", 0),
                    ("batch", 0),
                    ("data checksum", 0x2d06_8005_38d3_94c2),
                    ("meta checksum", 0),
                ],
            );
            assert!(checksum_is_valid(header, seed(at + start)));
        }
        assert!(is_zero(&needle[128..512]) && is_zero(&needle[640..968]));
        let end = &needle[968..];
        assert_eq!(footer.bytes(end, "magic"), b"HEND");
        footer.check(
            end,
            &[
                ("alternate key", alt),
                ("key", key),
                ("units", 2),
                ("kind", kind),
                ("ordinal", n as u64),
                ("cookie", cookie.0),
            ],
        );
        assert!(checksum_is_valid(end, seed(at)));
    }
    assert_eq!(special.0.len(), 6, "every field with a meaning of its own was looked up");
}
