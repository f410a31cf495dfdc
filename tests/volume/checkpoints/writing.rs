//! When checkpoints are written and removed, and what happens when that fails.

use std::cell::RefCell;
use std::rc::Rc;

use hayloft::base::types::VolumeId;
use hayloft::runtime::background::BackgroundQueue;
use hayloft::runtime::op::{DirId, Op};
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::fault::WRITE_AFTER_FAILURE;
use hayloft::runtime::sim::{Fault, World};
use hayloft::volume::{self, Checkpointing, NotRemoved, NotWritten, OpenContext, Slot};

use super::{
    CHECKPOINT, UNFINISHED, as_volume, checkpoint, id, recovered, small_image, start,
    uses_checkpoint,
};
use crate::common::{ON_DEMAND, Process, bytes, pool};

#[test]
fn checkpoint_is_written_after_interval_or_long_replay() {
    let pool = pool(8 << 20);
    let policy = Checkpointing { interval: 64 << 10, rate: 1 << 20 };
    let mut process = start(1, &Image::default(), &pool);
    process.create(1 << 20);
    let volume = process.open_as(as_volume(Some(policy), None)).unwrap();
    for n in 0..60 {
        process.put(&volume, id(n), &bytes(n, 5000)).unwrap();
    }
    idle(&mut process, 2);
    let figures = volume.volume().figures().checkpoint;
    assert!((2..=9).contains(&figures.written), "{figures:?}");
    assert!(figures.age < policy.interval && figures.last_ns > 0, "{figures:?}");
    let written = figures.written;
    idle(&mut process, 100);
    assert_eq!(volume.volume().figures().checkpoint.written, written, "an idle volume writes none");

    let mut image = process.image();
    assert!(uses_checkpoint(&image, None, &pool, "in the background"));
    image.files.remove(CHECKPOINT);
    let mut process = start(5, &image, &pool);
    let volume = process.open_as(as_volume(Some(policy), None)).unwrap();
    idle(&mut process, 2);
    assert_eq!(volume.volume().figures().checkpoint.written, 1);
    assert!(uses_checkpoint(&process.image(), None, &pool, "soon after a start"));
}

/// Opens the volume with a checkpoint queue, as in a shard.
fn open_with_queue(
    process: &mut Process,
    policy: Checkpointing,
) -> (Rc<Slot>, Rc<BackgroundQueue>) {
    let handle = process.runtime.handle().clone();
    let turns = Rc::new(volume::checkpoint_queue(&handle));
    let shared = Rc::clone(&turns);
    let opened = process.run(async move {
        handle.submit(Op::OpenDir { path: "data".into() }).await;
        let checkpoint_queue = Some(&shared);
        let surroundings =
            OpenContext { progress: &|_| (), checkpoint_queue, pace: None, all_directories: true };
        let expected = as_volume(Some(policy), None);
        volume::open_with(&handle, DirId(0), &expected, surroundings).await
    });
    (Slot::new(opened.unwrap()), turns)
}

fn idle(process: &mut Process, seconds: u64) {
    let handle = process.runtime.handle().clone();
    process.run(async move { handle.sleep_until(handle.now() + seconds * 1_000_000_000).await });
}

#[test]
fn checkpoints_are_written_while_clients_hold_most_buffers() {
    let pool = pool(8 << 20);
    let policy = Checkpointing { interval: 64 << 10, rate: 1 << 20 };
    let mut process = start(1, &Image::default(), &pool);
    process.create(2 << 20);
    let (volume, _turns) = open_with_queue(&mut process, policy);
    let held = pool.alloc(pool.capacity() / 2 + (1 << 20)).unwrap();
    let mut oldest = 0;
    for n in 0..200 {
        process.put(&volume, id(n), &bytes(n, 5000)).unwrap();
        idle(&mut process, 1);
        oldest = oldest.max(volume.volume().figures().checkpoint.age);
    }
    let figures = volume.volume().figures().checkpoint;
    assert!(oldest < 2 * policy.interval && figures.failed == 0, "{oldest}: {figures:?}");
    process.put(&volume, id(1), b"the last").unwrap();
    process.close(&volume);
    drop(held);
    let (_, figures) = recovered(&process.image(), as_volume(Some(ON_DEMAND), None), &pool);
    assert_eq!(figures.age, 0, "a clean stop writes a checkpoint, too");
}

