//! Batch puts, which are all or nothing, and names picked by the volume.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use hayloft::base::types::{Cookie, NeedleId};
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::{Fault, World};
use hayloft::runtime::{Runtime, split_mix};
use hayloft::volume::{Existing, GetError, NewNeedle, Refusal, Slot, Stored};
use xxhash_rust::xxh3::xxh3_64;

use crate::common::{COOKIE, Process, bytes, draft, pool, upload};

const EIO: i32 = 5;
const WRONG: Cookie = Cookie(COOKIE.0 ^ 1);

const fn id(n: u64) -> NeedleId {
    NeedleId::new(n, 0)
}

fn started() -> (Process, Rc<Slot>) {
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    process.create(16 << 20);
    let volume = process.open().unwrap();
    (process, volume)
}

fn restarted(image: &Image) -> (Process, Rc<Slot>) {
    let mut process = Process::start(2, image, &pool(32 << 20));
    let volume = process.open().unwrap();
    (process, volume)
}

fn new(pool: &Pool, n: u64, data: &[u8]) -> NewNeedle {
    NewNeedle { id: id(n), cookie: COOKIE, draft: draft(pool, data) }
}

fn batch(pool: &Pool, needles: &[(u64, Vec<u8>)]) -> Vec<NewNeedle> {
    needles.iter().map(|(n, data)| new(pool, *n, data)).collect()
}

impl Process {
    fn put_batch(
        &mut self,
        volume: &Rc<Slot>,
        needles: Vec<NewNeedle>,
        check: Option<fn(Option<&Existing>) -> bool>,
    ) -> Result<Vec<Stored>, Refusal> {
        let volume = Rc::clone(volume);
        self.run(async move {
            match check {
                Some(check) => volume.put_batch(needles, Some(&check)).await,
                None => volume.put_batch(needles, None).await,
            }
        })
    }

    fn pool(&self) -> Pool {
        self.runtime.handle().pool().clone()
    }
}

#[test]
fn batch_is_stored_whole_with_one_commit() {
    let (mut process, volume) = started();
    process.put(&volume, id(2), b"before").unwrap();
    let pool = process.pool();
    let needles: Vec<(u64, Vec<u8>)> =
        [(3, 100), (1, 0), (2, 70_000), (4, 1 << 20)].map(|(n, len)| (n, bytes(n, len))).into();
    let stats = |volume: &Slot| {
        (volume.volume().stats().commits.get(), volume.volume().stats().commit_needles.get())
    };
    let before = stats(&volume);
    let stored = process.put_batch(&volume, batch(&pool, &needles), None).unwrap();
    let after = stats(&volume);
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 4));
    for ((n, data), stored) in needles.iter().zip(&stored) {
        assert_eq!((stored.replaced, stored.etag), (*n == 2, xxh3_64(data)));
    }
    let figures = volume.volume().figures();
    let (mut again, volume) = restarted(&process.image());
    assert_eq!((volume.volume().figures().needles, figures.needles), (4, 4));
    assert_eq!(
        (volume.volume().figures().live, volume.volume().figures().dead),
        (figures.live, figures.dead)
    );
    for (n, data) in &needles {
        assert_eq!(again.get(&volume, id(*n)).unwrap(), *data);
    }
}

#[test]
fn an_empty_batch_stores_nothing() {
    let (mut process, volume) = started();
    assert_eq!(process.put_batch(&volume, Vec::new(), None), Ok(Vec::new()));
    assert_eq!(volume.volume().stats().commits.get(), 0);
}

#[test]
fn one_refusal_refuses_the_batch() {
    let (mut process, volume) = started();
    process.put(&volume, id(2), b"before").unwrap();
    let (pool, before) = (process.pool(), volume.volume().figures());
    let one = |n| (n, bytes(n, 100));
    for wanted in [Refusal::Conflict, Refusal::Precondition] {
        // The refused needle comes first, in the middle, last.
        for order in [[2, 1, 3], [1, 2, 3], [1, 3, 2]] {
            let mut needles = batch(&pool, &order.map(one));
            let mut check: Option<fn(Option<&Existing>) -> bool> = None;
            if wanted == Refusal::Conflict {
                needles.iter_mut().find(|needle| needle.id == id(2)).unwrap().cookie = WRONG;
            } else {
                check = Some(|existing| existing.is_none());
            }
            assert_eq!(process.put_batch(&volume, needles, check), Err(wanted));
        }
    }
    assert_eq!(volume.volume().figures(), before, "nothing was written");
    assert_eq!(process.get(&volume, id(1)), Err(GetError::NotFound));
    assert_eq!(process.get(&volume, id(2)).unwrap(), b"before");
}

