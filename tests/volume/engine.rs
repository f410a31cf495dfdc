//! The engine on the simulated disk: normal operation and single faults.

use std::cell::Cell;
use std::rc::Rc;

use hayloft::base::limits::{COMMIT_LEN_TARGET, HINT_INTERVAL};
use hayloft::base::types::{Cookie, NeedleId, VolumeId};
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{HINT_OFFSETS, TailHint, superblock_offsets};
use hayloft::volume::{
    Damage, Expected, GetError, IoError, NewNeedle, OpenError, Refusal, Superblock, SuperblockState,
};

use crate::common::{COOKIE, Process, bytes, draft, expected, pool, superblock};

const EIO: i32 = 5;
const A: NeedleId = NeedleId::new(1, 0);
const B: NeedleId = NeedleId::new(2, 0);
const ABSENT: NeedleId = NeedleId::new(3, 0);

fn started() -> Process {
    let mut process = Process::start(1, &Image::default(), &pool(64 << 20));
    process.create(16 << 20);
    process
}

#[test]
fn needles_of_every_size_read_back_also_after_restart() {
    let mut process = started();
    let volume = process.open().unwrap();
    let sizes = [0, 1, 100, 447, 448, 511, 512, 4095, 4096, 65_535, 65_536, 65_537, 1 << 20];
    for (n, &size) in sizes.iter().enumerate() {
        let id = NeedleId::new(n as u64, 7);
        let stored = process.put(&volume, id, &bytes(n as u64, size)).unwrap();
        assert!(!stored.replaced);
        assert_eq!(process.get(&volume, id).unwrap(), bytes(n as u64, size));
    }
    process.close(&volume);
    let mut restarted = Process::start(2, &process.image(), &pool(64 << 20));
    let volume = restarted.open().unwrap();
    for (n, &size) in sizes.iter().enumerate() {
        let id = NeedleId::new(n as u64, 7);
        assert_eq!(restarted.get(&volume, id).unwrap(), bytes(n as u64, size));
    }
    assert_eq!(volume.volume().figures().needles, sizes.len() as u64);
    assert!(volume.volume().damage().is_empty());
}

#[test]
fn ids_with_equal_hashes_are_kept_apart() {
    let mut process = started();
    let volume = process.open().unwrap();
    for n in 0..20 {
        process.put(&volume, NeedleId::new(n, 0), &bytes(n, 100)).unwrap();
    }
    assert!(process.put(&volume, NeedleId::new(5, 0), b"new").unwrap().replaced);
    process.delete(&volume, NeedleId::new(6, 0)).unwrap();
    for n in 0..20 {
        let got = process.get(&volume, NeedleId::new(n, 0));
        match n {
            5 => assert_eq!(got.unwrap(), b"new"),
            6 => assert_eq!(got, Err(GetError::NotFound)),
            _ => assert_eq!(got.unwrap(), bytes(n, 100)),
        }
    }
    assert!(
        volume.volume().stats().false_candidates.get() > 0,
        "with a hash of one bit some ids collide"
    );
    assert_eq!(process.get(&volume, NeedleId::new(99, 0)), Err(GetError::NotFound));
}

#[test]
fn wrong_cookie_reveals_and_changes_nothing() {
    let mut process = started();
    let volume = process.open().unwrap();
    process.put(&volume, A, b"mine").unwrap();
    let wrong = Cookie(COOKIE.0 ^ 1);
    assert_eq!(process.get_as(&volume, A, wrong), Err(GetError::NotFound));
    let draft = draft(process.runtime.handle().pool(), b"theirs");
    let (put, delete) = (Rc::clone(&volume), Rc::clone(&volume));
    let refused = process.run(async move { put.put(A, wrong, draft, None).await });
    assert_eq!(refused, Err(Refusal::Conflict));
    let refused = process.run(async move { delete.delete(A, wrong, None).await });
    assert_eq!(refused, Err(Refusal::NotFound));
    assert_eq!(process.delete(&volume, ABSENT), Err(Refusal::NotFound));
    assert_eq!(process.get(&volume, A).unwrap(), b"mine");
}

