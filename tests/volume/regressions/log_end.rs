//! The end of the log, and records behind it.

use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{CommitRecord, HINT_OFFSETS};
use hayloft::volume::{GetError, NewNeedle, Refusal};

use super::{EIO, FILE, Got, LOG, SIZE, clean_image, id, small_pool, start, zero};
use crate::common::{COOKIE, Process, bytes, draft, pool, superblock};

/// The log was cut at the clean stop although commits followed, because the newer hint and the next commit
/// record were damaged.
#[test]
fn clean_hint_does_not_end_the_log_if_the_other_is_damaged() {
    let pool = small_pool();
    let image = clean_image(&pool, &[(1, bytes(1, 100))]);
    let mut process = Process::start(2, &image, &pool);
    let volume = process.open().unwrap();
    for n in [2, 3] {
        process.put(&volume, id(n), &bytes(n, 100)).unwrap();
    }
    let mut image = process.image();
    // Hint 1 was overwritten by 3 at the second start; 2 is the clean one of the first stop.
    let newer = 12_288;
    let number = |at: usize| image.bytes(FILE)[at + 8];
    assert_eq!((number(8192), number(newer)), (2, 3));
    image.file(FILE).flip(LOG + 4096 + 100, 0);
    // The newer hint has a flipped bit, or is zeroed.
    for is_zeroed in [false, true] {
        let mut image = image.clone();
        image.file(FILE).flip(newer + 100, 0);
        if is_zeroed {
            zero(&mut image, newer, 4096);
        }
        let (got, damage, _) = start(3, &image, &pool, &[1, 2, 3].map(id));
        assert_eq!(got, [1, 2, 3].map(|n| Ok(bytes(n, 100))));
        assert!(damage > 0);
    }
}

/// Image of a volume with needle 1, and after the end of its log, at byte `at`, a valid commit record with
/// this sequence and durable tail that does not chain. Also returns the number of bytes used.
fn with_stale_record(pool: &Pool, at: usize, sequence: u64, durable_tail: usize) -> (Image, u64) {
    let mut process = Process::start(1, &Image::default(), pool);
    process.create(SIZE);
    let volume = process.open().unwrap();
    process.put(&volume, id(1), &bytes(1, 100)).unwrap();
    let (mut image, used) = (process.image(), volume.volume().figures().used);
    let incarnation = superblock(SIZE).incarnation;
    let (mut record, _) =
        CommitRecord::decode(&image.bytes(FILE)[LOG..], incarnation, LOG as u64, SIZE).unwrap();
    (record.sequence, record.durable_tail, record.previous) = (sequence, durable_tail as u64, 1);
    (record.needles, record.len) = (0, 4096);
    let mut block = [0; 4096];
    record.encode(incarnation, at as u64, SIZE, &mut block);
    image.file(FILE).write(at, &block);
    (image, used)
}

/// A later commit record proves that the log went on only if it is newer and says so itself: what an older
/// log left behind is not damage.
#[test]
fn stale_record_after_the_log_proves_nothing() {
    let pool = small_pool();
    let end = LOG + 4096;
    for (at, sequence, durable_tail, is_proof) in [
        (end + 4096, 3, end + 4096, true),
        (end + 4096, 3, end, false),
        (end + 4096, 1, end + 4096, false),
        (end + 4096, 2, end + 4096, true),
        (end, 3, end, false),
    ] {
        let (image, used) = with_stale_record(&pool, at, sequence, durable_tail);
        let mut process = Process::start(2, &image, &pool);
        let volume = process.open().unwrap();
        let what = format!("sequence {sequence} at {at}, durable up to {durable_tail}");
        assert_eq!(!volume.volume().damage().is_empty(), is_proof, "{what}");
        assert_eq!(volume.volume().figures().used == used, !is_proof, "{what}");
        assert_eq!(process.get(&volume, id(1)), Ok(bytes(1, 100)));
    }
}

/// A valid commit record with the wrong checksum of its predecessor is not part of the log.
#[test]
fn commit_that_does_not_chain_is_ignored() {
    let pool = small_pool();
    let mut process = Process::start(1, &Image::default(), &pool);
    process.create(SIZE);
    let volume = process.open().unwrap();
    process.put(&volume, id(1), &bytes(1, 100)).unwrap();
    let (mut image, used) = (process.image(), volume.volume().figures().used);
    let (incarnation, at) = (superblock(SIZE).incarnation, LOG as u64 + 4096);
    let (mut record, _) =
        CommitRecord::decode(&image.bytes(FILE)[LOG..], incarnation, LOG as u64, SIZE).unwrap();
    (record.sequence, record.durable_tail, record.previous) = (2, at, 1);
    (record.needles, record.len) = (0, 4096);
    let mut block = [0; 4096];
    record.encode(incarnation, at, SIZE, &mut block);
    image.file(FILE).write(LOG + 4096, &block);
    let mut restarted = Process::start(2, &image, &pool);
    let volume = restarted.open().unwrap();
    assert_eq!((volume.volume().figures().used, volume.volume().damage().len()), (used, 0));
    assert_eq!(restarted.get(&volume, id(1)), Ok(bytes(1, 100)));
}

/// The unused bytes of a commit are zero: no memory content leaks to disk.
#[test]
fn padding_of_a_commit_is_zero() {
    let pool = small_pool();
    let image = clean_image(&pool, &[(1, bytes(1, 100)), (2, bytes(2, 700))]);
    // Commits of a record and a needle of two and of three units.
    let file = image.bytes(FILE);
    for padding in [LOG + 1536..LOG + 4096, LOG + 4096 + 2048..LOG + 8192] {
        assert!(file[padding.clone()].iter().all(|byte| *byte == 0), "{padding:?}");
    }
}

