//! Volume files whose blocks are reserved in steps: a step that fails refuses uploads and nothing else, and
//! writers that are faster than the steps wait.

use std::cell::Cell;
use std::rc::Rc;

use hayloft::base::limits::{BLOCK, LOG_START, TRAILER};
use hayloft::ring::{Registration, Ring, RingOptions, prepare};
use hayloft::runtime::buffer::Region;
use hayloft::runtime::op::{DirId, Op};
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::fault::{NO_SPACE, WRITE_AFTER_FAILURE};
use hayloft::runtime::{Runtime, split_mix};
use hayloft::volume::format::PARTIAL;
use hayloft::volume::{
    self, IoError, Preallocation, Refusal, Slot, StateError, Superblock, SuperblockState,
    WriteState,
};
use nix::libc::{ECANCELED, EIO, ENOENT, ENOSPC};

use crate::common::{self, COOKIE, Process, bytes, pool, superblock, upload};
use crate::reserved_harness::{
    self, BODY, LOG_END, Outcome, SECOND, SIZE, STEP, TOMBSTONES, allocated, assert_has_reserved,
    assert_no_write_failed, assert_readable, blocks, copies, created, fill, id, identity, put,
    put_later, put_small, reserved_end, restarted, sleep, started, tail,
};

/// Length for which all blocks of the log are needed (bytes), with one body in the log or none.
const NEARLY_ALL: u64 = 870_000;

#[test]
fn new_partial_file_has_the_blocks_around_the_log_and_of_one_step() {
    let mut process = Process::start(1, &Image::default(), &pool(16 << 20));
    process.create_how(SIZE, Preallocation::InSteps).unwrap();
    let image = process.image();
    assert_eq!(allocated(&image), blocks(LOG_START + STEP + TRAILER));
    assert_eq!(image.bytes(reserved_harness::FILE).len() as u64, SIZE);
    for copy in copies(&image) {
        assert_eq!(copy, Superblock { ro_compat: PARTIAL, ..superblock(SIZE) });
    }
    let wreck = process.world.look(|snapshot| snapshot.wreck());
    assert_has_reserved(&wreck.image(|_| false, 0), LOG_START + STEP);
}

#[test]
fn file_that_one_step_covers_is_reserved_whole() {
    let size = LOG_START + 2 * BLOCK + TRAILER;
    let mut process = Process::start(1, &Image::default(), &pool(16 << 20));
    process.create_how(size, Preallocation::InSteps).unwrap();
    assert_eq!(allocated(&process.image()), blocks(size));
    let bytes = process.image().bytes(reserved_harness::FILE);
    assert_eq!(Superblock::decode(&bytes), Ok(superblock(size)));
}

#[test]
fn steps_stay_ahead_of_the_log_until_the_file_is_whole() {
    let pool = pool(16 << 20);
    let (mut process, volume) = started(1000, &pool);
    assert!(volume.volume().is_partial());
    let (mut ends, mut key) = (vec![reserved_end(&volume)], 0);
    while put(&mut process, &volume, key) != Err(Refusal::Full) {
        key += 1;
        sleep(&mut process, SECOND / 10);
        let end = reserved_end(&volume);
        let ahead = end - tail(&volume);
        let is_ahead = ahead >= STEP / 2 + TOMBSTONES || end == LOG_END;
        assert!(is_ahead, "{ahead} bytes are reserved behind the log");
        assert!(ahead <= 2 * STEP + TOMBSTONES, "{ahead} bytes are reserved behind the log");
        assert_has_reserved(&process.image(), end);
        if ends.last() != Some(&end) {
            ends.push(end);
        }
    }
    let steps = ends.windows(2).filter(|pair| pair[1] - pair[0] == STEP).count();
    assert!(steps >= 5 && ends.last() == Some(&LOG_END), "{ends:?}");
    assert!(!volume.volume().is_partial());
    assert_eq!(allocated(&process.image()), blocks(SIZE));
    for copy in copies(&process.image()) {
        assert_eq!(copy, Superblock { revision: 2, ..superblock(SIZE) });
    }
    let operations = process.world.operations();
    sleep(&mut process, 10 * SECOND);
    assert!(process.world.operations() <= operations + 1, "only a tail hint");
    // As many fit as into a file that was reserved at its creation.
    let mut whole = Process::start(1, &Image::default(), &pool);
    whole.create(SIZE);
    let other = whole.open_as(identity()).unwrap();
    assert_eq!(fill(&mut whole, &other, 0), key);
    assert_readable(&mut process, &volume, 0..key);
}

