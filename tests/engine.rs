//! The engine on the simulated disk: what it promises when nothing crashes, and on single faults.

mod common;

use common::{COOKIE, Process, bytes, draft, expected, pool};
use hayloft::sim::Fault;
use hayloft::sim::disk::Image;
use hayloft::types::{Cookie, NeedleId};
use hayloft::volume::{Expected, GetError, OpenError, Refusal};
use std::rc::Rc;

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
fn every_size_comes_back_whole_also_after_a_restart() {
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
    assert_eq!(volume.figures().needles, sizes.len() as u64);
    assert!(volume.damage().is_empty());
}

#[test]
fn ids_with_the_same_hash_do_not_mix() {
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
    assert!(volume.stats().false_candidates.get() > 0, "the hash has one bit: they did collide");
    assert_eq!(process.get(&volume, NeedleId::new(99, 0)), Err(GetError::NotFound));
}

#[test]
fn a_wrong_cookie_learns_and_changes_nothing() {
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
    let before = volume.stats().get_reads.get();
    process.get(&volume, NeedleId::new(1, 0)).unwrap();
    assert_eq!(volume.stats().get_reads.get() - before, 1);
    let mut missing = 0;
    for key in 2..100 {
        let before = volume.stats().get_reads.get();
        assert_eq!(process.get(&volume, NeedleId::new(key, 0)), Err(GetError::NotFound));
        missing += u64::from(volume.stats().get_reads.get() == before);
    }
    assert!(missing > 20, "with a hash of one bit about half of the misses collide");
}

#[test]
fn writes_that_come_together_share_a_commit() {
    let mut process = started();
    let volume = process.open().unwrap();
    let handle = process.runtime.handle().clone();
    let before = volume.stats().durable_writes.get();
    for n in 0..64 {
        let draft = draft(handle.pool(), &bytes(n, 4000));
        let volume = Rc::clone(&volume);
        handle.spawn(async move {
            volume.put(NeedleId::new(n, 0), COOKIE, draft, None).await.unwrap();
        });
    }
    process.put(&volume, NeedleId::new(64, 0), b"last").unwrap();
    let flushes = volume.stats().durable_writes.get() - before;
    assert!(flushes <= 3, "65 writes took {flushes} flushes");
    for n in 0..64 {
        assert_eq!(process.get(&volume, NeedleId::new(n, 0)).unwrap(), bytes(n, 4000));
    }
}

#[test]
fn writes_to_one_id_are_decided_in_the_order_they_came() {
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
    assert_eq!(volume.figures().needles, 1);
}

#[test]
fn a_failed_write_poisons_the_append_side_and_reads_go_on() {
    for fault in [Fault::Errno(EIO), Fault::Errno(28), Fault::Short(512), Fault::Short(0)] {
        let mut process = started();
        let volume = process.open().unwrap();
        process.put(&volume, A, b"before").unwrap();
        process.world.fail(0, fault);
        let failed = process.put(&volume, B, b"lost?").unwrap_err();
        assert!(matches!(failed, Refusal::Failed(_)), "{failed}");
        assert_eq!(process.put(&volume, B, b"again"), Err(Refusal::Poisoned));
        assert_eq!(process.delete(&volume, A), Err(Refusal::Poisoned));
        assert!(volume.poisoned());
        let writes = volume.stats().durable_writes.get();
        assert_eq!(process.get(&volume, A).unwrap(), b"before");
        process.close(&volume);
        assert_eq!(
            volume.stats().durable_writes.get(),
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
fn a_failed_hint_poisons_too() {
    let mut process = started();
    let volume = process.open().unwrap();
    process.put(&volume, A, b"before").unwrap();
    process.world.fail(0, Fault::Errno(EIO));
    let handle = process.runtime.handle().clone();
    process.run(async move { handle.sleep_until(handle.now() + 3_000_000_000).await });
    assert_eq!(process.put(&volume, B, b"x"), Err(Refusal::Poisoned));
}

#[test]
fn a_short_read_is_continued_and_a_failed_one_tried_once_more() {
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
fn a_full_volume_refuses_puts_and_still_takes_deletes() {
    let mut process = started();
    let volume = process.open().unwrap();
    let mut stored = 0;
    let refusal = loop {
        match process.put(&volume, NeedleId::new(stored, 0), &bytes(stored, 200_000)) {
            Ok(_) => stored += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, Refusal::Full);
    assert!(stored > 60);
    assert!(!volume.has_room_for(200_000));
    for n in 0..stored {
        process.delete(&volume, NeedleId::new(n, 0)).unwrap();
    }
    let mut restarted = Process::start(2, &process.image(), &pool(64 << 20));
    let volume = restarted.open().unwrap();
    assert_eq!(volume.figures().needles, 0);
    assert_eq!(volume.figures().live, 0);
}

#[test]
fn a_volume_without_memory_for_its_index_takes_no_new_ids_and_serves() {
    let mut process = started();
    let starved = Expected { segments_max: Some(0), ..expected() };
    let volume = process.open_as(starved).unwrap();
    // A dozen needs no table yet.
    for n in 0..12 {
        process.put(&volume, NeedleId::new(1000 + n, 0), &bytes(9, 10)).unwrap();
    }
    process.put(&volume, A, &bytes(1, 1000)).unwrap();
    assert_eq!(process.put(&volume, B, &bytes(2, 1000)).unwrap_err(), Refusal::Full);
    assert!(!volume.has_room_for(1));
    assert!(process.put(&volume, A, &bytes(3, 1000)).unwrap().replaced);
    assert_eq!(process.get(&volume, A).unwrap(), bytes(3, 1000));
    assert_eq!(process.get(&volume, B).unwrap_err(), GetError::NotFound);
    assert_eq!((volume.figures().needles, volume.figures().index_overflow), (13, 13));
    process.delete(&volume, A).unwrap();
    assert_eq!(process.put(&volume, A, &bytes(1, 1000)).unwrap_err(), Refusal::Full);
    process.close(&volume);

    let mut restarted = Process::start(2, &process.image(), &pool(64 << 20));
    let volume = restarted.open().unwrap();
    assert_eq!(volume.figures().needles, 12);
    restarted.put(&volume, B, &bytes(2, 1000)).unwrap();
}

#[test]
fn a_file_that_is_not_what_its_name_says_is_refused() {
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
    let missing = Process::start(2, &Image::default(), &pool(64 << 20)).open().err().unwrap();
    assert!(matches!(missing, OpenError::Io("open the file", _)));
}