/// A later commit proves that the previous one was durable, even without a hint.
#[test]
fn damaged_record_before_a_later_commit_is_damage_not_torn_tail() {
    let pool = small_pool();
    let mut process = Process::start(1, &Image::default(), &pool);
    process.create(SIZE);
    let volume = process.open().unwrap();
    for n in 1..4 {
        process.put(&volume, id(n), &bytes(n, 100)).unwrap();
    }
    // After a kill, the record of the second commit is lost.
    let mut image = process.image();
    zero(&mut image, LOG + 4096, 512);
    let (got, damage, _) = start(2, &image, &pool, &[id(1), id(2), id(3)]);
    let values: Vec<Got> = (1..4).map(|n| Ok(bytes(n, 100))).collect();
    assert_eq!(got, values);
    assert!(damage > 0, "a record is missing");
}

/// Fails `count` operations, starting with operation `from` from now.
fn fail_operations(process: &Process, from: u64, count: u64) {
    for n in from..from + count {
        process.world.fail(n, Fault::Errno(EIO));
    }
}

/// Transient read errors during recovery made the log look empty: its needles were not found, and new ones
/// were written over them.
#[test]
fn read_errors_during_recovery_do_not_empty_the_log() {
    let pool = small_pool();
    let needles: Vec<(u64, Vec<u8>)> = (1..6).map(|n| (n, bytes(n, 100))).collect();
    let image = clean_image(&pool, &needles);
    let (mut without_writes, mut refused) = (0, 0);
    for from in 1..24 {
        for count in [2, 10, 40, 150, 400, 1000] {
            let mut process = Process::start(2, &image, &pool);
            fail_operations(&process, from, count);
            let volume = match process.open() {
                Ok(volume) => volume,
                // The first reads, or all superblock copies, failed.
                Err(error) => {
                    assert!(from <= 3 || count >= 40, "{from} {count}: {error}");
                    assert!(process.image() == image, "{from} {count}: the file was changed");
                    refused += 1;
                    continue;
                }
            };
            for (n, data) in &needles {
                let got = process.get(&volume, id(*n));
                let fails = matches!(got, Err(GetError::Unreadable(..)));
                assert!(fails || got.as_ref() == Ok(data), "{from} {count}: {n} is {got:?}");
            }
            without_writes += u64::from(process.put(&volume, id(7), &bytes(7, 9000)).is_err());
            let ids: Vec<NeedleId> = needles.iter().map(|(n, _)| id(*n)).collect();
            let (got, damage, _) = start(3, &process.image(), &pool, &ids);
            let whole: Vec<Got> = needles.iter().map(|(_, data)| Ok(data.clone())).collect();
            assert_eq!((got, damage), (whole, 0), "{from} {count}");
        }
    }
    assert!(without_writes > 20 && refused < 60, "{without_writes} {refused}");
}

/// A hint that cannot be read may prove a longer log: nothing is written, and no needle is reported absent.
#[test]
fn unreadable_hint_prevents_writes_and_404() {
    let pool = small_pool();
    let image = clean_image(&pool, &[(1, bytes(1, 100))]);
    for at in HINT_OFFSETS {
        let mut image = image.clone();
        image.bad.insert((FILE.to_owned(), usize::try_from(at).unwrap() / 512));
        let mut process = Process::start(2, &image, &pool);
        let volume = process.open().unwrap();
        assert_eq!(process.get(&volume, id(1)), Ok(bytes(1, 100)));
        let absent = process.get(&volume, id(2));
        assert!(matches!(absent, Err(GetError::Unreadable(..))), "{absent:?}");
        assert_eq!(process.put(&volume, id(2), b"new"), Err(Refusal::Poisoned));
        process.close(&volume);
        assert!(process.image().files == image.files, "something was written");
    }
}

/// The next commit proves that the lost one was durable, however long that was.
#[test]
fn lost_record_of_the_longest_commit_is_reported_as_damage() {
    let pool = pool(64 << 20);
    for count in [1, 16] {
        let mut process = Process::start(1, &Image::default(), &pool);
        process.create(40 << 20);
        let volume = process.open().unwrap();
        process.put(&volume, id(1), b"before it").unwrap();
        let batch = (10..10 + count).map(|n| {
            let draft = draft(&pool, &bytes(n, 1 << 20));
            NewNeedle { id: id(n), cookie: COOKIE, draft }
        });
        let (batch, storing) = (batch.collect(), Rc::clone(&volume));
        process.run(async move { storing.put_batch(batch, None).await }).unwrap();
        process.put(&volume, id(2), b"behind it").unwrap();
        assert_eq!(
            (volume.volume().stats().commits.get(), volume.volume().stats().hints.get()),
            (3, 1)
        );
        let mut image = process.image();
        zero(&mut image, LOG + 4096, 512);
        let mut process = Process::start(2, &image, &pool);
        let volume = process.open().unwrap();
        assert!(!volume.volume().damage().is_empty(), "{count}: a record is missing");
        assert_eq!(process.get(&volume, id(1)), Ok(b"before it".to_vec()));
        assert_eq!(process.get(&volume, id(2)), Ok(b"behind it".to_vec()), "{count}");
        for n in 10..10 + count {
            assert!(process.get(&volume, id(n)) == Ok(bytes(n, 1 << 20)), "{count}: {n}");
        }
    }
}
