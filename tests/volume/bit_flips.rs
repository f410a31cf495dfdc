//! Flips every single bit of a small volume: reads never return a wrong byte, nothing panics, no other needle
//! is lost, and an acknowledged needle is "not found" only where nothing on disk still proves that it
//! existed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::fault::BAD_SECTOR;
use hayloft::runtime::split_mix;
use hayloft::volume::format::{HashPrefix, Loss, decode_header};
use hayloft::volume::{Expected, GetError, Hasher, NewNeedle, Slot};

use crate::common::{self, Process, bytes, pool};

const SIZE: u64 = 128 * 1024;
/// Between head and log; never read.
const RESERVED: Range<usize> = 16_384..65_536;
const LOG: Range<usize> = RESERVED.end..SIZE as usize - 4096;
const FILE: &str = "1.0.vol";

type Contents = BTreeMap<NeedleId, Option<Vec<u8>>>;

/// An earlier state of the same volume.
fn build_half(pool: &Pool) -> Image {
    let mut process = Process::start(3, &Image::default(), pool);
    process.create(SIZE);
    let volume = process.open().unwrap();
    for (n, len) in [(0, 0), (1, 100), (2, 700), (3, 2500)] {
        process.put(&volume, NeedleId::new(n, 1), &bytes(n, len)).unwrap();
    }
    process.image()
}

/// A volume with needles of several sizes, some overwritten, some deleted; and the contents of each id.
fn build(pool: &Pool, clean: bool) -> (Image, Contents) {
    let mut process = Process::start(3, &Image::default(), pool);
    process.create(SIZE);
    let volume = process.open().unwrap();
    let mut contents = Contents::new();
    for (n, len) in [(0, 0), (1, 100), (2, 700), (3, 2500), (4, 300), (5, 300)] {
        let id = NeedleId::new(n, 1);
        process.put(&volume, id, &bytes(n, len)).unwrap();
        contents.insert(id, Some(bytes(n, len)));
    }
    for n in [1, 4] {
        let id = NeedleId::new(n, 1);
        process.put(&volume, id, &bytes(n + 10, 400)).unwrap();
        contents.insert(id, Some(bytes(n + 10, 400)));
    }
    let id = NeedleId::new(5, 1);
    process.delete(&volume, id).unwrap();
    contents.insert(id, None);
    contents.insert(NeedleId::new(6, 1), None);
    put_together(&mut process, &volume, &mut contents);
    if clean {
        process.close(&volume);
    }
    (process.image(), contents)
}

/// Stores several needles in one commit, the last one.
fn put_together(process: &mut Process, volume: &Rc<Slot>, contents: &mut Contents) {
    let handle = process.runtime.handle().clone();
    for n in 7..10 {
        let id = NeedleId::new(n, 1);
        let draft = common::draft(handle.pool(), &bytes(n, 350));
        let volume = Rc::clone(volume);
        handle.spawn(async move {
            volume.put(id, common::COOKIE, draft, None).await.unwrap();
        });
        contents.insert(id, Some(bytes(n, 350)));
    }
    process.run(async move { handle.sleep_until(handle.now() + 5_000_000).await });
}

/// A smaller volume: a power cut tore its last commit of three needles, one of which was complete. The next
/// process sealed that commit, wrote one more needle and stopped cleanly.
fn build_sealed(pool: &Pool) -> (Image, Contents) {
    let (blocker, id) = (NeedleId::new(10, 1), |n| NeedleId::new(n, 1));
    let mut process = Process::start(3, &Image::default(), pool);
    process.create(SIZE);
    let volume = process.open().unwrap();
    let mut contents = Contents::new();
    for (n, len) in [(0, 0), (2, 700), (3, 2500), (4, 300), (5, 300), (4, 400)] {
        process.put(&volume, id(n), &bytes(n, len)).unwrap();
        contents.insert(id(n), Some(bytes(n, len)));
    }
    process.delete(&volume, id(5)).unwrap();
    contents.insert(id(5), None);
    process.close(&volume);
    let image = process.image();
    // Two units each; needle 2 exists already and would be overwritten.
    let puts = [11, 2, 12].map(|n| (id(n), bytes(n + 20, 600)));
    let first = bytes(10, 100);
    let file = (FILE, &image);
    let image = common::tear(1000, file, pool, Some((blocker, &first)), &puts, |sector| {
        [0, 1, 4, 5, 6].contains(&sector)
    });
    contents.insert(blocker, Some(first));
    contents.insert(id(11), None);
    contents.insert(id(12), Some(bytes(32, 600)));
    let mut process = Process::start(4, &image, pool);
    let volume = process.open().unwrap();
    process.put(&volume, id(13), &bytes(13, 300)).unwrap();
    contents.insert(id(13), Some(bytes(13, 300)));
    process.close(&volume);
    let image = process.image();
    let file = image.bytes(FILE);
    let seals = (65_536..file.len()).step_by(4096);
    let is_seal = |at: &usize| file[*at..].starts_with(b"HAYLCMMT");
    assert_eq!(seals.filter(is_seal).filter(|at| file[at + 36] == 1).count(), 1);
    (image, contents)
}

