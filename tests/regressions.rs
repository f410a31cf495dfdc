//! Regression tests of the engine, one per fixed bug.

mod common;

use std::collections::BTreeMap;
use std::rc::Rc;

use common::{COOKIE, Process, bytes, draft, expected, pool, superblock, tear};
use hayloft::base::types::{Cookie, NeedleId};
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::fault::WRITE_AFTER_FAILURE;
use hayloft::volume::format::{
    CommitRecord, FOOTER_LEN, HINT_OFFSETS, RISING_MAX, TailHint, seed, superblock_offsets,
};
use hayloft::volume::{
    Check, Existing, Expected, GetError, NewNeedle, OpenError, Refusal, Slot, StateError, Stored,
    SuperblockState,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const FILE: &str = "1.0.vol";
const SIZE: u64 = 128 * 1024;
const LOG: usize = 65_536;
const EIO: i32 = 5;

type Values = BTreeMap<NeedleId, Option<Vec<u8>>>;
type Got = Result<Vec<u8>, GetError>;

const fn id(n: u64) -> NeedleId {
    NeedleId::new(n, 0)
}

fn small_pool() -> Pool {
    pool(8 << 20)
}

fn zero(image: &mut Image, from: usize, len: usize) {
    image.file(FILE).write(from, &vec![0; len]);
}

/// Image of a new volume with these needles, one commit each, after a clean stop.
fn clean_image(pool: &Pool, needles: &[(u64, Vec<u8>)]) -> Image {
    let mut process = Process::start(1, &Image::default(), pool);
    process.create(SIZE);
    let volume = process.open().unwrap();
    for (n, data) in needles {
        process.put(&volume, id(*n), data).unwrap();
    }
    process.close(&volume);
    process.image()
}

/// Recovers `image`. Returns the results of reading `ids`, the number of damaged places, and the image after
/// a kill right after recovery.
fn start(seed: u64, image: &Image, pool: &Pool, ids: &[NeedleId]) -> (Vec<Got>, usize, Image) {
    let mut process = Process::start(seed, image, pool);
    let volume = process.open().unwrap();
    let got = ids.iter().map(|id| process.get(&volume, *id)).collect();
    (got, volume.volume().damage().len(), process.image())
}

/// Offset of the seal.
fn seal(image: &Image) -> usize {
    let bytes = image.bytes(FILE);
    let mut places = (LOG..bytes.len()).step_by(4096);
    places.find(|&at| bytes[at..].starts_with(b"HAYLCMMT") && bytes[at + 36] == 1).expect("a seal")
}

/// A commit that replaces needle 1 and adds needle 2 was torn, and only needle 2 was complete and kept. The
/// tail was sealed, needle 3 stored, and the volume closed.
fn sealed_after_tear(pool: &Pool) -> (Image, Values) {
    let image = clean_image(pool, &[(1, bytes(1, 100))]);
    let puts = [(id(1), bytes(11, 600)), (id(2), bytes(2, 100))];
    let (blocker, kept) = (bytes(9, 10), [0, 1, 3, 4]);
    let first = Some((id(9), &blocker[..]));
    let image = tear(1000, (FILE, &image), pool, first, &puts, |sector| kept.contains(&sector));
    let mut process = Process::start(2, &image, pool);
    let volume = process.open().unwrap();
    process.put(&volume, id(3), &bytes(3, 50)).unwrap();
    process.close(&volume);
    let values = [(1, bytes(1, 100)), (2, bytes(2, 100)), (3, bytes(3, 50)), (9, blocker)];
    let values = values.into_iter().map(|(n, data)| (id(n), Some(data))).collect();
    (process.image(), values)
}

fn ids(values: &Values) -> Vec<NeedleId> {
    values.keys().copied().collect()
}

/// The seal did not identify which of two torn commits with the same sequence it kept needles of: a needle of
/// the older one, at the same offset and with the same ordinal, was taken for kept.
#[test]
fn remains_of_an_older_torn_commit_are_not_taken_for_kept_needles() {
    let pool = small_pool();
    let clean = clean_image(&pool, &[(1, bytes(1, 100)), (5, bytes(5, 90))]);
    let ids = [1, 5, 8, 7, 20, 21].map(id);
    let gone = Err(GetError::NotFound);
    let values = [(1, 100), (5, 90), (8, 120)].map(|(n, len)| Ok(bytes(n, len)));
    let expected = [&values[..], &[gone.clone(), gone.clone(), gone]].concat();
    // Of the older commit, the header of its second needle remains, in sector 3.
    let puts = [(id(20), bytes(20, 110)), (id(21), bytes(21, 600))];
    let image = tear(1000, (FILE, &clean), &pool, None, &puts, |sector| sector == 3);
    // Of the younger commit, the second needle survives and the record does not.
    let puts = [(id(7), bytes(7, 1700)), (id(8), bytes(8, 120))];
    let image = tear(5000, (FILE, &image), &pool, None, &puts, |sector| [5, 6].contains(&sector));
    let (got, damage, image) = start(3, &image, &pool, &ids);
    assert_eq!((got, damage), (expected.clone(), 0));
    let (got, damage, _) = start(4, &image, &pool, &ids);
    assert_eq!((got, damage), (expected, 0), "the second recovery gives the same result");
}

/// One flipped bit in a seal brought the needles back that it had dropped, as damaged ones.
#[test]
fn bit_flip_in_a_seal_does_not_restore_dropped_needles() {
    let pool = small_pool();
    let (image, values) = sealed_after_tear(&pool);
    let at = seal(&image);
    let wanted: Vec<Got> = values.values().map(|value| Ok(value.clone().unwrap())).collect();
    for byte in at..at + 1024 {
        for bit in 0..8 {
            let mut damaged = image.clone();
            damaged.file(FILE).flip(byte, bit);
            let (got, damage, _) = start(3, &damaged, &pool, &ids(&values));
            assert_eq!((got, damage), (wanted.clone(), 0), "byte {byte} bit {bit}");
        }
    }
}

/// A needle of one unit lost header and footer with one sector: an older value was returned, or 404.
#[test]
fn lost_sector_hides_no_needle_and_affects_at_most_one() {
    let pool = small_pool();
    let mut process = Process::start(1, &Image::default(), &pool);
    process.create(SIZE);
    let volume = process.open().unwrap();
    let mut values = Values::new();
    for (n, len) in [(1, 100), (1, 110), (2, 120), (3, 50), (4, 0), (5, 344), (3, 60)] {
        process.put(&volume, id(n), &bytes(n + len, usize::try_from(len).unwrap())).unwrap();
        let data = bytes(n + len, usize::try_from(len).unwrap());
        values.insert(id(n), Some(data));
    }
    process.delete(&volume, id(2)).unwrap();
    values.insert(id(2), None);
    process.close(&volume);
    let (with_seal, sealed_after_tear) = sealed_after_tear(&pool);
    for (image, values) in [(process.image(), values), (with_seal, sealed_after_tear)] {
        let mut unreadable = 0;
        for sector in (0..usize::try_from(SIZE).unwrap()).step_by(512) {
            let mut damaged = image.clone();
            zero(&mut damaged, sector, 512);
            let (got, ..) = start(3, &damaged, &pool, &ids(&values));
            let mut affected = 0;
            for ((id, value), got) in values.iter().zip(&got) {
                match (got, value) {
                    (Ok(got), Some(value)) if got == value => {}
                    (Err(GetError::NotFound), None) => {}
                    (Err(GetError::Unreadable(..)), Some(_)) => affected += 1,
                    _ => panic!("sector at {sector}: {id} holds {got:?}"),
                }
            }
            assert!(affected <= 1, "sector at {sector}: {affected} needles affected");
            unreadable += affected;
        }
        assert!(unreadable >= 4, "some of the sectors contain headers");
    }
}

/// An older build "repaired" superblock copies of a newer format that it did not know.
#[test]
fn superblock_copy_of_a_newer_format_is_not_overwritten() {
    let pool = small_pool();
    let image = clean_image(&pool, &[(1, bytes(1, 100))]);
    let copies = [0, 4096, usize::try_from(SIZE).unwrap() - 4096];
    // Offsets of version, ro-compat and incompat flags; the newer copy has the same or a higher revision.
    for field in [8, 16, 20] {
        for (at, revision) in copies.into_iter().flat_map(|at| [(at, 1), (at, 2)]) {
            let mut newer = image.clone();
            newer.edit(FILE, |bytes| {
                let copy = &mut bytes[at..at + 512];
                copy[field] = 0x40;
                copy[112] = revision;
                let sum = xxh3_64_with_seed(&copy[..504], 0x4841_594c_4f46_5400);
                copy[504..].copy_from_slice(&sum.to_le_bytes());
            });
            let mut process = Process::start(2, &newer, &pool);
            let refused = process.open();
            assert!(matches!(refused, Err(OpenError::Superblock(_))), "{at} {field}");
            assert!(process.image().files == newer.files, "the file is unchanged");
        }
    }
}

/// Opens `image` while its disk operation `n` fails. `None` unless that poisoned the volume.
fn open_failing(image: &Image, pool: &Pool, n: u64) -> Option<(Process, Rc<Slot>)> {
    let mut process = Process::start(2, image, pool);
    process.world.fail(n, Fault::Errno(EIO));
    let volume = process.open().ok()?;
    volume.volume().poisoned().then_some((process, volume))
}

/// If the seal or the hint could not be written at open, the volume was not served at all.
#[test]
fn volume_with_a_failed_write_at_open_still_serves_reads() {
    let pool = small_pool();
    let clean = clean_image(&pool, &[(1, bytes(1, 100))]);
    let puts = [(id(2), bytes(2, 600)), (id(3), bytes(3, 100))];
    let torn = tear(1000, (FILE, &clean), &pool, None, &puts, |sector| sector != 2);
    for (image, writes) in [(clean, 1), (torn, 2)] {
        let mut poisoned = 0;
        for n in 0..40 {
            let Some((mut process, volume)) = open_failing(&image, &pool, n) else { continue };
            poisoned += 1;
            assert!(!volume.volume().writable());
            assert_eq!(process.get(&volume, id(1)), Ok(bytes(1, 100)));
            if writes == 2 {
                assert_eq!(process.get(&volume, id(3)), Ok(bytes(3, 100)));
            }
            let before = process.image();
            assert_eq!(process.put(&volume, id(1), b"new"), Err(Refusal::Poisoned));
            assert_eq!(process.delete(&volume, id(1)), Err(Refusal::Poisoned));
            process.close(&volume);
            assert!(process.image().files == before.files, "no further writes");
            // The next start is not affected.
            let (got, damage, _) = start(3, &process.image(), &pool, &[id(1), id(3)]);
            assert_eq!((&got[0], damage), (&Ok(bytes(1, 100)), 0));
            assert_eq!(got[1].is_ok(), writes == 2);
        }
        assert_eq!(poisoned, writes, "writes of the hint, and of the seal if the tail is torn");
    }
}

/// The loss of a needle that a seal had kept was not reported.
#[test]
fn loss_of_a_needle_kept_by_a_seal_is_reported() {
    let pool = small_pool();
    let (image, values) = sealed_after_tear(&pool);
    let wanted: Vec<Got> = values.values().map(|value| Ok(value.clone().unwrap())).collect();
    assert_eq!(start(3, &image, &pool, &ids(&values)).1, 0);
    // The torn commit is the one before the seal: record, two units dropped, two units kept.
    let kept = seal(&image) - 4096 + 3 * 512;
    let mut gone = image.clone();
    zero(&mut gone, kept, 1024);
    let (got, damage, _) = start(3, &gone, &pool, &ids(&values));
    assert!(damage > 0);
    for (n, id) in ids(&values).iter().enumerate() {
        if *id == NeedleId::new(2, 0) {
            assert!(got[n].is_err());
        } else {
            assert_eq!(got[n], wanted[n]);
        }
    }
    // The same if the record of the torn commit is lost, too.
    zero(&mut gone, seal(&image) - 4096, 512);
    assert!(start(3, &gone, &pool, &ids(&values)).1 > 0);
}

/// An open volume whose needle 1 (two units) has a damaged header.
fn with_damaged_header(pool: &Pool) -> (Process, Rc<Slot>) {
    let mut image = clean_image(pool, &[(1, bytes(1, 100)), (2, bytes(2, 100))]);
    image.file(FILE).flip(LOG + 512 + 20, 0);
    let mut process = Process::start(2, &image, pool);
    let volume = process.open().unwrap();
    let got = process.get(&volume, id(1));
    assert!(matches!(got, Err(GetError::Unreadable(..))), "{got:?}");
    (process, volume)
}

fn put_if(
    process: &mut Process,
    volume: &Rc<Slot>,
    cookie: Cookie,
    condition: Option<fn(bool) -> bool>,
) -> Result<Stored, Refusal> {
    let draft = draft(process.runtime.handle().pool(), b"new");
    let volume = Rc::clone(volume);
    process.run(async move {
        let holds = |it: Option<&Existing>| condition.is_none_or(|holds| holds(it.is_some()));
        let check: Check<'_> = condition.map(|_| &holds as _);
        volume.put(id(1), cookie, draft, check).await
    })
}

/// A damaged header hid the cookie: any cookie could replace the needle, and none could delete it.
#[test]
fn cookie_and_conditions_hold_for_a_needle_with_damaged_header() {
    let pool = small_pool();
    let wrong = Cookie(COOKIE.0 ^ 1);
    let (mut process, volume) = with_damaged_header(&pool);
    assert_eq!(process.get_as(&volume, id(1), wrong), Err(GetError::NotFound));
    assert_eq!(put_if(&mut process, &volume, wrong, None), Err(Refusal::Conflict));
    let deleting = Rc::clone(&volume);
    let refused = process.run(async move { deleting.delete(id(1), wrong, None).await });
    assert_eq!(refused, Err(Refusal::NotFound));
    // If-None-Match and If-Match cannot be evaluated.
    let unreadable = Err(Refusal::Unreadable(id(1)));
    assert_eq!(put_if(&mut process, &volume, COOKIE, Some(|there| !there)), unreadable);
    assert_eq!(put_if(&mut process, &volume, COOKIE, Some(|there| there)), unreadable);
    assert!(matches!(process.get(&volume, id(1)), Err(GetError::Unreadable(..))));

    assert!(put_if(&mut process, &volume, COOKIE, None).unwrap().replaced);
    assert_eq!(process.get(&volume, id(1)).unwrap(), b"new");
    process.close(&volume);
    let got = start(3, &process.image(), &pool, &[id(1), id(2)]).0;
    assert_eq!(got, [Ok(b"new".to_vec()), Ok(bytes(2, 100))]);

    let (mut process, volume) = with_damaged_header(&pool);
    process.delete(&volume, id(1)).unwrap();
    assert_eq!(process.get(&volume, id(1)), Err(GetError::NotFound));
    process.close(&volume);
    let got = start(3, &process.image(), &pool, &[id(1), id(2)]).0;
    assert_eq!(got, [Err(GetError::NotFound), Ok(bytes(2, 100))]);
}

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

const _: () = assert!(FOOTER_LEN == 56, "the sector numbers above depend on it");

/// A header remaining from an older torn commit overlapped a kept needle of the younger one, and the scan
/// skipped both.
#[test]
fn remains_of_an_older_torn_commit_do_not_hide_a_kept_needle() {
    let pool = small_pool();
    let clean = clean_image(&pool, &[(1, bytes(1, 100)), (5, bytes(5, 90))]);
    let ids = [1, 5, 8, 7, 20, 21].map(id);
    let gone = Err(GetError::NotFound);
    let values = [(1, 100), (5, 90), (8, 120)].map(|(n, len)| Ok(bytes(n, len)));
    let expected = [&values[..], &[gone.clone(), gone.clone(), gone]].concat();
    // Of the older commit, the header of its second needle remains, in sector 3: of a needle of two units,
    // and of one that overlaps the whole kept needle.
    for older in [600, 1000] {
        let puts = [(id(20), bytes(20, 110)), (id(21), bytes(21, older))];
        let image = tear(1000, (FILE, &clean), &pool, None, &puts, |sector| sector == 3);
        // Of the younger commit, the second needle survives and the record does not.
        let puts = [(id(7), bytes(7, 1200)), (id(8), bytes(8, 120))];
        let survives = |sector| [4, 5].contains(&sector);
        let image = tear(5000, (FILE, &image), &pool, None, &puts, survives);
        let (got, damage, image) = start(3, &image, &pool, &ids);
        assert_eq!((got, damage), (expected.clone(), 0));
        let (got, damage, _) = start(4, &image, &pool, &ids);
        assert_eq!((got, damage), (expected.clone(), 0), "second recovery, {older} bytes");
    }
}

/// When the repair of a damaged superblock copy failed, the volume still accepted writes.
#[test]
fn failed_repair_of_a_superblock_copy_poisons_the_volume() {
    let pool = small_pool();
    let mut image = clean_image(&pool, &[(1, bytes(1, 100))]);
    image.file(FILE).flip(4096 + 100, 0);
    let mut poisoned = 0;
    for n in 0..40 {
        let Some((mut process, volume)) = open_failing(&image, &pool, n) else { continue };
        poisoned += 1;
        assert_eq!(process.get(&volume, id(1)), Ok(bytes(1, 100)));
        assert_eq!(process.put(&volume, id(1), b"new"), Err(Refusal::Poisoned));
        if poisoned == 1 {
            assert!(process.image().files == image.files, "no writes after the failure");
        }
    }
    assert_eq!(poisoned, 2, "writes of the repair and of the hint");
}

/// A conditional DELETE of a needle with a damaged header returned "precondition failed", although the
/// condition cannot be evaluated.
#[test]
fn conditional_delete_of_a_damaged_needle_is_unreadable() {
    let pool = small_pool();
    let etag = xxhash_rust::xxh3::xxh3_64(&bytes(1, 100));
    let (mut process, volume) = with_damaged_header(&pool);
    let deleting = Rc::clone(&volume);
    let refused = process.run(async move {
        let if_match = |it: Option<&Existing>| it.is_some_and(|it| it.etag == etag);
        deleting.delete(id(1), COOKIE, Some(&if_match)).await
    });
    assert_eq!(refused, Err(Refusal::Unreadable(id(1))));
    assert!(matches!(process.get(&volume, id(1)), Err(GetError::Unreadable(..))));
}

/// A volume whose change to read-only had failed was reported writable; after a restart it was read-only.
#[test]
fn failed_state_change_is_not_reported_as_undone() {
    let pool = small_pool();
    let image = clean_image(&pool, &[(1, bytes(1, 100))]);
    let mut process = Process::start(2, &image, &pool);
    let volume = process.open().unwrap();
    // The second of the three copies.
    process.world.fail(1, Fault::Errno(EIO));
    let mut set = |read_only| {
        let volume = Rc::clone(&volume);
        process.run(async move { volume.set_read_only(read_only).await })
    };
    assert!(matches!(set(true), Err(StateError::Failed(_))));
    assert_eq!(set(false), Err(StateError::Poisoned));
    let mut restarted = Process::start(3, &process.image(), &pool);
    assert_eq!(restarted.open().unwrap().volume().superblock_state(), SuperblockState::ReadOnly);
}

/// A hint that failed during a state change did not stop the writes of the remaining superblock copies.
#[test]
fn no_state_is_written_after_a_failed_hint() {
    let pool = small_pool();
    let image = clean_image(&pool, &[(1, bytes(1, 100))]);
    let mut failed_first = 0;
    for n in 0..4 {
        let mut process = Process::start(2, &image, &pool);
        let volume = process.open().unwrap();
        process.put(&volume, id(2), b"so that a hint is due").unwrap();
        process.world.fail(n, Fault::Errno(EIO));
        let (handle, setting) = (process.runtime.handle().clone(), Rc::clone(&volume));
        let set = process.run(async move {
            handle.sleep_until(handle.now() + 1_000_000_000).await;
            setting.set_read_only(true).await
        });
        failed_first += u64::from(set.is_err());
        assert_eq!(process.world.count(WRITE_AFTER_FAILURE), 0, "operation {n}");
    }
    assert!(failed_first > 0);
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

/// A PUT while the existing needle could not be read was indexed beside it instead of replacing it: the next
/// DELETE restored the old photo permanently.
#[test]
fn put_is_refused_while_the_existing_needle_cannot_be_read() {
    let pool = small_pool();
    let image = clean_image(&pool, &[(1, bytes(1, 100))]);
    let mut process = Process::start(2, &image, &pool);
    let volume = process.open().unwrap();
    // Reads of header and footer, each tried twice.
    for n in 0..4 {
        process.world.fail(n, Fault::Errno(EIO));
    }
    assert_eq!(process.put(&volume, id(1), b"new"), Err(Refusal::Unreadable(id(1))));
    assert_eq!(process.get(&volume, id(1)), Ok(bytes(1, 100)));
    assert!(process.put(&volume, id(1), b"new").unwrap().replaced);
    assert_eq!(volume.volume().figures().needles, 1);
    process.delete(&volume, id(1)).unwrap();
    assert_eq!(process.get(&volume, id(1)), Err(GetError::NotFound));
    process.close(&volume);
    assert_eq!(start(3, &process.image(), &pool, &[id(1)]).0, [Err(GetError::NotFound)]);
}

/// Changes a field of the structure of `len` bytes at `at` and updates its checksum.
fn forge(image: &mut Image, (at, len): (usize, usize), field: usize, bytes: &[u8], seed: u64) {
    let file = image.file(FILE);
    let mut structure = vec![0; len];
    file.read(at, &mut structure);
    structure[field..field + bytes.len()].copy_from_slice(bytes);
    let sum = xxh3_64_with_seed(&structure[..len - 8], seed);
    structure[len - 8..].copy_from_slice(&sum.to_le_bytes());
    file.write(at, &structure);
}

/// The accounting of dead bytes underflowed, and the process panicked when it read the figures.
#[test]
fn manifest_claiming_too_many_parts_does_not_panic() {
    let pool = small_pool();
    let mut process = Process::start(1, &Image::default(), &pool);
    process.create(4 * SIZE);
    let volume = process.open().unwrap();
    process.put_large(&volume, id(1), &bytes(9, 65_736), &[65_536]).unwrap();
    process.close(&volume);
    let mut image = process.image();
    let file = image.files[FILE].to_vec();
    let units = file.chunks(512);
    let manifest = 512 * units.take_while(|unit| !unit.starts_with(b"HNDL\x04")).count();
    let place = seed(superblock(4 * SIZE).incarnation, manifest as u64);
    forge(&mut image, (manifest, 128), 84, &u32::MAX.to_le_bytes(), place);
    let mut process = Process::start(2, &image, &pool);
    let volume = process.open().unwrap();
    assert_eq!(volume.volume().figures().dead, 0);
    process.delete(&volume, id(1)).unwrap();
    let figures = volume.volume().figures();
    assert_eq!((figures.live, figures.needles), (0, 0));
}

/// Recovery ended the log before a commit that claims more needles than possible and sealed after
/// its complete needles; the next start followed the commit and found the seal at an unexpected offset.
#[test]
fn two_recoveries_agree_on_a_commit_claiming_too_many_needles() {
    let pool = small_pool();
    let mut image = clean_image(&pool, &[(1, bytes(1, 100)), (2, bytes(2, 100))]);
    zero(&mut image, 8192, 8192);
    let commit = LOG + 4096;
    let place = seed(superblock(SIZE).incarnation, commit as u64);
    forge(&mut image, (commit, 512), 32, &1001u32.to_le_bytes(), place);
    let ids = [1, 2].map(id);
    let (first, damage, image) = start(3, &image, &pool, &ids);
    assert_eq!((&first, damage), (&[1, 2].map(|n| Ok(bytes(n, 100))).to_vec(), 0));
    let (second, damage, _) = start(4, &image, &pool, &ids);
    assert_eq!((second, damage), (first, 0));
}

/// With counters at their maximum, or a commit that ends at the last block and leaves no space for a seal,
/// the process panicked when it opened, wrote or closed the volume.
#[test]
fn counters_at_their_maximum_do_not_panic() {
    let pool = small_pool();
    let image = clean_image(&pool, &[(1, bytes(1, 100)), (2, bytes(2, 100))]);
    let place = |at: usize| seed(superblock(SIZE).incarnation, at as u64);
    let last = u64::MAX.to_le_bytes();
    // Number, sequence and version of the newest hint, whose tail must be beyond the commits that chain.
    let hint = 8192;
    assert!(image.files[FILE].holds(hint + 8, &[2]));
    let mut forged = Vec::new();
    for field in [32, 48] {
        let mut image = image.clone();
        zero(&mut image, LOG + 4096, 512);
        forge(&mut image, (hint, 512), field, &last, place(hint));
        forged.push((format!("hint, byte {field}"), image));
    }
    let mut number = image.clone();
    zero(&mut number, hint, 4096);
    forge(&mut number, (12_288, 512), 8, &last, place(12_288));
    forged.push(("number of a hint".to_owned(), number));
    let mut long = image.clone();
    zero(&mut long, hint, 8192);
    let (commit, len) = (LOG + 4096, SIZE as usize - 4096 - LOG - 4096);
    forge(&mut long, (commit, 512), 24, &(len as u64).to_le_bytes(), place(commit));
    forge(&mut long, (commit, 512), 32, &[2], place(commit));
    forged.push(("length of the last commit".to_owned(), long));
    let mut version = image.clone();
    forge(&mut version, (LOG + 512, 128), 32, &last, place(LOG + 512));
    forged.push(("version of a needle".to_owned(), version));

    for (what, image) in forged {
        let mut process = Process::start(3, &image, &pool);
        let volume = process.open().unwrap_or_else(|error| panic!("{what}: {error}"));
        for n in [3, 4] {
            process.put(&volume, id(n), &bytes(n, 100)).unwrap_or_else(|error| {
                panic!("{what}: {error}");
            });
        }
        process.close(&volume);
        let got = start(4, &process.image(), &pool, &[2, 3, 4].map(id)).0;
        assert_eq!(got[1..], [3, 4].map(|n| Ok(bytes(n, 100))), "{what}");
    }

    let mut revision = image.clone();
    for at in superblock_offsets(SIZE) {
        let at = usize::try_from(at).unwrap();
        forge(&mut revision, (at, 512), 112, &last, 0x4841_594c_4f46_5400);
    }
    let refused = Process::start(3, &revision, &pool).open();
    assert!(matches!(refused, Err(OpenError::Superblock(_))));
}

/// With a clock that is wrong by centuries in either direction, needles are stored, found, replaced and
/// deleted, then and after the clock is corrected.
#[test]
fn wrong_clock_loses_no_needle() {
    let pool = small_pool();
    let walls = [u64::MAX, RISING_MAX, RISING_MAX - 1, 1, 1_700_000_000_000_000_000];
    let mut process = Process::start(1, &Image::default(), &pool);
    process.create(8 * SIZE);
    let mut image = process.image();
    let mut newest = 0;
    for (n, wall) in (1..).zip(walls) {
        let mut process = Process::start(n, &image, &pool);
        process.world.set_wall(wall);
        let volume = process.open().unwrap();
        assert_eq!(volume.volume().damage().len(), 0);
        for earlier in 1..n {
            assert_eq!(process.get(&volume, id(earlier)), Ok(bytes(earlier, 300)), "at {wall}");
        }
        assert_eq!(process.get(&volume, id(100)).is_ok(), n > 1);
        let before = volume.volume().figures().used;
        process.put(&volume, id(n), &bytes(n, 300)).unwrap();
        process.put(&volume, id(100), &bytes(n, 100)).unwrap();
        process.put(&volume, id(101), &bytes(n, 100)).unwrap();
        let deleting = Rc::clone(&volume);
        process.run(async move { deleting.delete(id(101), COOKIE, None).await }).unwrap();
        assert!(volume.volume().figures().used > before);
        // Kill and restart with the next clock.
        image = process.image();
        let mut restarted = Process::start(n + 100, &image, &pool);
        let volume = restarted.open().unwrap();
        assert_eq!(restarted.get(&volume, id(100)), Ok(bytes(n, 100)), "the newest of {wall}");
        assert_eq!(restarted.get(&volume, id(101)), Err(GetError::NotFound));
        let version = volume.volume().open_report().end.version;
        assert!(version > newest && version < RISING_MAX, "{version} after {newest}");
        newest = version;
    }
}

/// A volume without unused versions is full: it acknowledges nothing that the next start would refuse, and
/// serves reads.
#[test]
fn volume_with_exhausted_versions_is_full_and_serves_reads() {
    let pool = small_pool();
    let log_end = SIZE - 4096;
    for (version, sequence) in [(RISING_MAX - 1, 1), (RISING_MAX - (1 << 32), 1)] {
        let mut image = clean_image(&pool, &[(1, bytes(1, 300))]);
        let incarnation = superblock(SIZE).incarnation;
        let file = image.bytes(FILE).to_vec();
        let hint = HINT_OFFSETS.iter().filter_map(|&at| {
            TailHint::decode(&file[usize::try_from(at).unwrap()..], incarnation, at, log_end)
        });
        let newest = hint.max_by_key(|hint| hint.number).unwrap();
        assert_eq!(newest.sequence, sequence);
        let hint = TailHint { version, number: newest.number + 1, ..newest };
        let mut block = [0; 4096];
        hint.encode(incarnation, log_end, &mut block);
        image.file(FILE).write(usize::try_from(hint.offset()).unwrap(), &block);
        for seed in [2, 3] {
            let mut process = Process::start(seed, &image, &pool);
            let volume = process.open().unwrap();
            assert_eq!(process.put(&volume, id(2), b"no"), Err(Refusal::Full));
            let deleting = Rc::clone(&volume);
            let deleted = process.run(async move { deleting.delete(id(1), COOKIE, None).await });
            assert_eq!(deleted, Err(Refusal::Full));
            assert_eq!(process.get(&volume, id(1)), Ok(bytes(1, 300)));
            process.close(&volume);
            image = process.image();
        }
    }
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

/// An open volume with needle 1 of two units, and the sectors of its header and footer.
fn two_units(pool: &Pool) -> (Process, Rc<Slot>, [usize; 2]) {
    let image = clean_image(pool, &[(1, bytes(1, 300)), (2, bytes(2, 300))]);
    let mut process = Process::start(2, &image, pool);
    let volume = process.open().unwrap();
    let header = LOG / 512 + 1;
    (process, volume, [header, header + 1])
}

/// An index entry has the hash of the id, but header and footer are both damaged: GET must not report 404,
/// and DELETE is refused as unreadable.
#[test]
fn needle_without_readable_identity_is_unreadable_not_absent() {
    let pool = small_pool();
    let (mut process, volume, [header, footer]) = two_units(&pool);
    process.world.rot(FILE, header * 512 + 20, 1);
    process.world.rot(FILE, footer * 512 + 500, 1);
    let got = process.get(&volume, id(1));
    assert!(matches!(got, Err(GetError::Unreadable(..))), "{got:?}");
    assert_eq!(process.delete(&volume, id(1)), Err(Refusal::Unreadable(id(1))));
    // An unconditional write is found first.
    process.put(&volume, id(1), b"new").unwrap();
    assert_eq!(process.get(&volume, id(1)), Ok(b"new".to_vec()));
}

/// Of header and footer, one is damaged and the other cannot be read. The needle may be readable later, so no
/// second one is written.
#[test]
fn damaged_header_with_unreadable_footer_refuses_writes() {
    let pool = small_pool();
    for [damaged, unreadable] in [[0, 1], [1, 0]] {
        let (mut process, volume, sectors) = two_units(&pool);
        process.world.rot(FILE, sectors[damaged] * 512 + if damaged == 0 { 20 } else { 500 }, 1);
        process.world.spoil(FILE, sectors[unreadable]);
        let unreadable = Err(Refusal::Unreadable(id(1)));
        assert_eq!(process.put(&volume, id(1), b"new").map(drop), unreadable);
        assert_eq!(process.delete(&volume, id(1)), unreadable);
        let got = process.get(&volume, id(1));
        assert!(matches!(got, Err(GetError::Unreadable(..))), "{got:?}");
    }
}

/// Of two needles with the hash of the id, one cannot be read and the other not be identified. The unreadable
/// one may be the needle itself, so no second one is written.
#[test]
fn unreadable_candidate_refuses_writes_beside_a_lost_one() {
    let pool = small_pool();
    let image = clean_image(&pool, &[(1, bytes(1, 300)), (2, bytes(2, 300))]);
    // The newer one is read first; each is lost in turn.
    for [lost, unreadable] in [[1, 2], [2, 1]] {
        let mut process = Process::start(2, &image, &pool);
        let expected = Expected { hash_bits: Some(0), ..expected() };
        let volume = process.open_as(expected).unwrap();
        let sectors = |n: usize| [1, 2].map(|unit| LOG / 512 + (n - 1) * 8 + unit);
        let [header, footer] = sectors(lost);
        process.world.rot(FILE, header * 512 + 20, 1);
        process.world.rot(FILE, footer * 512 + 500, 1);
        sectors(unreadable).into_iter().for_each(|sector| process.world.spoil(FILE, sector));
        let refused = Err(Refusal::Unreadable(id(3)));
        assert_eq!(process.put(&volume, id(3), b"new").map(drop), refused, "{lost} is lost");
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