#[test]
fn condition_is_evaluated_for_each_needle() {
    let (mut process, volume) = started();
    process.put(&volume, id(1), b"one").unwrap();
    process.put(&volume, id(3), b"three").unwrap();
    let (pool, storing) = (process.pool(), Rc::clone(&volume));
    let needles = batch(&pool, &[(3, bytes(3, 10)), (2, bytes(2, 10)), (1, bytes(1, 10))]);
    let seen = process.run(async move {
        let seen = std::cell::RefCell::new(Vec::new());
        let check = |existing: Option<&Existing>| {
            seen.borrow_mut().push(existing.map(|existing| existing.etag));
            true
        };
        storing.put_batch(needles, Some(&check)).await.unwrap();
        seen.into_inner()
    });
    assert_eq!(seen, [Some(xxh3_64(b"three")), None, Some(xxh3_64(b"one"))]);
}

#[test]
fn a_batch_may_be_as_large_as_a_commit() {
    let (mut process, volume) = started();
    let pool = process.pool();
    let needles: Vec<(u64, Vec<u8>)> = (0..1000).map(|n| (n, bytes(n, 300))).collect();
    process.put_batch(&volume, batch(&pool, &needles), None).unwrap();
    assert_eq!(
        (volume.volume().stats().commits.get(), volume.volume().stats().commit_needles.get()),
        (1, 1000)
    );
    let replaced = process.put_batch(&volume, batch(&pool, &needles), None).unwrap();
    assert!(replaced.iter().all(|stored| stored.replaced));
    // Longer than the target length of a commit.
    let long: Vec<(u64, Vec<u8>)> = (0..5).map(|n| (n, bytes(n + 7, 1 << 20))).collect();
    process.put_batch(&volume, batch(&pool, &long), None).unwrap();
    assert_eq!(volume.volume().stats().commits.get(), 3);
    let figures = volume.volume().figures();
    let (mut again, volume) = restarted(&process.image());
    assert_eq!(
        (volume.volume().figures().needles, volume.volume().figures().live),
        (1000, figures.live)
    );
    for (n, data) in long.iter().chain(&needles[5..]) {
        assert_eq!(again.get(&volume, id(*n)).unwrap(), *data);
    }
}

#[test]
fn batch_may_contain_multipart_objects() {
    let (mut process, volume) = started();
    let (pool, storing) = (process.pool(), Rc::clone(&volume));
    let bodies = [bytes(1, 300_000), bytes(2, 1_500_000)];
    let wanted = bodies.clone();
    let stored = process.run(async move {
        let mut needles = vec![new(&pool, 5, b"small")];
        let mut uploads = Vec::new();
        for (n, body) in (6..).zip(&bodies) {
            let (upload, draft) = upload(&storing, &pool, id(n), body, &[200_000]).await.unwrap();
            uploads.push(upload);
            needles.push(NewNeedle { id: id(n), cookie: COOKIE, draft });
        }
        storing.put_batch(needles, None).await.unwrap()
    });
    let tags: Vec<u64> = stored.iter().map(|stored| stored.etag).collect();
    assert_eq!(tags, [xxh3_64(b"small"), xxh3_64(&wanted[0]), xxh3_64(&wanted[1])]);
    let figures = volume.volume().figures();
    assert!(figures.live > 1_800_000);
    let (mut again, volume) = restarted(&process.image());
    assert_eq!(
        (volume.volume().figures().needles, volume.volume().figures().live),
        (3, figures.live)
    );
    assert_eq!(again.get(&volume, id(5)).unwrap(), b"small");
    assert!(again.get(&volume, id(6)).unwrap() == wanted[0]);
    assert!(again.get(&volume, id(7)).unwrap() == wanted[1]);
}

