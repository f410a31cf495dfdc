//! Read-only and writable: what an operator says of a volume is durable when it is answered, whole
//! at every power cut, and never at the cost of what clients were promised.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use common::{COOKIE, Process, bytes, draft, pool};
use hayloft::op::DirId;
use hayloft::sim::Fault;
use hayloft::sim::disk::Image;
use hayloft::types::NeedleId;
use hayloft::volume::{
    self, IoError, NotRemoved, Preallocation, Refusal, StateError, Volume, VolumeState,
};

const A: NeedleId = NeedleId::new(1, 0);
const B: NeedleId = NeedleId::new(2, 0);
const SIZE: u64 = 1 << 20;

fn started() -> (Process, Rc<Volume>) {
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    process.create(SIZE);
    let volume = process.open().unwrap();
    (process, volume)
}

fn set(process: &mut Process, volume: &Rc<Volume>, read_only: bool) -> Result<(), StateError> {
    let volume = Rc::clone(volume);
    process.run(async move { volume.set_read_only(read_only).await })
}

#[test]
fn a_read_only_volume_reads_and_takes_nothing_also_after_a_restart() {
    let (mut process, mut volume) = started();
    process.put(&volume, A, b"before").unwrap();
    set(&mut process, &volume, true).unwrap();
    set(&mut process, &volume, true).expect("it is already");
    for seed in 2..4 {
        assert_eq!(volume.state(), VolumeState::ReadOnly);
        assert!(!volume.writable() && !volume.poisoned());
        assert_eq!(process.put(&volume, B, b"x"), Err(Refusal::ReadOnly));
        assert_eq!(process.put(&volume, A, b"x"), Err(Refusal::ReadOnly));
        assert_eq!(process.delete(&volume, A), Err(Refusal::ReadOnly));
        assert_eq!(process.get(&volume, A).unwrap(), b"before");
        process.close(&volume);
        process = Process::start(seed, &process.image(), &pool(32 << 20));
        volume = process.open().unwrap();
    }
    set(&mut process, &volume, false).unwrap();
    process.put(&volume, B, b"after").unwrap();
    process.close(&volume);
    let mut restarted = Process::start(9, &process.image(), &pool(32 << 20));
    let volume = restarted.open().unwrap();
    assert!(volume.writable());
    assert_eq!(restarted.get(&volume, B).unwrap(), b"after");
}

#[test]
fn what_was_admitted_before_is_written_before_and_nothing_after() {
    let (mut process, volume) = started();
    let handle = process.runtime.handle().clone();
    let stored = Rc::new(Cell::new(0));
    for n in 0..40 {
        let (volume, stored) = (Rc::clone(&volume), Rc::clone(&stored));
        let draft = draft(handle.pool(), &bytes(n, 3000));
        handle.spawn(async move {
            match volume.put(NeedleId::new(n, 0), COOKIE, draft, None).await {
                Ok(_) => stored.set(stored.get() + 1),
                Err(refusal) => assert_eq!(refusal, Refusal::ReadOnly),
            }
        });
    }
    let (closing, waiting) = (Rc::clone(&volume), handle.clone());
    let tail = process.run(async move {
        // Let some of them join a commit.
        waiting.yield_now().await;
        closing.set_read_only(true).await.unwrap();
        closing.figures().used
    });
    process.run(async move { handle.sleep_until(handle.now() + 3_000_000_000).await });
    assert!(stored.get() > 0);
    assert_eq!(volume.figures().needles, stored.get());
    assert_eq!(volume.figures().used, tail, "written after it was said to be read-only");
}

#[test]
fn a_commit_that_takes_its_time_is_waited_for() {
    let (mut process, volume) = started();
    process.world.fail(0, Fault::Stall(5_000_000_000));
    let handle = process.runtime.handle().clone();
    let (writer, draft) = (Rc::clone(&volume), draft(handle.pool(), b"slow"));
    handle.spawn(async move {
        writer.put(A, COOKIE, draft, None).await.unwrap();
    });
    let closing = Rc::clone(&volume);
    let needles = process.run(async move {
        let waiting = handle.sleep_until(handle.now() + 10_000_000);
        waiting.await;
        closing.set_read_only(true).await.unwrap();
        closing.figures().needles
    });
    assert_eq!((needles, process.world.count("stall")), (1, 1), "said to be read-only too early");
}

#[test]
fn a_power_cut_leaves_the_old_state_or_the_new_one() {
    for read_only in [true, false] {
        let pool = pool(32 << 20);
        let (mut process, volume) = started();
        process.put(&volume, A, b"before").unwrap();
        if !read_only {
            set(&mut process, &volume, true).unwrap();
        }
        let done = Rc::new(Cell::new(false));
        let points = Rc::new(RefCell::new(Vec::new()));
        let (sink, seen) = (Rc::clone(&points), Rc::clone(&done));
        process.world.on_event(move |snapshot| {
            sink.borrow_mut().push((snapshot.wreck(), seen.get()));
        });
        set(&mut process, &volume, read_only).unwrap();
        done.set(true);
        process.close(&volume);
        let (mut old, mut new) = (0, 0);
        for (seed, (wreck, done)) in points.take().into_iter().enumerate() {
            for survives in 0..3 {
                let image = wreck.image(|n| n % 2 == survives || survives == 2, wreck.changes());
                let mut process = Process::start(seed as u64, &image, &pool);
                let volume = process.open().expect("no cut costs the superblock");
                assert_eq!(process.get(&volume, A).unwrap(), b"before");
                let is_new = (volume.state() == VolumeState::ReadOnly) == read_only;
                assert!(is_new || !done, "undone after it was answered");
                *(if is_new { &mut new } else { &mut old }) += 1;
            }
        }
        assert!(old > 0 && new > 0, "{old} {new}");
    }
}