#[test]
fn a_get_is_one_device_read_and_a_miss_none() {
    let mut process = started();
    let volume = process.open().unwrap();
    process.put(&volume, NeedleId::new(1, 0), &bytes(1, 1 << 20)).unwrap();
    let before = volume.volume().stats().get_reads.get();
    process.get(&volume, NeedleId::new(1, 0)).unwrap();
    assert_eq!(volume.volume().stats().get_reads.get() - before, 1);
    let mut missing = 0;
    for key in 2..100 {
        let before = volume.volume().stats().get_reads.get();
        assert_eq!(process.get(&volume, NeedleId::new(key, 0)), Err(GetError::NotFound));
        missing += u64::from(volume.volume().stats().get_reads.get() == before);
    }
    assert!(missing > 20, "with a hash of one bit about half of the misses collide");
}

/// A HEAD reads the front of a needle, which is not counted as a read for GETs.
#[test]
fn reads_are_counted_by_purpose_and_length() {
    let mut process = started();
    let volume = process.open().unwrap();
    process.put(&volume, A, &bytes(1, 100_000)).unwrap();
    let counts = || {
        let volume = volume.volume();
        let stats = volume.stats();
        (stats.get_reads.get(), stats.get_read_bytes.get(), stats.other_reads.get())
    };
    let before = counts();
    process.get(&volume, A).unwrap();
    let after = counts();
    let len = volume.volume().figures().live;
    assert_eq!(after, (before.0 + 1, before.1 + len, before.2));
    let (reader, pool) = (Rc::clone(&volume), process.runtime.handle().pool().clone());
    let head = process.run(async move {
        let mut lens = Vec::new();
        let found = reader.head(A, COOKIE, |len| {
            lens.push(len);
            pool.alloc(len)
        });
        let found = found.await.unwrap();
        (found.body_len, found.data.is_empty(), lens)
    });
    let front: usize = 128 + 4096 + 128;
    assert_eq!(head, (100_000, true, vec![1024 + front.next_multiple_of(512)]));
    assert_eq!(counts(), (after.0, after.1, after.2 + 1));
}

/// A read that meets another needle of the same hash uses its buffer again, if that is long enough.
#[test]
fn a_buffer_is_used_again_for_an_older_needle_that_fits() {
    // With 2700 bytes and the space for a head, it takes up all of a page.
    for (older, newer, buffers) in
        [(100, 20_000, 1), (20_000, 100, 2), (100, 100, 1), (2700, 2700, 1)]
    {
        let mut process = started();
        let volume = process.open_as(Expected { hash_bits: Some(0), ..expected() }).unwrap();
        process.put(&volume, A, &bytes(1, older)).unwrap();
        process.put(&volume, B, &bytes(2, newer)).unwrap();
        let before = volume.volume().stats().false_candidates.get();
        let (reader, pool) = (Rc::clone(&volume), process.runtime.handle().pool().clone());
        let asked = process.run(async move {
            let mut asked = 0;
            let found = reader.get(A, COOKIE, |len| {
                asked += 1;
                pool.alloc(len)
            });
            let found = found.await.unwrap();
            assert_eq!(found.buf[found.data.clone()], bytes(1, older));
            asked
        });
        assert_eq!(asked, buffers, "{older} bytes behind {newer}");
        assert_eq!(volume.volume().stats().false_candidates.get(), before + 1);
    }
}

/// Needles that are close together are read with one read, also with small dead ranges in between.
#[test]
fn walk_reads_neighbours_together_and_no_long_dead_ranges() {
    let mut process = started();
    let volume = process.open().unwrap();
    let id = |n| NeedleId::new(n, 0);
    for (n, len) in [(1, 100), (2, 30_000), (3, 100), (4, 200_000), (5, 100), (6, 100)] {
        process.put(&volume, id(n), &bytes(n, len)).unwrap();
    }
    process.delete(&volume, id(2)).unwrap();
    process.delete(&volume, id(4)).unwrap();
    let (walked, pool) = (Rc::clone(&volume), process.runtime.handle().pool().clone());
    let before = volume.volume().stats().other_reads.get();
    let found = process.run(async move {
        let mut walk = walked.volume().walk().unwrap();
        let (mut found, mut reads) = (Vec::new(), Vec::new());
        while let Some(len) = walk.buffer_len() {
            found.push(walk.next(pool.alloc(len).unwrap()).await.unwrap().id);
            reads.push(walked.volume().stats().other_reads.get() - before);
        }
        (found, reads)
    });
    assert_eq!(found, ([1, 3, 5, 6].map(id).to_vec(), vec![1, 1, 2, 2]));
}

