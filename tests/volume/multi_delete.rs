//! Multi-deletes of a volume: which photos they delete, with one commit, all or none.

use std::cell::Cell;
use std::rc::Rc;

use hayloft::base::limits::{BLOCK, DELETES_MAX, LOG_START, UNIT};
use hayloft::base::types::{Cookie, NeedleId};
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::{Fault, World};
use hayloft::volume::{Existing, GetError, NewNeedle, Refusal, Slot};

use crate::common::{COOKIE, Process, bytes, draft, pool};

const EIO: i32 = 5;
const WRONG: Cookie = Cookie(COOKIE.0 ^ 1);
const SIZE: u64 = 16 << 20;
/// Length of a tombstone in the log (bytes).
const TOMBSTONE: u64 = 2 * UNIT;

const fn id(n: u64) -> NeedleId {
    NeedleId::new(n, 0)
}

fn started() -> (Process, Rc<Slot>) {
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    process.create(SIZE);
    let volume = process.open().unwrap();
    (process, volume)
}

/// A volume with objects under these keys.
fn with_objects(keys: std::ops::Range<u64>) -> (Process, Rc<Slot>) {
    let (mut process, volume) = started();
    let (storing, pool) = (Rc::clone(&volume), process.runtime.handle().pool().clone());
    let needles =
        keys.map(|n| NewNeedle { id: id(n), cookie: COOKIE, draft: draft(&pool, &bytes(n, 300)) });
    let needles: Vec<NewNeedle> = needles.collect();
    process.run(async move { storing.put_batch(needles, None).await }).unwrap();
    (process, volume)
}

fn restarted(image: &Image) -> (Process, Rc<Slot>) {
    let mut process = Process::start(2, image, &pool(32 << 20));
    let volume = process.open().unwrap();
    (process, volume)
}

fn named(keys: impl IntoIterator<Item = u64>) -> Vec<(NeedleId, Cookie)> {
    keys.into_iter().map(|n| (id(n), COOKIE)).collect()
}

type Condition = fn(Option<&Existing>) -> bool;

impl Process {
    fn delete_all(
        &mut self,
        volume: &Rc<Slot>,
        needles: Vec<(NeedleId, Cookie)>,
        check: Option<Condition>,
    ) -> Result<Vec<bool>, Refusal> {
        let volume = Rc::clone(volume);
        self.run(async move {
            match check {
                Some(check) => volume.delete_all(&needles, Some(&check)).await,
                None => volume.delete_all(&needles, None).await,
            }
        })
    }
}

fn commits(volume: &Slot) -> (u64, u64) {
    let volume = volume.volume();
    let stats = volume.stats();
    (stats.commits.get(), stats.commit_needles.get())
}

#[test]
fn existing_photos_are_deleted_with_one_commit() {
    let (mut process, volume) = with_objects(0..10);
    process.put_large(&volume, id(20), &bytes(20, 1_500_000), &[700_000]).unwrap();
    let before = commits(&volume);
    // Absent, with another cookie, in no order.
    let mut needles = named([7, 99, 20, 3]);
    needles.push((id(5), WRONG));
    let deleted = process.delete_all(&volume, needles.clone(), None);
    assert_eq!(deleted, Ok(vec![true, false, true, true, false]));
    let after = commits(&volume);
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 3));
    assert_eq!(process.delete_all(&volume, needles, None), Ok(vec![false; 5]));
    assert_eq!(commits(&volume), after, "nothing is written for what is not there");
    let figures = volume.volume().figures();
    assert_eq!(figures.needles, 8);
    let (mut process, volume) = restarted(&process.image());
    assert_eq!(volume.volume().figures().live, figures.live);
    for n in 0..10 {
        let got = process.get(&volume, id(n));
        match n {
            3 | 7 => assert_eq!(got, Err(GetError::NotFound)),
            _ => assert_eq!(got, Ok(bytes(n, 300))),
        }
    }
    assert_eq!(process.get(&volume, id(20)), Err(GetError::NotFound));
    volume.expect_rest();
}

#[test]
fn nothing_is_written_for_no_photo() {
    let (mut process, volume) = started();
    assert_eq!(process.delete_all(&volume, Vec::new(), None), Ok(Vec::new()));
    assert_eq!(volume.volume().stats().commits.get(), 0);
}

