//! Extreme values with correct checksums.

use std::rc::Rc;

use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{HINT_OFFSETS, RISING_MAX, TailHint, seed, superblock_offsets};
use hayloft::volume::{GetError, OpenError, Refusal};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{FILE, LOG, SIZE, clean_image, id, small_pool, start, zero};
use crate::common::{COOKIE, Process, bytes, superblock};

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