#[test]
fn walk_reports_a_needle_that_cannot_be_read_and_returns_its_neighbours() {
    let mut process = started();
    let volume = process.open().unwrap();
    let id = |n| NeedleId::new(n, 0);
    for n in 1..5 {
        process.put(&volume, id(n), &bytes(n, 3000)).unwrap();
    }
    let (walked, pool) = (Rc::clone(&volume), process.runtime.handle().pool().clone());
    let places = volume.volume().walk().unwrap().places().to_vec();
    // A sector of the data of the second needle.
    process.world.spoil("1.0.vol", usize::try_from(places[1].offset / 512).unwrap() + 3);
    let found = process.run(async move {
        let mut walk = walked.volume().walk().unwrap();
        let mut found = Vec::new();
        while let Some(len) = walk.buffer_len() {
            let next = walk.next(pool.alloc(len).unwrap()).await;
            found
                .push(next.map(|needle| needle.id).map_err(|damaged| (damaged.id, damaged.damage)));
        }
        found
    });
    let damaged = Err((Some(id(2)), Damage::Io(IoError::Errno(EIO))));
    assert_eq!(found, [Ok(id(1)), damaged, Ok(id(3)), Ok(id(4))]);
}

#[test]
fn concurrent_writes_share_a_commit() {
    let mut process = started();
    let volume = process.open().unwrap();
    let handle = process.runtime.handle().clone();
    let before = volume.volume().stats().durable_writes.get();
    for n in 0..64 {
        let draft = draft(handle.pool(), &bytes(n, 4000));
        let volume = Rc::clone(&volume);
        handle.spawn(async move {
            volume.put(NeedleId::new(n, 0), COOKIE, draft, None).await.unwrap();
        });
    }
    process.put(&volume, NeedleId::new(64, 0), b"last").unwrap();
    let flushes = volume.volume().stats().durable_writes.get() - before;
    assert!(flushes <= 3, "65 writes took {flushes} flushes");
    for n in 0..64 {
        assert_eq!(process.get(&volume, NeedleId::new(n, 0)).unwrap(), bytes(n, 4000));
    }
}

#[test]
fn writes_to_one_id_are_applied_in_arrival_order() {
    let mut process = started();
    let volume = process.open().unwrap();
    let handle = process.runtime.handle().clone();
    let order = Rc::new(std::cell::RefCell::new(Vec::new()));
    for n in 0..10u64 {
        let draft = draft(handle.pool(), &bytes(n, 100));
        let (volume, order) = (Rc::clone(&volume), Rc::clone(&order));
        handle.spawn(async move {
            let stored = volume.put(A, COOKIE, draft, None).await.unwrap();
            assert_eq!(stored.replaced, n > 0);
            order.borrow_mut().push(n);
        });
    }
    process.put(&volume, A, b"last").unwrap();
    assert_eq!(*order.borrow(), (0..10).collect::<Vec<_>>());
    assert_eq!(process.get(&volume, A).unwrap(), b"last");
    assert_eq!(volume.volume().figures().needles, 1);
}

#[test]
fn failed_write_poisons_volume_but_reads_continue() {
    for fault in [Fault::Errno(EIO), Fault::Errno(28), Fault::Short(512), Fault::Short(0)] {
        let mut process = started();
        let volume = process.open().unwrap();
        process.put(&volume, A, b"before").unwrap();
        process.world.fail(0, fault);
        let failed = process.put(&volume, B, b"lost?").unwrap_err();
        assert!(matches!(failed, Refusal::Failed(_)), "{failed}");
        assert_eq!(process.put(&volume, B, b"again"), Err(Refusal::Poisoned));
        assert_eq!(process.delete(&volume, A), Err(Refusal::Poisoned));
        assert!(volume.volume().poisoned());
        let writes = volume.volume().stats().durable_writes.get();
        assert_eq!(process.get(&volume, A).unwrap(), b"before");
        process.close(&volume);
        assert_eq!(
            volume.volume().stats().durable_writes.get(),
            writes,
            "nothing is written after a failure"
        );
        let mut restarted = Process::start(2, &process.image(), &pool(64 << 20));
        let volume = restarted.open().unwrap();
        assert_eq!(restarted.get(&volume, A).unwrap(), b"before");
        restarted.put(&volume, B, b"works again").unwrap();
    }
}