#[test]
fn largest_multi_delete_is_one_commit() {
    let (mut process, volume) = with_objects(0..DELETES_MAX as u64);
    let before = commits(&volume);
    let deleted = process.delete_all(&volume, named(0..DELETES_MAX as u64), None).unwrap();
    assert!(deleted.iter().all(|deleted| *deleted) && deleted.len() == DELETES_MAX);
    let after = commits(&volume);
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, DELETES_MAX as u64));
    let (_, volume) = restarted(&process.image());
    assert_eq!((volume.volume().figures().needles, volume.volume().damage().len()), (0, 0));
}

#[test]
fn condition_must_hold_for_each_existing_photo() {
    let (mut process, volume) = with_objects(1..4);
    process.put(&volume, id(2), b"another").unwrap();
    let before = volume.volume().figures();
    let is_first: Condition = |there| {
        let tags = [1, 3].map(|n| xxhash_rust::xxh3::xxh3_64(&bytes(n, 300)));
        there.is_some_and(|there| tags.contains(&there.etag))
    };
    for order in [[2, 1, 9], [9, 1, 2], [1, 2, 9]] {
        let refused = process.delete_all(&volume, named(order), Some(is_first));
        assert_eq!(refused, Err(Refusal::Precondition));
    }
    assert_eq!(volume.volume().figures(), before, "nothing was written");
    // What does not exist is not found, whatever the condition says.
    let deleted = process.delete_all(&volume, named([9, 3, 1]), Some(is_first));
    assert_eq!(deleted, Ok(vec![false, true, true]));
    assert_eq!(process.get(&volume, id(2)).unwrap(), b"another");
}

#[test]
fn photo_that_cannot_be_read_refuses_the_multi_delete() {
    let (mut process, volume) = with_objects(1..5);
    // Header and footer of the third needle: each is two sectors long, behind the record of their commit.
    let first = usize::try_from((LOG_START + UNIT) / UNIT).unwrap();
    for sector in first + 4..first + 6 {
        process.world.spoil("1.0.vol", sector);
    }
    let before = volume.volume().figures();
    for check in [None, Some((|_| false) as Condition)] {
        let refused = process.delete_all(&volume, named([1, 3, 4]), check);
        assert_eq!(refused, Err(Refusal::Unreadable(id(3))));
    }
    assert_eq!(volume.volume().figures(), before, "nothing was written");
    assert_eq!(process.delete_all(&volume, named([1, 4]), None), Ok(vec![true; 2]));
}

#[test]
fn failed_write_deletes_nothing_of_a_multi_delete() {
    for fault in [Fault::Errno(EIO), Fault::Short(2048)] {
        let mut failed = 0;
        // One of the first operations is the write, the others are reads.
        for n in 0..8 {
            let (mut process, volume) = with_objects(1..4);
            process.world.fail(n, fault);
            match process.delete_all(&volume, named(1..4), None) {
                // A failed read is tried once more.
                Ok(existed) => {
                    assert_eq!(existed, [true; 3]);
                    continue;
                }
                Err(refusal) => assert!(matches!(refusal, Refusal::Failed(_)), "{refusal:?}"),
            }
            failed += 1;
            for n in 1..4 {
                assert_eq!(process.get(&volume, id(n)), Ok(bytes(n, 300)), "not deleted yet");
            }
            let again = process.delete_all(&volume, named(1..4), None);
            assert_eq!(again, Err(Refusal::Poisoned));
            // The short write had stored the first of the three tombstones completely.
            let (mut process, volume) = restarted(&process.image());
            for n in 1..4 {
                assert_eq!(process.get(&volume, id(n)), Ok(bytes(n, 300)));
            }
            assert!(volume.volume().damage().is_empty());
        }
        assert_eq!(failed, 1, "{fault:?}");
    }
}

#[test]
fn multi_deletes_of_the_same_photos_do_not_deadlock() {
    for seed in 0..30 {
        let (mut process, volume) = with_objects(1..5);
        process.runtime.shuffle(seed);
        let handle = process.runtime.handle().clone();
        let (done, deleted) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        for order in [[1, 2, 3, 4], [4, 3, 2, 1], [3, 1, 4, 2]] {
            let (volume, done, deleted) =
                (Rc::clone(&volume), Rc::clone(&done), Rc::clone(&deleted));
            handle.spawn(async move {
                let existed = volume.delete_all(&named(order), None).await.unwrap();
                done.set(done.get() + 1);
                deleted.set(deleted.get() + existed.iter().filter(|existed| **existed).count());
            });
        }
        process.run(async move { handle.sleep_until(handle.now() + 5_000_000).await });
        assert_eq!((done.get(), deleted.get()), (3, 4), "each is deleted once");
        assert_eq!(volume.volume().figures().needles, 0);
        volume.expect_rest();
    }
}