#[test]
fn failed_step_refuses_puts_accepts_deletes_and_is_tried_again() {
    let pool = pool(16 << 20);
    let (mut process, volume) = started(40, &pool);
    let mut refused = fill(&mut process, &volume, 0);
    assert_eq!(volume.volume().write_state(), WriteState::Full);
    assert!(process.world.count(NO_SPACE) > 0);
    let figures = volume.volume().figures();
    assert!(figures.unavailable > 0 && figures.unavailable == figures.unreserved);
    // Another program takes the rest of the disk, for a while.
    process.world.occupy(1000);
    for _ in 0..5 {
        sleep(&mut process, 20 * SECOND);
        assert_eq!(put(&mut process, &volume, refused), Err(Refusal::Full));
        assert!(!volume.volume().has_space_for(BODY as u64));
    }
    let attempts = process.world.count(NO_SPACE);
    assert!((5..20).contains(&attempts), "{attempts} attempts in 100 s");
    let deleted = 3;
    for key in 0..deleted {
        process.delete(&volume, id(key)).unwrap();
    }
    process.world.vacate(1000);
    sleep(&mut process, 31 * SECOND);
    assert_eq!(process.world.count(NO_SPACE) - attempts, 1, "no attempt was due before");
    process.world.set_capacity(1000);
    sleep(&mut process, 31 * SECOND);
    assert_eq!(volume.volume().figures().unavailable, 0);
    assert!(volume.volume().has_space_for(BODY as u64));
    put(&mut process, &volume, refused).unwrap();
    refused += 1;
    assert_no_write_failed(&process, &volume);
    assert_readable(&mut process, &volume, deleted..refused);
    let (mut process, volume) = restarted(2, &process.image(), 0, &pool);
    assert_eq!(volume.volume().figures().needles, refused - deleted);
    assert_readable(&mut process, &volume, deleted..refused);
}

#[test]
fn deletes_are_accepted_until_their_reserve_is_used_up() {
    let pool = pool(16 << 20);
    let (mut process, volume) = started(0, &pool);
    put_small(&mut process, &volume, 0..30);
    fill(&mut process, &volume, 100);
    // Each delete takes a block, and one is kept for a seal.
    let delete = |process: &mut Process, key| process.delete(&volume, id(key));
    let deleted = (0..30).take_while(|key| delete(&mut process, *key).is_ok()).count() as u64;
    assert!((TOMBSTONES / BLOCK - 1..30).contains(&deleted), "{deleted} deletes");
    assert_eq!(delete(&mut process, 29), Err(Refusal::Full));
    assert_eq!(tail(&volume) + BLOCK, reserved_end(&volume));
    assert_no_write_failed(&process, &volume);
}

/// More writes at once than blocks are reserved.
#[test]
fn writers_wait_for_steps_instead_of_being_refused() {
    let pool = pool(16 << 20);
    let (mut process, volume) = started(1000, &pool);
    let outcomes: Vec<Outcome> = (0..60).map(|key| put_later(&process, &volume, key)).collect();
    sleep(&mut process, 10 * SECOND);
    assert!(outcomes.iter().all(|outcome| outcome.get() == Some(Ok(()))));
    assert_no_write_failed(&process, &volume);
    assert_readable(&mut process, &volume, 0..60);
    // On a full disk they get their answers too.
    let (mut process, volume) = started(40, &pool);
    let outcomes: Vec<Outcome> = (0..60).map(|key| put_later(&process, &volume, key)).collect();
    sleep(&mut process, 10 * SECOND);
    let count = |wanted| outcomes.iter().filter(|outcome| outcome.get() == Some(wanted)).count();
    let (stored, refused) = (count(Ok(())), count(Err(Refusal::Full)));
    assert!(stored > 5 && refused > 20 && stored + refused == 60, "{stored} {refused}");
    assert!(process.world.count(NO_SPACE) < 10, "not each writer tries");
    assert_no_write_failed(&process, &volume);
}

