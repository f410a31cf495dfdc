//! The order of the steps of an exchange: a power cut at any event, and a failure of any operation, leave one
//! generation that a start chooses and that has everything.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use hayloft::runtime::buffer::Pool;
use hayloft::runtime::op::{DirId, Op};
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::{Image, Wreck};
use hayloft::volume::format::{HINT_OFFSETS, TailHint};
use hayloft::volume::{
    CompactionOrder, CompactionPhase, Expected, IoError, NotCompacted, Refusal, Slot, Superblock,
    SuperblockState, WriteState,
};

use crate::common::{COOKIE, Process, bytes, draft, pool};
use crate::compaction_support::{
    Model, NEW, OLD, compact, compact_as, expected_of, id, names, order, started,
};
use crate::generation_states::{Found, Started, start_with};

const EIO: i32 = 5;
const SMALL: u64 = 8 << 20;
const MOVED: &str = "1/1.1.vol";

type Objects = BTreeMap<u64, Vec<u8>>;

/// A small volume in the first of two data directories.
fn small(pool: &Pool) -> (Process, Rc<Slot>, Objects) {
    small_as(pool, expected_of(0))
}

fn small_as(pool: &Pool, expected: Expected) -> (Process, Rc<Slot>, Objects) {
    let mut process = Process::start(1, &Image::default(), pool);
    process.create(SMALL);
    let slot = process.open_as(expected).unwrap();
    let handle = process.runtime.handle().clone();
    process.run(async move { handle.submit(Op::OpenDir { path: "second".into() }).await });
    let mut objects = BTreeMap::new();
    for key in 0..8 {
        let data = bytes(key, 300 + 2000 * usize::try_from(key).unwrap());
        process.put(&slot, id(key), &data).unwrap();
        objects.insert(key, data);
    }
    for key in [1, 6, 7] {
        process.delete(&slot, id(key)).unwrap();
        objects.remove(&key);
    }
    (process, slot, objects)
}

fn small_order() -> CompactionOrder {
    CompactionOrder { size: SMALL, ..order() }
}

/// Compacts, and stores objects from right before the exchange of the generation on, and one as soon as the
/// new generation is the current one. Returns what a power cut leaves at every event, and what was
/// acknowledged until then.
fn cuts(
    process: &mut Process,
    slot: &Rc<Slot>,
    objects: &Objects,
    order: CompactionOrder,
) -> Vec<(Wreck, Objects)> {
    let acknowledged = Rc::new(RefCell::new(objects.clone()));
    let cuts = Rc::new(RefCell::new(Vec::new()));
    let (sink, seen) = (Rc::clone(&cuts), Rc::clone(&acknowledged));
    process.world.on_event(move |snapshot| {
        sink.borrow_mut().push((snapshot.wreck().trimmed(), seen.borrow().clone()));
    });
    let (compacted, handle) = (Rc::clone(slot), process.runtime.handle().clone());
    process.runtime.handle().spawn(store_late(Rc::clone(slot), Rc::clone(&acknowledged)));
    process.run(async move {
        let on_swap = |_: &hayloft::volume::Volume| {
            let (slot, told, pool) =
                (Rc::clone(&compacted), Rc::clone(&acknowledged), handle.pool().clone());
            handle.spawn(async move {
                let stored = slot.put(id(50), COOKIE, draft(&pool, b"soon after"), None).await;
                stored.unwrap();
                told.borrow_mut().insert(50, b"soon after".to_vec());
            });
            Ok(())
        };
        compacted.compact(&order, &on_swap).await.unwrap();
        handle.sleep_until(handle.now() + 100_000_000).await;
    });
    process.world.on_event(|_| ());
    let cuts = cuts.take();
    assert!(cuts.last().unwrap().1.contains_key(&50));
    cuts
}

/// Stores objects one after the other, without a wait for the earlier ones, once the exchange is near.
async fn store_late(slot: Rc<Slot>, acknowledged: Rc<RefCell<Objects>>) {
    let handle = slot.handle().clone();
    while slot.compaction_progress().phase != CompactionPhase::Swapping {
        handle.sleep_until(handle.now() + 10_000).await;
    }
    for key in 100..130 {
        let (slot, told, pool) =
            (Rc::clone(&slot), Rc::clone(&acknowledged), handle.pool().clone());
        handle.spawn(async move {
            slot.put(id(key), COOKIE, draft(&pool, &bytes(key, 700)), None).await.unwrap();
            told.borrow_mut().insert(key, bytes(key, 700));
        });
        handle.sleep_until(handle.now() + 15_000).await;
    }
}