/// Size of a volume with multipart objects (bytes).
const LARGE_SIZE: u64 = 352 * 1024;

/// A volume with multipart objects: overwritten, deleted, in a batch put, replacing small needles and
/// replaced by them. The last one has a part of two chunks and a part of one chunk.
fn build_large(pool: &Pool, clean: bool) -> (Image, Contents) {
    let id = |n| NeedleId::new(n, 1);
    let mut process = Process::start(3, &Image::default(), pool);
    process.create(LARGE_SIZE);
    let volume = process.open().unwrap();
    let mut contents = Contents::new();
    for (n, len) in [(0, 300), (1, 700), (2, 900), (3, 1200), (4, 1), (0, 350), (5, 2000)] {
        process.put_large(&volume, id(n), &bytes(n + 20, len), &[1 << 20]).unwrap();
        contents.insert(id(n), Some(bytes(n + 20, len)));
    }
    process.delete(&volume, id(2)).unwrap();
    contents.insert(id(2), None);
    let (storing, buffers) = (Rc::clone(&volume), pool.clone());
    process.run(async move {
        let large = bytes(6, 500);
        let upload = common::upload(&storing, &buffers, id(6), &large, &[1 << 20]).await;
        let (_upload, manifest) = upload.unwrap();
        let new = |n, draft| NewNeedle { id: id(n), cookie: common::COOKIE, draft };
        let small = |n| new(n, common::draft(&buffers, &bytes(n, 350)));
        storing.put_batch(vec![small(7), new(6, manifest), small(1)], None).await.unwrap();
    });
    for (n, len) in [(7, 350), (6, 500), (1, 350)] {
        contents.insert(id(n), Some(bytes(n, len)));
    }
    process.put(&volume, id(8), b"to be overwritten").unwrap();
    for (n, len) in [(8, 600), (9, 70_000 + 400)] {
        process.put_large(&volume, id(n), &bytes(n, len), &[70_000]).unwrap();
        contents.insert(id(n), Some(bytes(n, len)));
    }
    if clean {
        process.close(&volume);
    }
    (process.image(), contents)
}

/// Offsets of a sample of the bytes of a volume: many in log units that begin or end a structure, few in the
/// others.
fn sample(image: &Image) -> Vec<usize> {
    let bytes = image.bytes(FILE);
    let structured = |unit: &[u8]| {
        unit.starts_with(b"HAYLCMMT")
            || unit.starts_with(b"HNDL")
            || unit[456..].starts_with(b"HEND")
    };
    let log = 65_536..bytes.len() - 4096;
    let units = bytes.chunks(512).enumerate().flat_map(|(n, unit)| {
        let at = n * 512;
        let step = if log.contains(&at) && structured(unit) { 11 } else { 149 };
        // Starts at another offset in each unit.
        (at + n % step..at + 512).step_by(step)
    });
    units.collect()
}

#[derive(Default, Debug)]
struct Tally {
    flips: u64,
    right: u64,
    unreadable: u64,
    /// Not found, although acknowledged.
    undone: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.flips += other.flips;
        self.right += other.right;
        self.unreadable += other.unreadable;
        self.undone += other.undone;
    }
}