#[test]
fn buffer_lost_in_a_failed_write_is_replaced() {
    let pool = pool(8 << 20);
    let policy = Checkpointing { interval: 4096, rate: 64 << 20 };
    let mut process = start(1, &small_image(&pool), &pool);
    let (volume, _turns) = open_with_queue(&mut process, policy);
    let used = pool.used();
    let _held = pool.alloc(pool.capacity() / 2 + (1 << 20)).unwrap();
    process.put(&volume, id(4), b"later").unwrap();
    // The first operations of a checkpoint: unlink, create, reserve space, write.
    process.world.fail(3, Fault::Errno(5));
    idle(&mut process, 60);
    let figures = volume.volume().figures().checkpoint;
    assert_eq!((figures.failed, figures.written, figures.age), (1, 1, 0), "{figures:?}");
    assert_eq!(pool.used() - used, pool.capacity() / 2 + (1 << 20));
}

#[test]
fn queued_checkpoint_is_cancelled_by_stop_and_resumed() {
    let pool = pool(8 << 20);
    let policy = Checkpointing { interval: 4096, rate: 1 << 20 };
    let mut process = start(1, &small_image(&pool), &pool);
    let (volume, turns) = open_with_queue(&mut process, policy);
    let (handle, other) = (process.runtime.handle().clone(), Rc::clone(&turns));
    handle.clone().spawn(async move {
        let _turn = other.turn(DirId(0)).await;
        handle.sleep_until(handle.now() + 100_000_000_000).await;
    });
    process.put(&volume, id(4), b"later").unwrap();
    idle(&mut process, 3);
    assert_eq!(
        volume.volume().figures().checkpoint.written,
        0,
        "another volume is ahead in the queue"
    );
    let began = process.world.now();
    let stopping = Rc::clone(&volume);
    process.run(async move { stopping.volume().stop_checkpoints().await });
    assert!(process.world.now() - began < 100_000_000, "{}", process.world.now() - began);
    volume.volume().resume_checkpoints();
    idle(&mut process, 120);
    assert_eq!(volume.volume().figures().checkpoint.written, 1, "written after the resume");
}

#[test]
fn checkpoint_is_rewritten_after_failed_volume_removal() {
    let pool = pool(8 << 20);
    let mut process = start(1, &small_image(&pool), &pool);
    let (volume, _turns) = open_with_queue(&mut process, ON_DEMAND);
    assert_eq!(volume.volume().figures().checkpoint.age, 0);
    process.world.fail(2, Fault::Errno(1));
    let handle = process.runtime.handle().clone();
    let removed =
        process.run(async move { volume::remove(&handle, DirId(0), VolumeId(1), 0).await });
    assert!(matches!(removed, Err(NotRemoved::Kept(_))), "{removed:?}");
    assert!(!process.image().files.contains_key(CHECKPOINT));
    volume.volume().resume_checkpoints();
    assert!(volume.volume().figures().checkpoint.age > 0, "recovery would replay the log");
    process.close(&volume);
    assert!(uses_checkpoint(&process.image(), None, &pool, "kept"));
    assert!(process.image().files.contains_key(CHECKPOINT));
}

#[test]
fn recovery_keeps_its_buffers_when_clients_exhaust_the_pool() {
    let pool = pool(8 << 20);
    let image = small_image(&pool);
    let mut process = start(1, &image, &pool);
    let handle = process.runtime.handle().clone();
    let opening = handle.clone();
    process.run(async move { opening.submit(Op::OpenDir { path: "data".into() }).await });
    let (clients, held) = (pool.clone(), RefCell::new(Vec::new()));
    process.world.on_event(move |_| {
        held.borrow_mut().extend(std::iter::from_fn(|| clients.alloc(256 << 10)));
    });
    let expected = as_volume(Some(ON_DEMAND), None);
    let opened = process.run(async move { volume::open(&handle, DirId(0), &expected).await });
    let volume = opened.unwrap();
    assert_eq!(volume.figures().checkpoint.discarded, 0);
    assert!(pool.alloc(1 << 20).is_some(), "recovery returned its buffers");
}