/// Images that a power cut can leave: nothing, everything or a part of what was not flushed, and none, one or
/// all of the changes of names.
fn images(wreck: &Wreck, n: usize) -> Vec<Image> {
    let subsets: [&dyn Fn(usize) -> bool; 3] =
        [&|_| false, &|_| true, &|loose| (loose * 7 + n).is_multiple_of(3)];
    let subsets = if wreck.loose() == 0 { &subsets[..1] } else { &subsets[..] };
    let mut changes = vec![0, wreck.changes().min(1), wreck.changes()];
    changes.dedup();
    let all = changes.iter().flat_map(|changes| subsets.iter().map(move |of| (of, *changes)));
    all.map(|(subset, changes)| wreck.image(subset, changes)).collect()
}

/// Checks that a start serves everything that was acknowledged. Returns the generation that it serves.
fn expect_all(started: &mut Started, acknowledged: &Objects, what: &str) -> u64 {
    let Found::Serves(generation) = started.found else { panic!("{what}: {:?}", started.found) };
    let slot = started.volume.clone().expect("it serves");
    for (key, data) in acknowledged {
        let got = started.process.get(&slot, id(*key));
        assert!(got.as_ref() == Ok(data), "{what}: object {key}: {:?}", got.err());
    }
    for key in [1, 6, 7] {
        assert!(started.process.get(&slot, id(key)).is_err(), "{what}: object {key} is back");
    }
    generation
}

#[test]
fn start_after_a_power_cut_at_any_event_has_everything() {
    let pool = pool(16 << 20);
    let (mut process, slot, objects) = small(&pool);
    let cuts = cuts(&mut process, &slot, &objects, small_order());
    drop((process, slot));
    let mut served = [0, 0];
    for (n, (wreck, acknowledged)) in cuts.iter().enumerate() {
        for (m, image) in images(wreck, n).iter().enumerate() {
            let mut started = start_with(image, &pool, true, |_| ());
            let generation =
                expect_all(&mut started, acknowledged, &format!("event {n}, image {m}"));
            served[usize::try_from(generation).unwrap()] += 1;
        }
    }
    assert!(served[0] > 50 && served[1] > 20, "{served:?}");
}

#[test]
fn power_cut_while_a_volume_moves_or_grows_loses_nothing() {
    let pool = pool(16 << 20);
    for (target, size) in [(1, SMALL), (0, 2 * SMALL), (1, SMALL / 2)] {
        let (mut process, slot, objects) = small(&pool);
        let order = CompactionOrder { target: DirId(target), size, ..order() };
        let cuts = cuts(&mut process, &slot, &objects, order);
        assert_eq!(slot.volume().figures().size, size);
        drop((process, slot));
        let (mut served, mut refused) = ([0, 0], 0);
        for (n, (wreck, acknowledged)) in cuts.iter().enumerate() {
            for (m, image) in images(wreck, n).iter().enumerate() {
                let what = format!("target {target}, {size} bytes, event {n}, image {m}");
                let mut started = start_with(image, &pool, true, |_| ());
                let generation = expect_all(&mut started, acknowledged, &what);
                served[usize::try_from(generation).unwrap()] += 1;
                // With one of the disks only, what was acknowledged is there, or nothing is served.
                for missing in [0, 1].into_iter().filter(|_| target == 1) {
                    let mut image = image.clone();
                    image.files.retain(|name, _| name.starts_with("1/") != (missing == 1));
                    let mut started = start_with(&image, &pool, false, |_| ());
                    match started.found {
                        Found::Serves(_) => {
                            expect_all(&mut started, acknowledged, &what);
                        }
                        Found::Failed(_) | Found::Nothing => refused += 1,
                    }
                }
            }
        }
        assert!(served[0] > 50 && served[1] > 20, "{served:?}");
        assert_eq!(refused > 20, target == 1);
    }
}

/// Whenever a start would find the new generation, it has a tail hint that covers its log and carries the
/// highest version of the volume.
#[test]
fn nothing_counts_before_what_it_depends_on_is_durable() {
    let pool = pool(16 << 20);
    // A checkpoint would make names durable, too.
    let without_checkpoints = Expected { checkpoints: None, ..expected_of(0) };
    let (mut process, slot, objects) = small_as(&pool, without_checkpoints);
    let version_before = hint_of(&process.image(), OLD).map_or(0, |hint| hint.version);
    // Only the hint of the next generation has the version of the last deletion.
    compact_as(&mut process, &slot, small_order()).unwrap();
    let highest = hint_of(&process.image(), NEW).unwrap().version;
    assert!(highest > version_before);
    let cuts = cuts(&mut process, &slot, &objects, small_order());
    drop((process, slot));
    let mut live = 0;
    for (n, (wreck, acknowledged)) in cuts.iter().enumerate() {
        for image in images(wreck, n) {
            let name = "1.2.vol";
            let Some(superblock) = newest(&image, name) else { continue };
            if superblock.state == SuperblockState::Building {
                continue;
            }
            live += 1;
            let hint = hint_of(&image, name).unwrap_or_else(|| panic!("event {n}: no hint"));
            assert!(hint.version >= highest, "event {n}: {hint:?}, not {highest}");
            let durable = wreck.image(|_| false, 0);
            assert!(durable.files.contains_key(name), "event {n}: the name is not durable");
            let mut started = start_with(&image, &pool, true, |_| ());
            assert_eq!(expect_all(&mut started, acknowledged, &format!("event {n}")), 2);
        }
    }
    assert!(live > 20, "{live}");
}

