//! Faults while a volume is compacted: the old generation goes on, or the new one has everything.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hayloft::base::types::VolumeId;
use hayloft::runtime::background::Pace;
use hayloft::runtime::op::{DirId, Op};
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::fault::NO_SPACE;
use hayloft::volume::{
    CompactionOrder, CompactionPhase, DamageSource, Expected, FenceReason, GenerationFile,
    GetError, IoError, NotCompacted, OpenContext, Preallocation, Refusal, Slot, Superblock, Volume,
    WriteState, open_current,
};

use crate::common::{COOKIE, Process, bytes, draft, pool, superblock};
use crate::compaction_support::{
    NEW, OLD, compact, compact_as, expected_of, filled, id, names, order, reopened, started,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const SECTOR: usize = 512;
/// Size of a small volume (bytes).
const SMALL: u64 = 8 << 20;
/// Objects of a nearly full small volume, and their length (bytes).
const OBJECTS: u64 = 60;
const LEN: usize = 100_000;

/// The generation that a start serves.
fn surviving(image: &Image) -> u64 {
    let mut process = Process::start(3, image, &pool(32 << 20));
    u64::from(process.open_as(expected_of(1)).is_ok())
}

fn accepting_losses() -> CompactionOrder {
    CompactionOrder { accept_losses: true, ..order() }
}

/// A small volume that was nearly full, of which the first `live` objects are left, on a disk with room for
/// more.
fn mostly_deleted(live: u64) -> (Process, Rc<Slot>) {
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    process.world.set_capacity(1 << 20);
    process.create(SMALL);
    let slot = process.open_as(expected_of(0)).unwrap();
    for key in 0..OBJECTS {
        process.put(&slot, id(key), &bytes(key, LEN)).unwrap();
    }
    for key in live..OBJECTS {
        process.delete(&slot, id(key)).unwrap();
    }
    (process, slot)
}

#[test]
fn any_failed_operation_leaves_one_generation_with_everything() {
    let (mut swapped, mut kept) = (0, 0);
    for fault in [Fault::Errno(EIO), Fault::Errno(ENOSPC), Fault::Short(512)] {
        for n in 0.. {
            let (mut process, slot) = started();
            let model = filled(&mut process, &slot);
            let before = process.world.operations();
            process.world.fail(n, fault);
            let done = compact(&mut process, &slot);
            if n >= process.world.operations() - before {
                break;
            }
            model.check(&mut process, &slot);
            let generation = surviving(&process.image());
            match &done {
                Ok(_) => swapped += 1,
                Err(NotCompacted::Undecided(_)) => {
                    let put = process.put(&slot, id(90), b"x");
                    assert!(matches!(put, Err(Refusal::ReadOnly | Refusal::Poisoned)), "{put:?}");
                }
                Err(_) if slot.volume().generation() == 1 => swapped += 1,
                Err(_) => {
                    kept += 1;
                    assert_eq!(generation, 0, "operation {n}, {fault:?}: {done:?}");
                    process.put(&slot, id(90), b"still written").unwrap();
                    process.delete(&slot, id(90)).unwrap();
                }
            }
            let (mut again, reopened) = reopened(&process.image(), generation);
            model.check(&mut again, &reopened);
        }
    }
    assert!(swapped > 10 && kept > 30, "{swapped} {kept}");
}

#[test]
fn compaction_can_be_tried_again_after_any_failure() {
    for n in (0..200).step_by(7) {
        let (mut process, slot) = started();
        let model = filled(&mut process, &slot);
        process.world.fail(n, Fault::Errno(EIO));
        if compact(&mut process, &slot).is_ok() || slot.volume().generation() > 0 {
            continue;
        }
        if slot.volume().write_state() != WriteState::Writable {
            continue;
        }
        compact(&mut process, &slot).unwrap();
        model.check(&mut process, &slot);
        assert_eq!(names(&process), ["1.1.ckpt", NEW]);
    }
}

#[test]
fn cancellation_at_any_time_leaves_the_old_generation() {
    let (mut cancelled, mut done) = (0, 0);
    for wait in (0..240).step_by(4) {
        let (mut process, slot) = started();
        let model = filled(&mut process, &slot);
        let (compacted, ended) = (Rc::clone(&slot), Rc::new(Cell::new(None)));
        let told = Rc::clone(&ended);
        slot.compaction_task().start(async move {
            told.set(Some(compacted.compact(&order(), &|_| Ok(())).await));
        });
        let (stopping, handle) = (Rc::clone(&slot), process.runtime.handle().clone());
        process.run(async move {
            // Timers are slower than this.
            for _ in 0..wait {
                handle.submit(Op::OpenDir { path: "data".into() }).await;
            }
            stopping.compaction_task().stop().await;
        });
        match ended.take().expect("the task has ended") {
            Ok(_) => done += 1,
            Err(NotCompacted::Stopped) if slot.volume().generation() == 1 => done += 1,
            Err(NotCompacted::Stopped) => {
                cancelled += 1;
                assert_eq!(names(&process), [OLD]);
            }
            Err(other) => panic!("{other}"),
        }
        model.check(&mut process, &slot);
        let generation = slot.volume().generation();
        process.close(&slot);
        let (mut again, reopened) = reopened(&process.image(), generation);
        model.check(&mut again, &reopened);
    }
    assert!(cancelled > 10 && done > 0, "{cancelled} {done}");
}

/// Damages each sector of a volume in turn, in one of three ways, and compacts it: nothing that could be read
/// before becomes unreadable, nothing that was unreadable becomes absent or wrong.
#[test]
fn damage_never_grows_and_never_vanishes() {
    let (mut process, slot) = started();
    let lens = [0_usize, 300, 1400, 66_000, 1_100_000];
    for key in 0..10_u64 {
        let data = bytes(key, lens[usize::try_from(key).unwrap() % lens.len()]);
        match data.len() > 1 << 20 {
            true => process.put_large(&slot, id(key), &data, &[1 << 20]).unwrap(),
            false => process.put(&slot, id(key), &data).unwrap(),
        };
    }
    process.delete(&slot, id(1)).unwrap();
    process.close(&slot);
    let image = process.image();
    let used = usize::try_from(slot.volume().figures().used).unwrap();
    let sectors = (65_536 / SECTOR)..(used / SECTOR);
    let (mut unreadable, mut compacted) = (0, 0);
    for sector in
        sectors.clone().filter(|sector| sector % 122 < 4 || *sector < 65_536 / SECTOR + 40)
    {
        let mut image = image.clone();
        image.edit(OLD, |bytes| {
            let at = sector * SECTOR;
            match sector % 3 {
                0 => bytes[at + 20] ^= 4,
                1 => bytes[at..at + SECTOR].fill(0),
                _ => bytes[at..at + 2 * SECTOR].fill(7),
            }
        });
        image.files.remove("1.0.ckpt");
        let (mut process, mut slot) = reopened(&image, 0);
        let before: Vec<_> = (0..10).map(|key| process.get(&slot, id(key))).collect();
        compact(&mut process, &slot).unwrap_or_else(|error| panic!("sector {sector}: {error}"));
        compacted += 1;
        for _ in 0..2 {
            for (key, before) in before.iter().enumerate() {
                let after = process.get(&slot, id(key as u64));
                match before {
                    Err(GetError::Unreadable(..)) => {
                        unreadable += 1;
                        let is_known = matches!(after, Err(GetError::Unreadable(..)));
                        assert!(is_known, "sector {sector}, object {key}: {after:?}");
                    }
                    before => assert!(*before == after, "sector {sector}, object {key}: {after:?}"),
                }
            }
            let mut image = process.image();
            let generation = slot.volume().generation();
            image.files.remove(&format!("1.{generation}.ckpt"));
            (process, slot) = reopened(&image, generation);
        }
    }
    assert!(unreadable > 20 && compacted > 50, "{unreadable} of {compacted}");
}

#[test]
fn sector_that_cannot_be_read_ends_the_compaction_unless_losses_are_accepted() {
    let (mut process, slot) = started();
    let model = filled(&mut process, &slot);
    let lost = model.objects.iter().find(|(_, data)| data.len() == 300_000).unwrap();
    let (key, data) = (*lost.0, lost.1.clone());
    let bytes = process.image().bytes(OLD);
    let at = bytes.windows(64).position(|window| window == &data[100_000..100_064]).unwrap();
    process.world.spoil(OLD, at / SECTOR);
    let refused = compact(&mut process, &slot);
    assert!(matches!(refused, Err(NotCompacted::Unreadable { .. })), "{refused:?}");
    assert_eq!(names(&process), [OLD]);
    let done = compact_as(&mut process, &slot, accepting_losses()).unwrap();
    assert_eq!(done.carried.damaged, 1);
    for (other, data) in &model.objects {
        let got = process.get(&slot, id(*other));
        match *other == key {
            true => assert!(matches!(got, Err(GetError::Unreadable(..))), "{got:?}"),
            false => assert!(got.as_ref() == Ok(data), "object {other}"),
        }
    }
    process.put(&slot, id(key), &data).unwrap();
    assert!(process.get(&slot, id(key)) == Ok(data));
}

/// Cuts the power between the exchange and the removal of the old file: a start removes it although the
/// volume has losses, since these are in the old file as well.
#[test]
fn old_file_is_removed_after_a_crash_although_losses_were_carried_over() {
    let (mut process, slot) = started();
    process.put(&slot, id(1), &bytes(1, 3000)).unwrap();
    process.put(&slot, id(2), &bytes(2, 5000)).unwrap();
    let lost = slot.volume().walk().unwrap().places()[0].offset;
    process.world.spoil(OLD, usize::try_from(lost).unwrap() / SECTOR);
    let crash = Rc::new(RefCell::new(None));
    let (world, at_crash) = (process.world.clone(), Rc::clone(&crash));
    let accepting = Rc::clone(&slot);
    let on_swap = move |_: &Volume| {
        at_crash.replace(Some(world.look(|snapshot| snapshot.image())));
        Ok(())
    };
    let done =
        process.run(async move { accepting.compact(&accepting_losses(), &on_swap).await.unwrap() });
    assert_eq!(done.carried.lost, 1);
    assert_eq!(names(&process), ["1.1.ckpt", NEW]);

    let image = crash.take().expect("the generation was exchanged");
    assert!(image.files.contains_key(OLD) && image.files.contains_key(NEW));
    let mut process = Process::start(2, &image, &pool(32 << 20));
    let handle = process.runtime.handle().clone();
    let (volume, left) = process.run(async move {
        handle.submit(Op::OpenDir { path: "data".into() }).await;
        let file = |generation| GenerationFile { dir: DirId(0), expected: expected_of(generation) };
        let context = OpenContext {
            progress: &|_| (),
            checkpoint_queue: None,
            pace: None,
            all_directories: true,
        };
        let opened = open_current(&handle, &[file(0), file(1)], context).await;
        let (volume, others) = opened.unwrap();
        let left = others.remove(&handle, volume.as_deref()).await;
        (Slot::new(volume.unwrap()), left)
    });
    assert_eq!(volume.volume().generation(), 1);
    let sources: Vec<_> = volume.volume().damage().iter().map(|range| range.source).collect();
    assert_eq!(sources, [DamageSource::Loss]);
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(names(&process), ["1.1.ckpt", NEW]);
    assert!(matches!(process.get(&volume, id(1)), Err(GetError::Unreadable(..))));
    assert_eq!(process.get(&volume, id(2)), Ok(bytes(2, 5000)));
}

#[test]
fn new_file_that_reads_back_different_is_discarded() {
    let (mut process, slot) = started();
    let model = filled(&mut process, &slot);
    let (world, handle) = (process.world.clone(), process.runtime.handle().clone());
    process.runtime.handle().spawn(async move {
        let place = 65_536 + 5000;
        let is_written = || {
            world.look(|snapshot| {
                let image = snapshot.image();
                image.files.contains_key(NEW) && image.bytes(NEW)[place] != 0
            })
        };
        while !is_written() {
            handle.sleep_until(handle.now() + 5_000_000).await;
        }
        world.rot(NEW, place, 3);
    });
    // Slow, so that there is time between the write and the reading back.
    let slow = CompactionOrder { pace: Pace::at_most(8 << 20), ..order() };
    let result = compact_as(&mut process, &slot, slow);
    assert!(matches!(result, Err(NotCompacted::ReadBack(_))), "{result:?}");
    assert_eq!(names(&process), [OLD]);
    model.check(&mut process, &slot);
}

#[test]
fn volumes_that_may_not_be_compacted_are_refused() {
    let (mut process, slot) = started();
    process.put(&slot, id(1), b"x").unwrap();
    process.world.fail(0, Fault::Errno(EIO));
    assert!(process.put(&slot, id(2), b"y").is_err());
    let refused = compact(&mut process, &slot);
    assert!(matches!(refused, Err(NotCompacted::State(WriteState::Poisoned(_)))), "{refused:?}");

    let (mut process, slot) = started();
    slot.volume().fence();
    let refused = compact(&mut process, &slot);
    assert!(matches!(refused, Err(NotCompacted::State(WriteState::Fenced(_)))), "{refused:?}");

    let (mut process, slot) = started();
    process.put(&slot, id(1), b"x").unwrap();
    let little_memory = CompactionOrder { index_memory_max: 10, ..order() };
    let refused = compact_as(&mut process, &slot, little_memory);
    assert!(matches!(refused, Err(NotCompacted::IndexMemory { .. })), "{refused:?}");
    assert_eq!(names(&process), [OLD]);
}

#[test]
fn old_file_may_be_lost_at_any_moment_of_an_exchange() {
    let (mut done, mut called_off) = (0, 0);
    for moment in 0..40 {
        let (mut process, slot) = started();
        let model = filled(&mut process, &slot);
        let (compacted, handle) = (Rc::clone(&slot), process.runtime.handle().clone());
        let result = process.run(async move {
            let (old, result) = (compacted.volume(), Rc::new(RefCell::new(None)));
            let (compacting, told) = (Rc::clone(&compacted), Rc::clone(&result));
            compacted.compaction_task().start(async move {
                told.replace(Some(compacting.compact(&order(), &|_| Ok(())).await));
            });
            let mut left = moment;
            while result.borrow().is_none() {
                if compacted.compaction_progress().phase == CompactionPhase::Swapping {
                    if left == 0 && Rc::ptr_eq(&old, &compacted.volume()) {
                        old.fence();
                    }
                    left -= 1;
                }
                handle.submit(Op::OpenDir { path: "data".into() }).await;
            }
            result.take().unwrap()
        });
        let put = process.put(&slot, id(90), b"x").map(drop);
        match result {
            Ok(_) => {
                assert_eq!((slot.volume().generation(), put), (1, Ok(())));
                process.delete(&slot, id(90)).unwrap();
                done += 1;
            }
            Err(NotCompacted::State(WriteState::Fenced(FenceReason::FileLost))) => {
                assert_eq!((slot.volume().generation(), put), (0, Err(Refusal::Poisoned)));
                called_off += 1;
            }
            other => panic!("{other:?}"),
        }
        model.check(&mut process, &slot);
    }
    assert!(done > 0 && called_off > 0, "{done} done, {called_off} called off");
}

#[test]
fn a_file_that_cannot_be_monitored_takes_no_more_writes() {
    let failed = IoError::Errno(nix::libc::EIO);
    for (error, state) in [
        (IoError::Errno(nix::libc::ENOENT), WriteState::Fenced(FenceReason::FileLost)),
        (failed, WriteState::Poisoned(failed)),
    ] {
        let (mut process, slot) = started();
        let model = filled(&mut process, &slot);
        let compacted = Rc::clone(&slot);
        process.run(async move { compacted.compact(&order(), &|_| Err(error)).await.unwrap() });
        assert_eq!(slot.volume().write_state(), state);
        assert_eq!(process.put(&slot, id(90), b"x"), Err(Refusal::Poisoned));
        model.check(&mut process, &slot);
    }
}

/// Regression, found by the simulation: each of two compactions held one buffer and waited for a second one.
#[test]
fn compactions_that_share_few_buffers_take_turns() {
    // Half of it is for background work: the two buffers of one compaction.
    let pool = pool(7 << 20);
    let mut process = Process::start(1, &Image::default(), &pool);
    let slots = [1, 2].map(|number| {
        let volume = VolumeId(number);
        process.create_as(Superblock { volume, ..superblock(SMALL) });
        process.open_as(Expected { volume, ..expected_of(0) }).unwrap()
    });
    for slot in &slots {
        process.put(slot, id(1), &bytes(1, 300_000)).unwrap();
    }
    let (compacted, handle) = (slots.clone(), process.runtime.handle().clone());
    let generations = process.run(async move {
        // A request has one of them while the first compaction begins, and returns it when the second one
        // looks for a buffer next.
        let requested = pool.alloc(1 << 20).unwrap();
        for (slot, ms) in compacted.iter().zip([30, 80]) {
            let own = Rc::clone(slot);
            slot.compaction_task().start(async move {
                let small = CompactionOrder { size: SMALL, ..order() };
                own.compact(&small, &|_| Ok(())).await.unwrap();
            });
            handle.sleep_until(handle.now() + ms * 1_000_000).await;
        }
        drop(requested);
        handle.sleep_until(handle.now() + 10_000_000_000).await;
        compacted.map(|slot| slot.volume().generation())
    });
    assert_eq!(generations, [1, 1]);
    for slot in &slots {
        assert!(process.get(slot, id(1)) == Ok(bytes(1, 300_000)));
    }
}

/// A write whose look-up hangs delays the exchange, and then nothing else.
#[test]
fn writes_that_hang_put_the_exchange_off() {
    let (mut process, slot) = started();
    let model = filled(&mut process, &slot);
    let pool = process.runtime.handle().pool().clone();
    let (hanging, handle) = (Rc::clone(&slot), process.runtime.handle().clone());
    let waited = process.run(async move {
        let blocked = hanging.pass_gate().await;
        let (compacted, done) = (Rc::clone(&hanging), Rc::new(Cell::new(None)));
        let told = Rc::clone(&done);
        hanging.compaction_task().start(async move {
            let compaction = compacted.compact(&order(), &|_| Ok(())).await.unwrap();
            told.set(Some(compaction.gate));
        });
        handle.sleep_until(handle.now() + 4_000_000_000).await;
        assert_eq!(done.get(), None, "the exchange waits for the write");
        let began = handle.now();
        hanging.put(id(91), COOKIE, draft(&pool, b"meanwhile"), None).await.unwrap();
        let waited = handle.now() - began;
        drop(blocked);
        handle.sleep_until(handle.now() + 4_000_000_000).await;
        let gate = done.get().expect("the exchange was tried again");
        assert!((1_000_000_000..1_100_000_000).contains(&gate.longest_ns), "{gate:?}");
        assert!(gate.total_ns > gate.longest_ns * 3 / 2, "every attempt counts: {gate:?}");
        hanging.delete(id(91), COOKIE, None).await.unwrap();
        waited
    });
    assert!(waited < 1_100_000_000, "{waited}");
    model.check(&mut process, &slot);
}

/// A disk that holds the old file and a little more is enough, and one that another program fills in between
/// ends the compaction and nothing else.
#[test]
fn compaction_needs_space_for_what_lives_only() {
    let blocks = |bytes: u64| usize::try_from(bytes / 4096).unwrap();
    for spare in [3 << 20, 600 << 10] {
        let (mut process, slot) = mostly_deleted(10);
        let free = process.world.free_blocks();
        process.world.occupy(free - blocks(spare));
        let whole = CompactionOrder { size: SMALL, ..order() };
        let steps = CompactionOrder { preallocation: Preallocation::InSteps, ..whole.clone() };
        for (order, fits) in [(whole, false), (steps, spare > 1 << 20)] {
            match compact_as(&mut process, &slot, order) {
                Ok(_) => assert!(fits),
                Err(NotCompacted::Io(_, error)) => {
                    assert!(!fits && error == IoError::Errno(ENOSPC), "{error}");
                    assert_eq!(names(&process), [OLD]);
                    assert_eq!(process.world.free_blocks(), blocks(spare), "the space is back");
                }
                Err(other) => panic!("{other}"),
            }
        }
        for key in 0..OBJECTS {
            let expected = if key < 10 { Ok(bytes(key, LEN)) } else { Err(GetError::NotFound) };
            assert!(process.get(&slot, id(key)) == expected, "object {key}");
        }
        process.put(&slot, id(70), &bytes(70, 50_000)).unwrap();
    }
}

/// What lives fits on the disk, and the last whole step of the new file does not: a shorter one is taken.
#[test]
fn compaction_takes_shorter_steps_where_whole_ones_do_not_fit() {
    let (mut process, slot) = mostly_deleted(21);
    // Live are 2.1 MB, and the log needs 1 MiB for tombstones: three steps of 1 MiB are too little.
    process.world.occupy(process.world.free_blocks() - (3 << 20) / 4096 - 100);
    let steps = CompactionOrder { size: SMALL, preallocation: Preallocation::InSteps, ..order() };
    let done = compact_as(&mut process, &slot, steps);
    assert!(done.is_ok(), "{done:?}");
    assert!(process.world.count(NO_SPACE) > 0, "every step fitted");
    // The space of the old file is used at once.
    for key in OBJECTS..OBJECTS + 3 {
        process.put(&slot, id(key), &bytes(key, 1 << 20)).unwrap();
    }
    for key in 0..21 {
        assert!(process.get(&slot, id(key)) == Ok(bytes(key, LEN)), "object {key}");
    }
}