#[test]
fn failed_checkpoint_write_is_harmless_and_retried() {
    let pool = pool(8 << 20);
    let image = small_image(&pool);
    let before = image.bytes(CHECKPOINT);
    let policy = Checkpointing { interval: 4096, rate: 64 << 20 };
    let faults =
        [Fault::Errno(28), Fault::Errno(5), Fault::Short(512), Fault::Dropped, Fault::Kept];
    let begin = || {
        let mut process = Process::start_in(World::new(9, &image), 9, &pool);
        let volume = process.open_as(as_volume(Some(ON_DEMAND), None)).unwrap();
        process.put(&volume, id(4), b"later").unwrap();
        (process, volume)
    };
    let (mut process, volume) = begin();
    let (operations, used) = (process.world.operations(), pool.used());
    assert!(checkpoint(&mut process, &volume));
    let operations = process.world.operations() - operations;
    drop((process, volume));
    let mut failures = 0;
    for fault in faults {
        for n in 0..operations {
            let (mut process, volume) = begin();
            process.world.fail(n, fault);
            let made = {
                let volume = Rc::clone(&volume);
                process.run(async move { volume.volume().checkpoint().await })
            };
            failures += u64::from(made.is_err());
            assert_eq!(process.world.count(WRITE_AFTER_FAILURE), 0, "{fault:?} at {n}");
            let image = process.image();
            assert!(uses_checkpoint(&image, None, &pool, &format!("{fault:?} at {n}")));
            assert!(
                !image.files.contains_key(UNFINISHED),
                "{fault:?} at {n}: {made:?} leaves a file"
            );
            let whole = image.files.get(CHECKPOINT).expect("a checkpoint exists at any time");
            let named = match made {
                Ok(made) => made,
                Err(NotWritten::Failed(what, _)) => what == "sync the directory",
                Err(other) => panic!("{fault:?} at {n}: {other:?}"),
            };
            assert_eq!(whole.to_vec() != before, named, "{fault:?} at {n}: {made:?}");
            assert_eq!(
                (process.world.open_files().len(), pool.used()),
                (1, used),
                "{fault:?} at {n}"
            );
            // The volume stays writable, and its next checkpoint succeeds.
            assert!(!volume.volume().poisoned());
            process.put(&volume, id(5), b"and on").unwrap();
            assert!(checkpoint(&mut process, &volume));
            assert!(uses_checkpoint(
                &process.image(),
                None,
                &pool,
                &format!("after {fault:?} at {n}")
            ));
        }
    }
    assert!(failures > 20, "{failures}");

    // The periodic checkpoint is retried after a pause.
    let mut process = start(11, &image, &pool);
    let volume = process.open_as(as_volume(Some(policy), None)).unwrap();
    process.put(&volume, id(4), b"later").unwrap();
    process.world.fail(2, Fault::Errno(28));
    idle(&mut process, 60);
    let figures = volume.volume().figures().checkpoint;
    assert_eq!((figures.failed, figures.written, figures.age), (1, 1, 0), "{figures:?}");
}

#[test]
fn removed_volume_leaves_no_checkpoint_and_new_one_uses_none() {
    let pool = pool(8 << 20);
    let image = small_image(&pool);
    let mut process = start(1, &image, &pool);
    let handle = process.runtime.handle().clone();
    process.run(async move { volume::remove(&handle, DirId(0), VolumeId(1), 0).await }).unwrap();
    assert!(process.image().files.is_empty());

    // A leftover checkpoint belongs to a file that no longer exists.
    let mut process = start(2, &Image::default(), &pool);
    process.create(1 << 20);
    let mut empty = process.image();
    empty.files.insert(CHECKPOINT.to_owned(), image.files[CHECKPOINT].clone());
    assert!(!uses_checkpoint(&empty, None, &pool, "left by another"));
}

/// A leftover of a killed attempt does no harm.
#[test]
fn unfinished_checkpoint_is_overwritten() {
    let pool = pool(8 << 20);
    let mut image = small_image(&pool);
    image.files.insert(UNFINISHED.to_owned(), image.files[CHECKPOINT].clone());
    let mut process = start(5, &image, &pool);
    let volume = process.open_as(as_volume(Some(ON_DEMAND), None)).unwrap();
    process.put(&volume, id(4), b"later").unwrap();
    assert!(checkpoint(&mut process, &volume));
    assert!(!process.image().files.contains_key(UNFINISHED));
    assert!(uses_checkpoint(&process.image(), None, &pool, "rewritten"));
}