/// Range from the last `commits` commits and seals of the log to a block beyond its end: only there does it
/// matter how the process stopped.
fn last(image: &Image, commits: usize) -> Range<usize> {
    let bytes = image.bytes(FILE);
    let is_commit = |at: &usize| bytes[*at..].starts_with(b"HAYLCMMT");
    let found: Vec<usize> = LOG.step_by(4096).filter(is_commit).collect();
    let end = LOG.step_by(4096).rfind(|at| bytes[*at..at + 4096].iter().any(|byte| *byte != 0));
    found[found.len() - commits]..(end.expect("a log") + 8192).min(LOG.end)
}

/// Flips every bit of the given bytes, one at a time.
fn flip(
    image: &Image,
    contents: &Contents,
    pool: &Pool,
    places: impl Iterator<Item = usize>,
) -> Tally {
    let mut tally = Tally::default();
    for byte in places {
        for bit in 0..8 {
            let mut damaged = image.clone();
            damaged.file(FILE).flip(byte, bit);
            tally.flips += 1;
            let mut process = Process::start(5, &damaged, pool);
            let opened = process.open();
            let volume = opened.unwrap_or_else(|error| panic!("byte {byte} bit {bit}: {error}"));
            let mut affected = 0;
            for (id, content) in contents {
                let got = process.get(&volume, *id);
                match (&got, content) {
                    (Ok(got), Some(content)) if got == content => tally.right += 1,
                    (Err(GetError::NotFound), None) => tally.right += 1,
                    (Err(GetError::Unreadable(..)), _) => {
                        tally.unreadable += 1;
                        affected += 1;
                    }
                    (Err(GetError::NotFound), Some(_)) => {
                        tally.undone += 1;
                        affected += 1;
                    }
                    _ => panic!("byte {byte} bit {bit}: {id} holds {got:?}"),
                }
            }
            assert!(affected <= 1, "byte {byte} bit {bit}: {affected} needles affected");
        }
    }
    tally
}

fn flip_all(
    build: impl Fn(&Pool) -> (Image, Contents) + Copy + Send + 'static,
    range: impl Iterator<Item = usize> + Clone + Send + 'static,
) -> Tally {
    let parts = std::thread::available_parallelism().map_or(1, usize::from);
    let threads: Vec<_> = (0..parts)
        .map(|part| {
            let places = range.clone().skip(part).step_by(parts);
            std::thread::spawn(move || {
                let pool = pool(8 << 20);
                let (image, contents) = build(&pool);
                flip(&image, &contents, &pool, places)
            })
        })
        .collect();
    let mut total = Tally::default();
    for thread in threads {
        total.add(&thread.join().unwrap());
    }
    println!(
        "{} single bits flipped: {} needles right, {} unreadable and said so, {} of a last commit undone, \
         0 wrong",
        total.flips, total.right, total.unreadable, total.undone
    );
    assert_eq!(total.flips, range.count() as u64 * 8, "every bit was flipped");
    assert!(total.unreadable > total.flips / 100, "flips in needles are detected");
    total
}

#[test]
fn bit_flip_after_clean_stop_is_reported_or_harmless() {
    // The reserved range is never read, so its bits need not be flipped.
    let pool = pool(8 << 20);
    let (mut image, contents) = build(&pool, true);
    let sectors = RESERVED.step_by(512).map(|at| (FILE.to_owned(), at / 512));
    image.bad.extend(sectors);
    let mut process = Process::start(5, &image, &pool);
    let volume = process.open().unwrap();
    for id in contents.keys() {
        let _ = process.get(&volume, *id);
    }
    assert_eq!(process.world.count(BAD_SECTOR), 0, "the reserved range was read");

    let places = (0..RESERVED.start).chain(RESERVED.end..SIZE as usize);
    let tally = flip_all(|pool| build(pool, true), places);
    assert!(tally.flips > 524_288);
    assert_eq!(tally.undone, 0, "what was acknowledged is proved by more than its own bytes");
}

#[test]
fn bit_flip_after_kill_affects_at_most_one_needle() {
    // Only its own bytes prove the last commit: a damaged needle in it looks like a torn one. The other
    // needles of the commit must stay, even without its record.
    let places = last(&build(&pool(8 << 20), false).0, 3);
    let tally = flip_all(|pool| build(pool, false), places);
    assert!(tally.undone > 0, "no flip hit the last commit");
}