#[test]
fn failed_tail_hint_poisons_volume() {
    let mut process = started();
    let volume = process.open().unwrap();
    process.put(&volume, A, b"before").unwrap();
    process.world.fail(0, Fault::Errno(EIO));
    let handle = process.runtime.handle().clone();
    process.run(async move { handle.sleep_until(handle.now() + 3_000_000_000).await });
    assert_eq!(process.put(&volume, B, b"x"), Err(Refusal::Poisoned));
}

#[test]
fn short_read_is_continued_and_failed_read_retried_once() {
    let mut process = started();
    let volume = process.open().unwrap();
    process.put(&volume, A, &bytes(1, 10_000)).unwrap();
    process.world.fail(0, Fault::Short(700));
    assert_eq!(process.get(&volume, A).unwrap(), bytes(1, 10_000));
    process.world.fail(0, Fault::Errno(EIO));
    assert_eq!(process.get(&volume, A).unwrap(), bytes(1, 10_000));
    process.world.fail(0, Fault::Errno(EIO));
    process.world.fail(1, Fault::Errno(EIO));
    assert!(matches!(process.get(&volume, A), Err(GetError::Unreadable(..))));
    process.world.fail(0, Fault::Short(0));
    assert!(matches!(process.get(&volume, A), Err(GetError::Unreadable(..))));
}

