//! Superblocks and states of a volume.

use std::rc::Rc;

use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::fault::WRITE_AFTER_FAILURE;
use hayloft::volume::{OpenError, Refusal, Slot, StateError, SuperblockState};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{EIO, FILE, SIZE, clean_image, id, small_pool, start};
use crate::common::{Process, bytes, tear};

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