#[test]
fn a_failed_write_of_the_state_poisons_and_any_copy_will_do() {
    for n in 0..3 {
        for fault in [Fault::Errno(5), Fault::Short(512)] {
            let (mut process, volume) = started();
            process.put(&volume, A, b"before").unwrap();
            // The hint that an idle volume writes.
            let handle = process.runtime.handle().clone();
            process.run(async move { handle.sleep_until(handle.now() + 3_000_000_000).await });
            process.world.fail(n, fault);
            let failed = set(&mut process, &volume, true).unwrap_err();
            assert!(matches!(failed, StateError::Failed(_)), "{failed}");
            assert!(volume.poisoned() && !volume.writable());
            assert_eq!(set(&mut process, &volume, false), Err(StateError::Poisoned));
            assert_eq!(set(&mut process, &volume, true), Err(StateError::Poisoned));
            assert_eq!(process.get(&volume, A).unwrap(), b"before");
            process.close(&volume);
            let mut restarted = Process::start(2, &process.image(), &pool(32 << 20));
            let volume = restarted.open().unwrap();
            assert_eq!(restarted.get(&volume, A).unwrap(), b"before");
            set(&mut restarted, &volume, false).unwrap();
            restarted.put(&volume, B, b"works").unwrap();
        }
    }
}

#[test]
fn a_forsaken_volume_reads_and_acknowledges_nothing_more() {
    let (mut process, volume) = started();
    process.put(&volume, A, b"before").unwrap();
    let handle = process.runtime.handle().clone();
    let draft = draft(handle.pool(), b"under way");
    let (writer, outcome) = (Rc::clone(&volume), Rc::new(RefCell::new(None)));
    let sink = Rc::clone(&outcome);
    handle.spawn(async move {
        let stored = writer.put(B, COOKIE, draft, None).await;
        *sink.borrow_mut() = Some(stored.map(drop));
    });
    let waiting = handle.clone();
    process.run(async move { waiting.yield_now().await });
    volume.forsake();
    process.run(async move { handle.sleep_until(handle.now() + 3_000_000_000).await });
    let refused = outcome.take().expect("it is told").unwrap_err();
    assert!(matches!(refused, Refusal::Failed(_) | Refusal::Poisoned), "{refused}");
    assert_eq!(process.put(&volume, B, b"x"), Err(Refusal::Poisoned));
    assert_eq!(process.get(&volume, A).unwrap(), b"before");
    process.close(&volume);
}

#[test]
fn a_removed_volume_is_gone_and_its_readers_finish() {
    let (mut process, volume) = started();
    process.put(&volume, A, b"before").unwrap();
    let handle = process.runtime.handle().clone();
    let removed = process.run(async move { volume::remove(&handle, DirId(0), 1, 0).await });
    assert_eq!(removed, Ok(()));
    assert_eq!(process.get(&volume, A).unwrap(), b"before", "who has it open may finish");
    let retiring = Rc::clone(&volume);
    process.run(async move { retiring.retire().await });
    assert_eq!(process.get(&volume, A).unwrap(), b"before");
    let before = process.world.operations();
    drop(volume);
    let handle = process.runtime.handle().clone();
    process.run(async move { handle.sleep_until(handle.now() + 1_000_000).await });
    assert!(process.world.operations() > before, "the file is closed with its last reader");
    let image = process.image();
    assert!(!image.files.contains_key("1.0.vol"));
    let handle = process.runtime.handle().clone();
    let again = process.run(async move { volume::remove(&handle, DirId(0), 1, 0).await });
    assert_eq!(again, Err(NotRemoved::Kept(IoError::Errno(2))));
}

#[test]
fn a_volume_that_does_not_fit_leaves_nothing_behind() {
    for (n, what) in [(1, "reserve space"), (2, "write the superblock"), (5, "sync the file")] {
        let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
        let handle = process.runtime.handle().clone();
        process.world.fail(n, Fault::Errno(28));
        let created = process.run(async move {
            let superblock = common::superblock(SIZE);
            volume::create(&handle, DirId(0), &superblock, Preallocation::Reserve, |_| ()).await
        });
        let (during, error) = created.unwrap_err();
        assert!(during.starts_with(what), "{during}");
        assert_eq!(error, IoError::Errno(28));
        assert!(process.image().files.is_empty());
    }
}

#[test]
fn progress_is_told_while_a_file_is_filled_with_zeros() {
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    let handle = process.runtime.handle().clone();
    let told = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&told);
    let created = process.run(async move {
        let superblock = common::superblock(3 << 20);
        let progress = |done| sink.borrow_mut().push(done);
        volume::create(&handle, DirId(0), &superblock, Preallocation::Zeroed, progress).await
    });
    assert_eq!(created, Ok(()));
    assert_eq!(told.take(), [1 << 20, 2 << 20, 3 << 20]);
}