#[test]
fn full_volume_refuses_puts_but_accepts_deletes() {
    let mut process = started();
    let volume = process.open().unwrap();
    let mut stored = 0;
    let refusal = loop {
        // Full means no space for the longest needle.
        assert_eq!(volume.volume().is_full(), !volume.volume().has_space_for(1 << 20), "{stored}");
        match process.put(&volume, NeedleId::new(stored, 0), &bytes(stored, 200_000)) {
            Ok(_) => stored += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, Refusal::Full);
    assert!(stored > 60 && volume.volume().is_full());
    assert!(!volume.volume().has_space_for(200_000));
    for n in 0..stored {
        process.delete(&volume, NeedleId::new(n, 0)).unwrap();
    }
    let mut restarted = Process::start(2, &process.image(), &pool(64 << 20));
    let volume = restarted.open().unwrap();
    assert_eq!(volume.volume().figures().needles, 0);
    assert_eq!(volume.volume().figures().live, 0);
}

#[test]
fn full_index_refuses_new_ids_but_serves_existing_ones() {
    let mut process = started();
    let starved = Expected { segments_max: Some(0), ..expected() };
    let volume = process.open_as(starved).unwrap();
    // A dozen entries need no table yet.
    for n in 0..12 {
        process.put(&volume, NeedleId::new(1000 + n, 0), &bytes(9, 10)).unwrap();
    }
    process.put(&volume, A, &bytes(1, 1000)).unwrap();
    assert_eq!(process.put(&volume, B, &bytes(2, 1000)).unwrap_err(), Refusal::Full);
    assert!(!volume.volume().has_space_for(1));
    let (asking, buffers) = (Rc::clone(&volume), process.runtime.handle().pool().clone());
    process.run(async move {
        assert_eq!(asking.may_put(B, COOKIE, None).await, Err(Refusal::Full));
        assert_eq!(asking.may_put(A, COOKIE, None).await, Ok(()));
        let new = |id| NewNeedle { id, cookie: COOKIE, draft: draft(&buffers, b"x") };
        let full = Some(Refusal::Full);
        for (ids, refusal) in [(vec![A, B], full), (vec![B], full), (vec![A], None)] {
            let needles = ids.into_iter().map(&new).collect();
            assert_eq!(asking.put_batch(needles, None).await.err(), refusal);
        }
    });
    assert!(process.put(&volume, A, &bytes(3, 1000)).unwrap().replaced);
    assert_eq!(process.get(&volume, A).unwrap(), bytes(3, 1000));
    assert_eq!(process.get(&volume, B).unwrap_err(), GetError::NotFound);
    assert_eq!(
        (volume.volume().figures().needles, volume.volume().figures().index_overflow),
        (13, 13)
    );
    process.delete(&volume, A).unwrap();
    assert_eq!(process.put(&volume, A, &bytes(1, 1000)).unwrap_err(), Refusal::Full);
    process.close(&volume);

    let mut restarted = Process::start(2, &process.image(), &pool(64 << 20));
    let volume = restarted.open().unwrap();
    assert_eq!(volume.volume().figures().needles, 12);
    restarted.put(&volume, B, &bytes(2, 1000)).unwrap();
}

#[test]
fn volume_file_with_wrong_identity_is_refused() {
    let mut process = started();
    let volume = process.open().unwrap();
    process.close(&volume);
    let image = process.image();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut image = image.clone();
        image.edit("1.0.vol", change);
        Process::start(2, &image, &pool(64 << 20)).open().err().unwrap()
    };
    assert!(matches!(changed(&|f| f.truncate(8 << 20)), OpenError::WrongLength { .. }));
    assert!(matches!(changed(&|f| f.truncate(100)), OpenError::Superblock(_)));
    assert!(matches!(changed(&|f| f.fill(0)), OpenError::Superblock(_)));
    let as_another = |expected: Expected| {
        let mut process = Process::start(2, &image, &pool(64 << 20));
        let refused = process.open_as(expected).err().unwrap();
        assert_eq!((process.world.open_files().len(), process.image() == image), (0, true));
        refused
    };
    let volume = as_another(Expected { volume: VolumeId(2), ..expected() });
    assert!(matches!(volume, OpenError::Io("open the file", _)), "by its name: {volume}");
    // Renamed to another volume or generation.
    let renamed = |name: &str, expected: Expected| {
        let mut image = image.clone();
        let file = image.files.remove("1.0.vol").unwrap();
        image.files.insert(name.to_owned(), file);
        Process::start(2, &image, &pool(64 << 20)).open_as(expected).err().unwrap()
    };
    let other = renamed("2.0.vol", Expected { volume: VolumeId(2), ..expected() });
    assert!(matches!(other, OpenError::WrongVolume { found: VolumeId(1), .. }), "{other}");
    let other = renamed("1.3.vol", Expected { generation: 3, ..expected() });
    assert!(matches!(other, OpenError::WrongGeneration { found: 0, named: 3 }), "{other}");
    let other = as_another(Expected { store: *b"another director", ..expected() });
    assert!(matches!(other, OpenError::WrongStore { .. }), "{other}");
    let building = changed(&|f| {
        let state = SuperblockState::Building;
        let superblock = Superblock { state, revision: 9, ..superblock(16 << 20) };
        superblock_offsets(16 << 20).into_iter().for_each(|at| {
            superblock.encode(&mut f[usize::try_from(at).unwrap()..]);
        });
    });
    assert!(matches!(building, OpenError::Building), "{building}");
    let missing = Process::start(2, &Image::default(), &pool(64 << 20)).open().err().unwrap();
    assert!(matches!(missing, OpenError::Io("open the file", _)));
}

/// The newest tail hint in the file.
fn hint(image: &Image, size: u64) -> TailHint {
    let (file, incarnation) = (&image.files["1.0.vol"], superblock(size).incarnation);
    let hints = HINT_OFFSETS.into_iter().filter_map(|at| {
        let mut block = [0; 4096];
        file.read(usize::try_from(at).unwrap(), &mut block);
        TailHint::decode(&block, incarnation, at, size - 4096)
    });
    hints.max_by_key(|hint| hint.number).expect("a hint")
}