/// The answer about a photo waits for a write to it that is under way.
#[test]
fn photo_that_is_being_stored_is_deleted_when_it_is_stored() {
    let (mut process, volume) = with_objects(1..2);
    let (handle, pool) =
        (process.runtime.handle().clone(), process.runtime.handle().pool().clone());
    let storing = Rc::clone(&volume);
    let stored = Rc::new(Cell::new(false));
    let is_stored = Rc::clone(&stored);
    handle.spawn(async move {
        storing.put(id(2), COOKIE, draft(&pool, b"new"), None).await.unwrap();
        is_stored.set(true);
    });
    let deleting = Rc::clone(&volume);
    let deleted = process.run(async move {
        let yielding = handle.clone();
        yielding.yield_now().await;
        deleting.delete_all(&named([2, 1]), None).await
    });
    assert_eq!((deleted, stored.get()), (Ok(vec![true, true]), true));
    assert_eq!(volume.volume().figures().needles, 0);
}

/// Space for a whole multi-delete is reserved in a full volume. When that is used up, all of it is refused.
#[test]
fn full_volume_takes_a_whole_multi_delete() {
    let (mut process, volume) = with_objects(0..DELETES_MAX as u64);
    let mut filler = 10_000;
    for len in [1 << 20, 100_000, 3000, 200] {
        while process.put(&volume, id(filler), &bytes(filler, len)).is_ok() {
            filler += 1;
        }
    }
    assert_eq!(process.put(&volume, id(filler), b""), Err(Refusal::Full));
    let all = named(0..DELETES_MAX as u64);
    let deleted = process.delete_all(&volume, all, None).unwrap();
    assert!(deleted.iter().all(|deleted| *deleted));
    // Each needs a block of the rest.
    let mut more = 10_000;
    while process.delete(&volume, id(more)).is_ok() {
        more += 1;
    }
    assert!(more > 10_000, "a few blocks are left");
    let (before, needles) = (volume.volume().figures(), commits(&volume));
    let count = BLOCK / TOMBSTONE + 1;
    let refused = process.delete_all(&volume, named(more..more + count), None);
    assert_eq!(refused, Err(Refusal::Full));
    assert_eq!((volume.volume().figures(), commits(&volume)), (before, needles));
    let (process, volume) = restarted(&process.image());
    assert_eq!(volume.volume().figures().needles, before.needles);
    drop(process);
}

#[test]
fn read_only_volume_refuses_a_multi_delete() {
    let (mut process, volume) = with_objects(1..3);
    let closing = Rc::clone(&volume);
    process.run(async move { closing.set_read_only(true).await }).unwrap();
    assert_eq!(process.delete_all(&volume, named([1]), None), Err(Refusal::ReadOnly));
    // Also if nothing would have been deleted.
    assert_eq!(process.delete_all(&volume, named([9]), None), Err(Refusal::ReadOnly));
    assert_eq!(volume.volume().figures().needles, 2);
}

/// Photos are looked up together, so that other writes do not wait long at the gate.
#[test]
fn photos_are_looked_up_at_the_same_time() {
    let (mut process, volume) = with_objects(0..64);
    let time_of = |process: &mut Process, needles| {
        let start = process.world.now();
        process.delete_all(&volume, needles, None).unwrap();
        process.world.now() - start
    };
    let one = time_of(&mut process, named([0]));
    let many = time_of(&mut process, named(1..64));
    assert!(many < 20 * one, "{many} ns for 63 photos, {one} ns for one");
}

#[test]
fn answers_are_in_the_order_of_the_request() {
    for seed in 0..20 {
        let mut process =
            Process::start_in(World::new(seed, &Image::default()), seed, &pool(8 << 20));
        process.create(SIZE);
        let volume = process.open().unwrap();
        for n in 0..20 {
            process.put(&volume, id(n), &bytes(n, 100)).unwrap();
        }
        let deleted = process.delete_all(&volume, named((0..40).rev()), None).unwrap();
        let wanted: Vec<bool> = (0..40).rev().map(|n| n < 20).collect();
        assert_eq!(deleted, wanted, "seed {seed}");
    }
}