#[test]
fn bit_flip_in_sealed_torn_commit_is_reported_or_harmless() {
    // The commit before, the torn one, its seal and the commit after it.
    let places = last(&build_sealed(&pool(8 << 20)).0, 4);
    let tally = flip_all(build_sealed, places);
    assert_eq!(tally.undone, 0, "the seal proves what was kept of the torn commit");
}

#[test]
fn multipart_bit_flip_after_clean_stop_is_reported_or_harmless() {
    let places = sample(&build_large(&pool(8 << 20), true).0);
    let tally = flip_all(|pool| build_large(pool, true), places.into_iter());
    assert_eq!(tally.undone, 0, "what was acknowledged is proved by more than its own bytes");
}

#[test]
fn multipart_bit_flip_after_kill_affects_at_most_one_object() {
    let places = sample(&build_large(&pool(8 << 20), false).0);
    let tally = flip_all(|pool| build_large(pool, false), places.into_iter());
    assert!(tally.undone > 0, "no flip hit the last manifest");
}

/// A volume with records of losses: of a needle that was there, of one that was not, and of one of which only
/// bits of the hash are known; and what an intact volume answers. One of the lost needles was stored again.
fn build_with_losses(pool: &Pool) -> (Image, BTreeMap<NeedleId, Result<Vec<u8>, GetError>>) {
    let id = |n| NeedleId::new(n, 1);
    let mut process = Process::start(3, &Image::default(), pool);
    process.create_as(common::superblock_with_losses(SIZE));
    let volume = process.open_as(with_all_hash_bits()).unwrap();
    for n in 0..3 {
        process.put(&volume, id(n), &bytes(n, 300)).unwrap();
    }
    let superseded = volume.volume().walk().unwrap().places()[1].offset;
    let object = |n| Loss::Object { id: id(n), cookie: common::COOKIE, len: 1024 };
    let leading = Hasher::new(42).hash(id(5)).bits() >> 22 << 22;
    let hash = HashPrefix { leading, bits: 42 };
    let losses = [
        (object(1), superseded),
        (object(3), 0),
        (object(4), 0),
        (Loss::Unidentified { hash, len: 1024 }, 0),
    ];
    process.record(&volume, &losses).unwrap();
    process.put(&volume, id(4), &bytes(4, 300)).unwrap();
    let answers = (0..7).map(|n| (id(n), process.get(&volume, id(n)))).collect();
    process.close(&volume);
    (process.image(), answers)
}

fn with_all_hash_bits() -> Expected {
    Expected { hash_bits: None, ..common::expected() }
}

#[test]
fn bit_flip_never_makes_a_lost_object_absent() {
    let pool = pool(8 << 20);
    let (image, answers) = build_with_losses(&pool);
    let lost = answers.values().filter(|got| matches!(got, Err(GetError::Unreadable(..))));
    assert_eq!(lost.count(), 3);
    let (mut flips, mut unreadable) = (0, 0);
    for byte in sample(&image) {
        for bit in 0..8 {
            let mut damaged = image.clone();
            damaged.file(FILE).flip(byte, bit);
            let mut process = Process::start(5, &damaged, &pool);
            let volume = process.open_as(with_all_hash_bits()).unwrap();
            flips += 1;
            let got = answers.keys().map(|id| process.get(&volume, *id));
            let changed = answers.values().zip(got).filter(|(answer, got)| *answer != got);
            let changed: Vec<_> = changed.map(|(_, got)| got).collect();
            let is_safe = changed.iter().all(|got| matches!(got, Err(GetError::Unreadable(..))));
            assert!(is_safe && changed.len() <= 1, "byte {byte} bit {bit}: {changed:?}");
            unreadable += changed.len();
        }
    }
    println!(
        "{flips} single bits flipped, {unreadable} answers changed to unreadable, none to absent"
    );
    assert!(flips > 4000 && unreadable > flips / 100);
}