/// A log that is never idle needs tail hints, too.
#[test]
fn busy_volume_writes_tail_hint_after_interval() {
    const SIZE: u64 = 100 << 20;
    let mut process = Process::start(1, &Image::default(), &pool(16 << 20));
    process.create(SIZE);
    let volume = process.open().unwrap();
    let before = volume.volume().stats().hints.get();
    let data = bytes(1, 1 << 20);
    let mut key = 0;
    while volume.volume().figures().used < 66 << 20 {
        assert!(
            volume.volume().stats().hints.get() == before
                || volume.volume().figures().used > HINT_INTERVAL
        );
        process.put(&volume, NeedleId::new(key, 0), &data).unwrap();
        key += 1;
    }
    assert_eq!(volume.volume().stats().hints.get(), before + 1);
    let hint = hint(&process.image(), SIZE);
    assert!(hint.tail > HINT_INTERVAL && !hint.clean, "{hint:?}");
}

/// An idle volume is not written to; only the end of the process marks the tail hint clean.
#[test]
fn idle_volume_writes_one_unclean_tail_hint() {
    let mut process = started();
    let volume = process.open().unwrap();
    process.put(&volume, A, b"there").unwrap();
    let idle = |process: &mut Process| {
        let handle = process.runtime.handle().clone();
        process.run(async move { handle.sleep_until(handle.now() + 60_000_000_000).await });
    };
    idle(&mut process);
    let (hints, operations) = (volume.volume().stats().hints.get(), process.world.operations());
    assert_eq!(hints, 2, "at the start, and after the write");
    let size = volume.volume().figures().size;
    let last = hint(&process.image(), size);
    assert!(!last.clean && last.tail == volume.volume().figures().used - 4096, "{last:?}");
    idle(&mut process);
    assert_eq!(
        (volume.volume().stats().hints.get(), process.world.operations()),
        (hints, operations)
    );
    process.close(&volume);
    let clean = hint(&process.image(), size);
    assert!(clean.clean && clean.number == last.number + 1, "{clean:?}");
}

/// Writes that wait together are split into commits of at most as many needles as a reader accepts.
#[test]
fn commit_holds_no_more_needles_than_recovery_accepts() {
    let mut process = started();
    let volume = process.open_as(Expected { hash_bits: None, ..expected() }).unwrap();
    let handle = process.runtime.handle().clone();
    // The other writes queue while the first commit stalls.
    process.world.fail(0, Fault::Stall(1_000_000_000));
    let left = Rc::new(Cell::new(0));
    for n in 0..2500_u64 {
        left.set(left.get() + 1);
        let (draft, volume) = (draft(handle.pool(), b"small"), Rc::clone(&volume));
        let (left, task) = (Rc::clone(&left), handle.clone());
        handle.spawn(async move {
            if n > 0 {
                task.sleep_until(task.now() + 100_000_000).await;
            }
            volume.put(NeedleId::new(n, 0), COOKIE, draft, None).await.unwrap();
            left.set(left.get() - 1);
        });
    }
    let waiting = Rc::clone(&left);
    process.run(async move {
        let deadline = handle.now() + 60_000_000_000;
        while waiting.get() > 0 {
            assert!(handle.now() < deadline, "{} writers wait forever", waiting.get());
            handle.sleep_until(handle.now() + 10_000_000).await;
        }
    });
    assert_eq!(volume.volume().stats().commits.get(), 4, "1, 1000, 1000 and the rest");
    let mut restarted = Process::start(2, &process.image(), &pool(64 << 20));
    let volume = restarted.open_as(Expected { hash_bits: None, ..expected() }).unwrap();
    assert_eq!((volume.volume().figures().needles, volume.volume().damage().len()), (2500, 0));
}

/// Long needles that wait together go into several commits, none longer than a reader accepts.
#[test]
fn commit_is_no_longer_than_its_target() {
    let mut process = Process::start(1, &Image::default(), &pool(128 << 20));
    process.create(128 << 20);
    let volume = process.open_as(Expected { hash_bits: None, ..expected() }).unwrap();
    let handle = process.runtime.handle().clone();
    process.world.fail(0, Fault::Stall(1_000_000_000));
    let data = bytes(7, 1 << 20);
    for n in 0..60_u64 {
        let (draft, volume) = (draft(handle.pool(), &data), Rc::clone(&volume));
        handle.spawn(async move {
            volume.put(NeedleId::new(n, 0), COOKIE, draft, None).await.unwrap();
        });
    }
    process.put(&volume, NeedleId::new(60, 0), b"last").unwrap();
    let (commits, len) =
        (volume.volume().stats().commits.get(), volume.volume().stats().commit_bytes.get());
    assert!(commits >= len / COMMIT_LEN_TARGET, "{commits} commits of {len} bytes");
    assert_eq!(volume.volume().figures().needles, 61);
}