#[test]
fn body_longer_than_a_step_is_stored_if_the_disk_has_space() {
    let pool = pool(16 << 20);
    let data = bytes(1, 3 * usize::try_from(STEP).unwrap());
    for (free, is_stored) in [(1000, true), (90, false)] {
        let (mut process, volume) = started(free, &pool);
        assert!(
            volume.volume().has_space_for(data.len() as u64),
            "nothing says that it does not fit"
        );
        let (own, buffers, body) = (Rc::clone(&volume), pool.clone(), data.clone());
        let stored = process.run(async move {
            own.await_blocks_for(body.len() as u64).await;
            let (_upload, draft) = upload(&own, &buffers, id(1), &body, &[1 << 16]).await?;
            own.put(id(1), COOKIE, draft, None).await
        });
        assert_eq!(stored.map(drop), if is_stored { Ok(()) } else { Err(Refusal::Full) });
        assert_eq!(volume.volume().has_space_for(data.len() as u64), is_stored);
        // One step still fits.
        sleep(&mut process, 5 * SECOND);
        assert_eq!(volume.volume().figures().unavailable, 0);
        put(&mut process, &volume, 2).unwrap();
        assert_no_write_failed(&process, &volume);
        if is_stored {
            assert_eq!(process.get(&volume, id(1)), Ok(data.clone()));
        }
    }
}

#[test]
fn blocks_are_reserved_ahead_on_request() {
    let pool = pool(16 << 20);
    let (mut process, volume) = started(1000, &pool);
    let ahead = |process: &mut Process, bytes: u64| {
        let volume = Rc::clone(&volume);
        process.run(async move { volume.volume().reserve_ahead(bytes).await })
    };
    assert_eq!(ahead(&mut process, 300_000), Ok(()));
    let end = reserved_end(&volume);
    assert!(end >= LOG_START + 300_000 + TOMBSTONES && (end - LOG_START).is_multiple_of(STEP));
    let wreck = process.world.look(|snapshot| snapshot.wreck());
    assert_has_reserved(&wreck.image(|_| false, 0), end);
    let operations = process.world.operations();
    assert_eq!(ahead(&mut process, 300_000), Ok(()));
    assert_eq!(process.world.operations(), operations, "they are reserved already");
    assert_eq!(ahead(&mut process, SIZE), Err(IoError::Errno(ENOSPC)), "the log is too short");
    process.world.occupy(1000);
    assert_eq!(ahead(&mut process, 700_000), Err(IoError::Errno(ENOSPC)));
    assert_eq!(reserved_end(&volume), end);
    process.world.vacate(1000);
    assert_eq!(ahead(&mut process, NEARLY_ALL), Ok(()));
    assert_eq!(reserved_end(&volume), LOG_END);
    sleep(&mut process, SECOND);
    assert!(!volume.volume().is_partial());
    assert_eq!(ahead(&mut process, NEARLY_ALL), Ok(()));
    process.close(&volume);

    let (mut process, volume) = started(1000, &pool);
    process.close(&volume);
    let late = process.run(async move { volume.volume().reserve_ahead(300_000).await });
    assert_eq!(late, Err(IoError::Errno(ECANCELED)));
}