#[test]
fn batches_with_the_same_ids_do_not_deadlock() {
    for seed in 0..30 {
        let (mut process, volume) = started();
        process.runtime.shuffle(seed);
        let (handle, pool) = (process.runtime.handle().clone(), process.pool());
        let done = Rc::new(Cell::new(0));
        for (value, order) in (1..).zip([[1, 2, 3, 4], [4, 3, 2, 1], [3, 1, 4, 2]]) {
            let needles = batch(&pool, &order.map(|n| (n, bytes(value * 10 + n, 200))));
            let (volume, done) = (Rc::clone(&volume), Rc::clone(&done));
            handle.spawn(async move {
                volume.put_batch(needles, None).await.unwrap();
                done.set(done.get() + 1);
            });
        }
        process.run(async move { handle.sleep_until(handle.now() + 5_000_000).await });
        assert_eq!(done.get(), 3);
        let first = process.get(&volume, id(1)).unwrap();
        let value = (1..4).find(|value| first == bytes(value * 10 + 1, 200)).unwrap();
        for n in 2..5 {
            assert_eq!(process.get(&volume, id(n)).unwrap(), bytes(value * 10 + n, 200));
        }
        assert_eq!(volume.volume().figures().needles, 4);
    }
}

#[test]
fn a_failed_write_stores_nothing_of_a_batch() {
    for fault in [Fault::Errno(EIO), Fault::Short(2048)] {
        let (mut process, volume) = started();
        let pool = process.pool();
        let needles = [(1, bytes(1, 300)), (2, bytes(2, 300)), (3, bytes(3, 300))];
        process.world.fail(0, fault);
        let failed = process.put_batch(&volume, batch(&pool, &needles), None);
        assert!(matches!(failed, Err(Refusal::Failed(_))), "{failed:?}");
        let again = process.put_batch(&volume, batch(&pool, &needles), None);
        assert_eq!(again, Err(Refusal::Poisoned));
        // The short write had stored the first of the three needles completely.
        let (mut process, volume) = restarted(&process.image());
        for (n, _) in &needles {
            assert_eq!(process.get(&volume, id(*n)), Err(GetError::NotFound));
        }
        assert!(volume.volume().damage().is_empty());
    }
}

#[test]
fn batch_that_does_not_fit_is_refused_whole() {
    let (mut process, volume) = started();
    let pool = process.pool();
    let long = |first: u64| -> Vec<(u64, Vec<u8>)> {
        (first..first + 7).map(|n| (n, bytes(n, 1 << 20))).collect()
    };
    process.put_batch(&volume, batch(&pool, &long(0)), None).unwrap();
    process.put_batch(&volume, batch(&pool, &long(7)), None).unwrap();
    let before = volume.volume().figures();
    let refused = process.put_batch(&volume, batch(&pool, &long(14)), None);
    assert_eq!(refused, Err(Refusal::Full));
    assert_eq!(volume.volume().figures(), before);
    process.put(&volume, id(14), b"alone").unwrap();
}

#[test]
fn picked_names_are_unique_and_fit_in_a_double() {
    let (mut process, volume) = started();
    let (pool, naming) = (process.pool(), Rc::clone(&volume));
    let names = process.run(async move {
        let mut names = Vec::new();
        for n in 0..300 {
            let (id, cookie, stored) = naming.put_new(draft(&pool, &bytes(n, 50))).await.unwrap();
            assert!(!stored.replaced);
            names.push((id, cookie));
        }
        names
    });
    assert_eq!(names.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>().len(), 300);
    assert_eq!(names.iter().map(|(_, cookie)| cookie.0).collect::<BTreeSet<_>>().len(), 300);
    assert!(names.iter().all(|(id, _)| id.key.0 < 1 << 53 && id.alt.0 == 0));
    assert!(names.iter().any(|(id, _)| id.key.0 >= 1 << 52), "all 53 bits are used");
    for (n, (id, cookie)) in (0..).zip(names) {
        assert_eq!(process.get_as(&volume, id, cookie).unwrap(), bytes(n, 50));
    }
}