/// A needle replaced while a reader examines others of the same hash is still found.
#[test]
fn get_finds_a_needle_replaced_while_it_searches() {
    let mut reads = 0;
    for seed in 1..30 {
        let mut process = Process::start(seed, &Image::default(), &pool(64 << 20));
        process.create(16 << 20);
        process.runtime.shuffle(seed);
        let volume = process.open_as(Expected { hash_bits: Some(0), ..expected() }).unwrap();
        for key in 0..6 {
            process.put(&volume, NeedleId::new(key, 0), &bytes(key, 300)).unwrap();
        }
        let (handle, is_done) = (process.runtime.handle().clone(), Rc::new(Cell::new(false)));
        let (writer, task, done) = (Rc::clone(&volume), handle.clone(), Rc::clone(&is_done));
        handle.spawn(async move {
            let id = NeedleId::new(0, 0);
            for n in 0..60 {
                let draft = draft(task.pool(), &bytes(n, 300));
                writer.put(id, COOKIE, draft, None).await.unwrap();
            }
            done.set(true);
        });
        let reader = Rc::clone(&volume);
        reads += process.run(async move {
            let mut reads = 0;
            while !is_done.get() {
                let got =
                    reader.get(NeedleId::new(0, 0), COOKIE, |len| handle.pool().alloc(len)).await;
                assert!(got.is_ok(), "seed {seed}: the needle existed all the time");
                reads += 1;
            }
            reads
        });
    }
    assert!(reads > 500, "{reads}");
}

/// A failed write fails all needles that wait for later commits, however many there are.
#[test]
fn failed_write_fails_all_waiting_writers() {
    const WRITERS: u64 = 2500;
    let mut process = started();
    let volume = process.open_as(Expected { hash_bits: None, ..expected() }).unwrap();
    process.world.fail(0, Fault::Errno(EIO));
    let (handle, failures) = (process.runtime.handle().clone(), Rc::new(Cell::new(0)));
    for n in 0..WRITERS {
        let (draft, volume, failures) =
            (draft(handle.pool(), b"x"), Rc::clone(&volume), Rc::clone(&failures));
        handle.spawn(async move {
            let put = volume.put(NeedleId::new(n, 0), COOKIE, draft, None).await;
            assert!(matches!(put, Err(Refusal::Failed(_))), "{n}: {put:?}");
            failures.set(failures.get() + 1);
        });
    }
    process.run(async move {
        let deadline = handle.now() + 60_000_000_000;
        while failures.get() < WRITERS {
            assert!(
                handle.now() < deadline,
                "only {} of {WRITERS} writers got an error",
                failures.get()
            );
            handle.sleep_until(handle.now() + 10_000_000).await;
        }
    });
    assert_eq!((volume.volume().stats().commits.get(), volume.volume().figures().needles), (0, 0));
}

/// RFC 9110 section 8.8.2.1: a modification time in the future is replaced by the current time.
#[test]
fn future_modification_time_becomes_the_present() {
    let mut process = started();
    let volume = process.open().unwrap();
    let (handle, storing) = (process.runtime.handle().clone(), Rc::clone(&volume));
    process.run(async move {
        for (stated, is_past) in [(Some(5), true), (Some(u64::MAX), false), (None, false)] {
            let before = handle.wall();
            let draft = draft(handle.pool(), b"photo").modified(stated);
            let stored = storing.put(A, COOKIE, draft, None).await.unwrap();
            let now = before..=handle.wall();
            let kept = storing.get(A, COOKIE, |len| handle.pool().alloc(len)).await.unwrap();
            assert_eq!(stored.modified_ns, kept.modified_ns);
            assert!(if is_past { kept.modified_ns == 5 } else { now.contains(&kept.modified_ns) });
        }
    });
}