#[test]
fn no_step_is_taken_while_the_volume_is_read_only_or_fenced() {
    let pool = pool(16 << 20);
    let (mut process, volume) = started(0, &pool);
    let set = |process: &mut Process, read_only| {
        let volume = Rc::clone(&volume);
        process.run(async move { volume.set_read_only(read_only).await }).unwrap();
    };
    // A step is due all the time.
    let filled = fill(&mut process, &volume, 0);
    sleep(&mut process, 5 * SECOND);
    set(&mut process, true);
    let operations = process.world.operations();
    process.world.set_capacity(1000);
    sleep(&mut process, 100 * SECOND);
    assert_eq!(process.world.operations(), operations);
    assert!(copies(&process.image()).iter().all(|copy| copy.state == SuperblockState::ReadOnly));
    assert!(copies(&process.image()).iter().all(|copy| copy.ro_compat == PARTIAL));
    set(&mut process, false);
    sleep(&mut process, SECOND);
    put(&mut process, &volume, filled).unwrap();

    let (mut process, volume) = started(0, &pool);
    fill(&mut process, &volume, 0);
    sleep(&mut process, 5 * SECOND);
    volume.volume().fence();
    process.world.set_capacity(1000);
    let operations = process.world.operations();
    sleep(&mut process, 100 * SECOND);
    let refused = process.run(async move { volume.volume().reserve_ahead(600_000).await });
    assert_eq!((refused, process.world.operations()), (Err(IoError::Errno(ENOENT)), operations));
}

#[test]
fn closing_waits_for_a_step_in_flight_and_not_for_a_pause() {
    let pool = pool(16 << 20);
    let (mut process, volume) = started(0, &pool);
    fill(&mut process, &volume, 0);
    sleep(&mut process, 70 * SECOND);
    let began = process.world.now();
    process.close(&volume);
    assert!(process.world.now() - began < SECOND);
    assert_eq!(process.world.open_files().len(), 0);

    // The next operation is that of the step.
    let (mut process, volume) = started(1000, &pool);
    sleep(&mut process, SECOND);
    process.world.fail(0, Fault::Stall(9 * SECOND));
    let (slow, began) = (Rc::clone(&volume), process.world.now());
    let reserved = Rc::new(Cell::new(None));
    let sink = Rc::clone(&reserved);
    let handle = process.runtime.handle().clone();
    handle.spawn(async move { sink.set(Some(slow.volume().reserve_ahead(500_000).await)) });
    sleep(&mut process, SECOND);
    process.close(&volume);
    assert!(process.world.now() - began > 9 * SECOND);
    assert_eq!(reserved.get(), Some(Ok(())));
    let operations = process.world.operations();
    sleep(&mut process, 100 * SECOND);
    assert_eq!((process.world.operations(), process.world.open_files().len()), (operations, 0));
}

#[test]
fn failed_sync_of_a_step_poisons_as_any_failed_flush_does() {
    let pool = pool(16 << 20);
    let (mut process, volume) = started(1000, &pool);
    put(&mut process, &volume, 0).unwrap();
    sleep(&mut process, 3 * SECOND);
    process.world.fail(1, Fault::Dropped);
    let own = Rc::clone(&volume);
    let failed = process.run(async move { own.volume().reserve_ahead(600_000).await });
    assert_eq!(failed, Err(IoError::Errno(EIO)));
    assert_eq!(volume.volume().write_state(), WriteState::Poisoned(IoError::Errno(EIO)));
    assert_eq!(put(&mut process, &volume, 1), Err(Refusal::Poisoned));
    assert_readable(&mut process, &volume, 0..1);
    process.close(&volume);
    assert_eq!(process.world.count(WRITE_AFTER_FAILURE), 0);
}

/// The operator's change and the end of the steps write the same superblock.
#[test]
fn state_change_and_end_of_the_steps_do_not_undo_each_other() {
    let pool = pool(16 << 20);
    let mut both = 0;
    for after in 0..12 {
        let (mut process, volume) = started(1000, &pool);
        let is_cleared = Rc::new(Cell::new(false));
        let seen = Rc::clone(&is_cleared);
        process.world.on_event(move |snapshot| {
            let is_in_a_copy = copies(&snapshot.image()).iter().any(|copy| copy.ro_compat == 0);
            seen.set(seen.get() || is_in_a_copy);
        });
        let ahead = Rc::clone(&volume);
        let handle = process.runtime.handle().clone();
        // The flag is cleared when all blocks are reserved.
        process.run(async move { ahead.volume().reserve_ahead(NEARLY_ALL).await }).unwrap();
        let own = Rc::clone(&volume);
        let set = process.run(async move {
            handle.sleep_until(handle.now() + after * 40_000).await;
            own.set_read_only(true).await
        });
        assert_eq!(set, Ok(()));
        sleep(&mut process, SECOND);
        let is_partial = volume.volume().is_partial();
        assert_eq!(is_partial, !is_cleared.get(), "after {after} steps of 40 us the flag is back");
        both += u64::from(!is_partial);
        let revision = 2 + u64::from(!is_partial);
        for copy in copies(&process.image()) {
            assert_eq!((copy.state, copy.revision), (SuperblockState::ReadOnly, revision));
            assert_eq!(copy.ro_compat != 0, is_partial);
        }
        let own = Rc::clone(&volume);
        process.run(async move { own.set_read_only(false).await }).unwrap();
        sleep(&mut process, SECOND);
        assert!(!volume.volume().is_partial(), "after {after} steps of 40 us");
        assert!(copies(&process.image()).iter().all(|copy| copy.state == SuperblockState::Live));
    }
    assert!(both > 0, "both changes were made");
}