#[test]
fn picked_name_in_use_is_drawn_again() {
    let pool = pool(32 << 20);
    let world = World::new(1, &Image::default());
    let driver = world.driver();
    // Returns each number eight times, so that new names repeat earlier ones.
    let mut draws = 0_u64;
    let repeating = move || {
        draws += 1;
        (draws / 8) << 11 | 1
    };
    let runtime = Runtime::new(&driver, pool.clone(), repeating);
    let mut process = Process { world, runtime, driver, checkpoints: None };
    process.create(16 << 20);
    let volume = process.open().unwrap();
    let mut names = BTreeSet::new();
    for n in 0..5 {
        let (naming, draft) = (Rc::clone(&volume), draft(&pool, &bytes(n, 50)));
        let put = process.run(async move { naming.put_new(draft).await });
        let (id, _, stored) = put.unwrap();
        assert!(!stored.replaced && names.insert(id), "{id} was in use");
    }
    assert_eq!(volume.volume().figures().needles, 5);
}

/// Other writes to the names of a batch are ordered before or after it.
#[test]
fn batch_locks_its_names_until_it_is_written() {
    for seed in 1..40_u64 {
        let (mut process, volume) = started();
        process.runtime.shuffle(seed);
        let (pool, handle) = (process.pool(), process.runtime.handle().clone());
        let left = Rc::new(Cell::new(6));
        for client in 0..6_u64 {
            let (volume, pool, left, task) =
                (Rc::clone(&volume), pool.clone(), Rc::clone(&left), handle.clone());
            handle.spawn(async move {
                let mut draws = seed << 8 | client;
                for n in 0..10 {
                    let pause = split_mix(&mut draws) % 200_000;
                    task.sleep_until(task.now() + pause).await;
                    match (client + n) % 3 {
                        0 => {
                            // The same names in another order must not deadlock.
                            let mut needles =
                                vec![new(&pool, 0, b"batch"), new(&pool, 1, b"batch")];
                            if client % 2 == 0 {
                                needles.reverse();
                            }
                            volume.put_batch(needles, None).await.unwrap();
                        }
                        1 => {
                            let draft = draft(&pool, &bytes(n, 300));
                            volume.put(id(0), COOKIE, draft, None).await.unwrap();
                        }
                        _ => {
                            let deleted = volume.delete(id(1), COOKIE, None).await;
                            assert!(
                                matches!(deleted, Ok(()) | Err(Refusal::NotFound)),
                                "{deleted:?}"
                            );
                        }
                    }
                }
                left.set(left.get() - 1);
            });
        }
        process.run(async move {
            let deadline = handle.now() + 60_000_000_000;
            while left.get() > 0 {
                assert!(
                    handle.now() < deadline,
                    "seed {seed}: {} clients wait forever",
                    left.get()
                );
                handle.sleep_until(handle.now() + 1_000_000).await;
            }
        });
        let needles = volume.volume().figures().needles;
        assert!(needles <= 2, "seed {seed}: {needles} needles of two names");
        let again = restarted(&process.image()).1;
        assert_eq!(again.volume().figures().needles, needles, "seed {seed}");
        assert_eq!(again.volume().figures().live, volume.volume().figures().live, "seed {seed}");
    }
}

/// Batches in one commit stay separate, even if it is the last commit before a kill.
#[test]
fn batches_in_one_commit_are_recovered_separately() {
    let (mut process, volume) = started();
    let (pool, handle) = (process.pool(), process.runtime.handle().clone());
    let commits = volume.volume().stats().commits.get();
    for first in [0, 10, 20] {
        let (volume, pool) = (Rc::clone(&volume), pool.clone());
        handle.spawn(async move {
            let needles = (first..first + 2).map(|n| new(&pool, n, b"batch")).collect();
            volume.put_batch(needles, None).await.unwrap();
        });
    }
    process.put(&volume, id(30), b"beside them").unwrap();
    assert_eq!(volume.volume().stats().commits.get(), commits + 1, "the batches share a commit");
    let again = restarted(&process.image()).1;
    assert_eq!((again.volume().figures().needles, again.volume().damage().len()), (7, 0));
}