/// Every version of every needle, tombstones included, in log order.
fn versions(image: &Image) -> Vec<(NeedleId, Range<usize>)> {
    let bytes = image.bytes(FILE);
    let incarnation = common::superblock(0).incarnation;
    let header = |at: usize| decode_header(&bytes[at..], incarnation, at as u64);
    let needles = LOG.step_by(512).filter_map(|at| Some((at, header(at)?)));
    let whole = needles.filter(|(_, (_, back))| *back == 0);
    whole.map(|(at, (header, _))| (header.id, at..at + header.layout().len)).collect()
}

/// Damages an image in one of several ways; returns the affected sectors.
fn damage(image: &mut Image, older: &Image, seed: &mut u64) -> Vec<usize> {
    let mut draw = |below: usize| usize::try_from(split_mix(seed) % below as u64).unwrap();
    // Skips the reserved range; half of the damage hits the log.
    let read: Vec<usize> = (0..32).chain(128..256).collect();
    let log: Vec<usize> = (128..128 + 14 * 8).collect();
    let sectors = if draw(2) == 0 { read } else { log };
    let mut pick = || sectors[draw(sectors.len())];
    let (one, two) = (pick(), pick());
    let mut content = [[0; 512]; 2];
    image.file(FILE).read(one * 512, &mut content[0]);
    image.file(FILE).read(two * 512, &mut content[1]);
    match split_mix(seed) % 5 {
        0 => image.file(FILE).write(one * 512, &[0; 512]),
        1 => {
            image.file(FILE).write(one * 512, &content[1]);
            image.file(FILE).write(two * 512, &content[0]);
            return vec![one, two];
        }
        2 => {
            let mut stale = [0; 512];
            older.files[FILE].read(one * 512, &mut stale);
            image.file(FILE).write(one * 512, &stale);
        }
        way => {
            for _ in 0..2 + split_mix(seed) % 7 {
                // Flips bits in one sector or in two.
                let drawn = split_mix(seed);
                let sector = if way == 3 || drawn & 1 == 0 { one } else { two };
                let byte = sector * 512 + usize::try_from(drawn >> 8 & 511).unwrap();
                image.file(FILE).flip(byte, u32::try_from(drawn >> 32 & 7).unwrap());
            }
            return vec![one, two];
        }
    }
    vec![one]
}

#[test]
fn random_damage_affects_only_needles_in_its_sectors() {
    const DAMAGES: u64 = 50_000;
    let pool = pool(8 << 20);
    let (image, contents) = build(&pool, true);
    let older = build_half(&pool);
    let versions = versions(&image);
    // Whether an id held these bytes at some time.
    let held = |id: NeedleId, got: &[u8]| {
        contents[&id].as_deref() == Some(got)
            || [(1, 100), (4, 300), (5, 300)]
                .iter()
                .any(|(n, len)| id.key.0 == *n && bytes(*n, *len) == got)
    };
    let (mut seed, mut hit, mut failed) = (17, 0, 0);
    for n in 0..DAMAGES {
        let mut damaged = image.clone();
        let sectors = damage(&mut damaged, &older, &mut seed);
        let mut process = Process::start(5, &damaged, &pool);
        let volume = process.open().unwrap_or_else(|error| panic!("{n} {sectors:?}: {error}"));
        for (id, content) in &contents {
            let got = process.get(&volume, *id);
            let newest = versions.iter().rfind(|(of, _)| of == id);
            let overlaps = |sector: &usize| {
                newest.is_some_and(|(_, at)| at.start < (sector + 1) * 512 && sector * 512 < at.end)
            };
            if sectors.iter().any(overlaps) {
                hit += 1;
                failed += u64::from(got.is_err());
                let wrong = got.as_ref().is_ok_and(|got| !held(*id, got));
                assert!(!wrong, "{n} {sectors:?}: {id} holds {got:?}");
            } else {
                let right = match content {
                    Some(content) => got.as_ref() == Ok(content),
                    None => got == Err(GetError::NotFound),
                };
                assert!(right, "{n} {sectors:?}: {id} was not touched, and is {got:?}");
            }
        }
    }
    println!("{DAMAGES} damages, {hit} times in a needle, of which {failed} could not be read");
    assert!(hit > DAMAGES / 5 && failed > hit / 4);
}