#[test]
fn failed_write_of_the_cleared_flag_leaves_the_state_unknown_until_a_restart() {
    let pool = pool(16 << 20);
    for copy in 0..3 {
        let (mut process, volume) = started(1000, &pool);
        put(&mut process, &volume, 0).unwrap();
        sleep(&mut process, 3 * SECOND);
        // Before the copies the blocks are reserved and synced.
        process.world.fail(2 + copy, Fault::Errno(EIO));
        let own = Rc::clone(&volume);
        process.run(async move { own.volume().reserve_ahead(NEARLY_ALL).await }).unwrap();
        sleep(&mut process, SECOND);
        assert_eq!(volume.volume().write_state(), WriteState::StateUnknown(IoError::Errno(EIO)));
        assert_eq!(put(&mut process, &volume, 1), Err(Refusal::ReadOnly));
        let own = Rc::clone(&volume);
        let set = process.run(async move { own.set_read_only(true).await });
        assert_eq!(set, Err(StateError::Poisoned));
        assert_readable(&mut process, &volume, 0..1);
        let (mut process, volume) = restarted(2, &process.image(), 0, &pool);
        let filled = fill(&mut process, &volume, 1);
        sleep(&mut process, SECOND);
        assert_no_write_failed(&process, &volume);
        assert_readable(&mut process, &volume, 0..filled);
    }
}

#[test]
fn cleared_flag_waits_for_a_buffer() {
    let pool = pool(16 << 20);
    let (mut process, volume) = started(1000, &pool);
    let own = Rc::clone(&volume);
    let held: Vec<_> = std::iter::from_fn(|| pool.alloc(1)).collect();
    process.run(async move { own.volume().reserve_ahead(NEARLY_ALL).await }).unwrap();
    sleep(&mut process, 5 * SECOND);
    assert!(volume.volume().is_partial() && !volume.volume().poisoned());
    drop(held);
    sleep(&mut process, 2 * SECOND);
    assert!(!volume.volume().is_partial());
}

#[test]
fn inspection_of_a_partial_file_reserves_nothing() {
    let pool = pool(16 << 20);
    let (mut process, volume) = started(1000, &pool);
    put(&mut process, &volume, 0).unwrap();
    process.close(&volume);
    let image = process.image();
    let mut process = Process::start(2, &image, &pool);
    let handle = process.runtime.handle().clone();
    let opened =
        process.run(async move { volume::open_read_only(&handle, DirId(0), &identity()).await });
    let volume = Slot::new(opened.unwrap());
    assert!(
        volume.volume().damage().is_empty() && volume.volume().open_report().superblock.is_empty()
    );
    assert_readable(&mut process, &volume, 0..1);
    process.close(&volume);
    assert_eq!(allocated(&process.image()), allocated(&image));
}