/// The newest valid superblock of a file.
fn newest(image: &Image, name: &str) -> Option<Superblock> {
    let bytes = image.files.get(name)?.to_vec();
    let copies = [0, 4096].map(|at| Superblock::decode(bytes.get(at..at + 4096)?).ok());
    copies.into_iter().flatten().max_by_key(|copy| copy.revision)
}

/// The newest valid tail hint of a file.
fn hint_of(image: &Image, name: &str) -> Option<TailHint> {
    let (bytes, superblock) = (image.bytes(name), newest(image, name)?);
    let hints = HINT_OFFSETS.iter().filter_map(|offset| {
        let at = usize::try_from(*offset).unwrap();
        let block = &bytes[at..at + 4096];
        TailHint::decode(block, superblock.incarnation, *offset, superblock.log_end())
    });
    hints.max_by_key(|hint| hint.number)
}

#[test]
fn file_that_lost_its_name_does_not_become_the_current_one() {
    let (mut process, slot) = started();
    let mut model = Model::default();
    for key in 0..6 {
        model.put(&mut process, &slot, key, bytes(key, 100_000));
    }
    let (world, handle) = (process.world.clone(), process.runtime.handle().clone());
    process.runtime.handle().spawn(async move {
        while !world.names().contains(&NEW.to_owned()) {
            handle.sleep_until(handle.now() + 10_000).await;
        }
        world.remove(NEW);
    });
    let lost = compact(&mut process, &slot);
    let why = NotCompacted::Io("find the new file", IoError::Errno(nix::libc::ENOENT));
    assert_eq!(lost, Err(why));
    assert_eq!(names(&process), [OLD]);
    model.put(&mut process, &slot, 9, b"still written".to_vec());
    model.check(&mut process, &slot);
    compact(&mut process, &slot).unwrap();
    model.check(&mut process, &slot);
}

#[test]
fn failed_write_of_the_atomic_point_ends_all_writes() {
    let pool = pool(16 << 20);
    let mut undecided = 0;
    for n in 0.. {
        let (mut process, slot, objects) = small(&pool);
        let before = process.world.operations();
        process.world.fail(n, Fault::Errno(EIO));
        let done = compact_as(&mut process, &slot, small_order());
        if n >= process.world.operations() - before {
            break;
        }
        if !matches!(done, Err(NotCompacted::Undecided(_))) {
            continue;
        }
        undecided += 1;
        let put = process.put(&slot, id(90), b"x");
        assert!(matches!(put, Err(Refusal::ReadOnly | Refusal::Poisoned)), "{put:?}");
        assert_eq!(process.delete(&slot, id(0)).err(), put.err());
        for (key, data) in &objects {
            assert!(process.get(&slot, id(*key)).as_ref() == Ok(data), "reads go on");
        }
        let mut started = start_with(&process.image(), &pool, true, |_| ());
        expect_all(&mut started, &objects, "after the failure");
    }
    assert!(undecided > 0);
}

/// After a move that failed at any operation the volume can be moved again, and if it has not moved, a start
/// without the other data directory serves it.
#[test]
fn move_that_failed_can_be_tried_again() {
    let pool = pool(16 << 20);
    let move_it = |process: &mut Process, slot: &Rc<Slot>| {
        compact_as(process, slot, CompactionOrder { target: DirId(1), ..small_order() })
    };
    let mut again = 0;
    for n in 0.. {
        let (mut process, slot, objects) = small(&pool);
        let before = process.world.operations();
        process.world.fail(n, Fault::Errno(EIO));
        let done = move_it(&mut process, &slot);
        if n >= process.world.operations() - before {
            break;
        }
        let is_old = slot.volume().generation() == 0;
        if done.is_ok() || !is_old || slot.volume().write_state() != WriteState::Writable {
            continue;
        }
        let image = process.image();
        if image.files.contains_key(MOVED) {
            // It could not be removed: only a restart can.
            continue;
        }
        again += 1;
        let mut started = start_with(&image, &pool, false, |_| ());
        expect_all(&mut started, &objects, &format!("operation {n}: {done:?}"));
        move_it(&mut process, &slot).unwrap_or_else(|error| panic!("operation {n}: {error}"));
        for (key, data) in &objects {
            assert!(process.get(&slot, id(*key)).as_ref() == Ok(data), "operation {n}");
        }
        assert_eq!(names(&process).iter().filter(|name| name.ends_with(".vol")).count(), 1);
    }
    assert!(again > 10, "{again}");
}