#[test]
fn failed_creation_of_a_partial_file_leaves_none() {
    let pool = pool(16 << 20);
    let mut steps: Vec<&'static str> = Vec::new();
    for n in 0..20 {
        let mut process = Process::start(1, &Image::default(), &pool);
        process.world.fail(n, Fault::Errno(ENOSPC));
        if let Err((during, error)) = process.create_how(SIZE, Preallocation::InSteps) {
            assert_eq!(error, IoError::Errno(ENOSPC), "{during}");
            assert_eq!(process.world.names(), [""; 0], "{during}");
            steps.push(during);
        }
    }
    let reserve = ["set the length of the file", "reserve space for the file"];
    let reserve = [&["create the file"], &reserve[..], &["reserve space for the file"]].concat();
    let last = ["write the superblock"; 3];
    let end = ["sync the file", "name the file", "sync the directory"];
    assert_eq!(steps, [&reserve[..], &last, &end].concat());
    // Too little space for the first step.
    let mut process = Process::start(1, &Image::default(), &pool);
    process.world.set_capacity(blocks(LOG_START + STEP));
    let created = process.create_how(SIZE, Preallocation::InSteps);
    assert_eq!(created, Err(("reserve space for the file", IoError::Errno(ENOSPC))));
    assert_eq!(process.world.free_blocks(), blocks(LOG_START + STEP));
}

/// On a real file system, in a directory for tests.
#[test]
fn real_file_gets_its_blocks_in_steps() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let file = path.join(reserved_harness::FILE);
    let taken = move || std::fs::metadata(&file).unwrap().blocks() * 512;
    let region = Region::map(1, 16 << 20).unwrap();
    let ring = prepare(1, &region, Registration::Wanted).unwrap().pop().unwrap();
    let pool = hayloft::runtime::buffer::Pool::new(&region, 0);
    let options = RingOptions { device_in_flight: 8, buffered: true };
    let mut ring = Ring::start(ring, pool.clone(), Vec::new(), options).unwrap();
    let mut seed = 1;
    let mut runtime = Runtime::new(&ring, pool.clone(), move || split_mix(&mut seed));
    let handle = runtime.handle().clone();
    runtime.block_on(&mut ring, async move {
        handle.submit(Op::OpenDir { path }).await;
        let (how, new) = (Preallocation::InSteps, superblock(SIZE));
        volume::create(&handle, DirId(0), &new, how, |_| ()).await.unwrap();
        let first = LOG_START + STEP + TRAILER;
        assert!((first..SIZE / 2).contains(&taken()), "{} bytes of blocks", taken());
        let volume = Slot::new(volume::open(&handle, DirId(0), &identity()).await.unwrap());
        let mut key = 0;
        loop {
            let draft = common::draft(&pool, &bytes(key, BODY));
            match volume.put(id(key), COOKIE, draft, None).await {
                Ok(_) => key += 1,
                Err(refusal) => break assert_eq!(refusal, Refusal::Full),
            }
            let end = reserved_end(&volume);
            assert!(taken() >= end.min(tail(&volume) + BLOCK), "{} of {end}", taken());
        }
        handle.sleep_until(handle.now() + SECOND).await;
        assert!(!volume.volume().is_partial() && key > 60, "{key} bodies");
        assert!(taken() >= SIZE, "{} bytes of blocks", taken());
        volume.close().await;
        let again = Slot::new(volume::open(&handle, DirId(0), &identity()).await.unwrap());
        assert!(!again.volume().is_partial());
        assert_eq!(again.volume().figures().needles, key);
        again.close().await;
    });
}

#[test]
fn new_file_can_be_opened_on_a_full_disk() {
    let pool = pool(16 << 20);
    let (mut process, volume) = restarted(3, &created(&pool), 0, &pool);
    assert_eq!(process.world.count(NO_SPACE), 0, "the first step is reserved");
    put(&mut process, &volume, 0).unwrap();
    assert_no_write_failed(&process, &volume);
}

#[test]
fn step_that_fails_at_a_start_is_tried_again_after_a_pause() {
    let pool = pool(16 << 20);
    let (mut process, volume) = started(0, &pool);
    fill(&mut process, &volume, 0);
    let (mut process, _volume) = restarted(2, &process.image(), 0, &pool);
    let failed = process.world.count(NO_SPACE);
    assert!(failed > 0);
    sleep(&mut process, SECOND / 2);
    assert_eq!(process.world.count(NO_SPACE), failed);
    sleep(&mut process, SECOND);
    assert_eq!(process.world.count(NO_SPACE), failed + 1);
}
