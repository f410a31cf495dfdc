//! State changes of a volume (read-only, writable): durable when they are answered, atomic at every power
//! cut, and without losing acknowledged writes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hayloft::base::types::{NeedleId, VolumeId};
use hayloft::runtime::op::DirId;
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::superblock_offsets;
use hayloft::volume::{
    self, IoError, NotRemoved, Preallocation, Refusal, Slot, StateError, Superblock,
    SuperblockState,
};

use crate::common::{self, COOKIE, Process, bytes, draft, pool};

const A: NeedleId = NeedleId::new(1, 0);
const B: NeedleId = NeedleId::new(2, 0);
const SIZE: u64 = 1 << 20;
const FILE: &str = "1.0.vol";

fn started() -> (Process, Rc<Slot>) {
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    process.create(SIZE);
    let volume = process.open().unwrap();
    (process, volume)
}

fn set(process: &mut Process, volume: &Rc<Slot>, read_only: bool) -> Result<(), StateError> {
    let volume = Rc::clone(volume);
    process.run(async move { volume.set_read_only(read_only).await })
}

#[test]
fn read_only_volume_refuses_writes_also_after_restart() {
    let (mut process, mut volume) = started();
    process.put(&volume, A, b"before").unwrap();
    set(&mut process, &volume, true).unwrap();
    set(&mut process, &volume, true).expect("setting the same state succeeds");
    for seed in 2..4 {
        assert_eq!(volume.volume().superblock_state(), SuperblockState::ReadOnly);
        assert!(!volume.volume().writable() && !volume.volume().poisoned());
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
    assert!(volume.volume().writable());
    assert_eq!(restarted.get(&volume, B).unwrap(), b"after");
}

const MS: u64 = 1_000_000;

/// Stores needle `n` after a delay (ns). Returns a cell for the result.
fn put_later(
    process: &Process,
    volume: &Rc<Slot>,
    n: u64,
    after: u64,
) -> Rc<Cell<Option<Result<(), Refusal>>>> {
    let (volume, handle) = (Rc::clone(volume), process.runtime.handle().clone());
    let draft = draft(handle.pool(), &bytes(n, 3000));
    let outcome = Rc::new(Cell::new(None));
    let sink = Rc::clone(&outcome);
    handle.clone().spawn(async move {
        handle.sleep_until(handle.now() + after).await;
        let put = volume.put(NeedleId::new(n, 0), COOKIE, draft, None).await;
        sink.set(Some(put.map(drop)));
    });
    outcome
}

#[test]
fn set_read_only_waits_for_admitted_writes_and_refuses_later_ones() {
    let (mut process, volume) = started();
    // The commit in flight takes 1 s, the next one 5 s.
    process.world.fail(0, Fault::Stall(1000 * MS));
    process.world.fail(1, Fault::Stall(5000 * MS));
    let before: Vec<_> = (0..40)
        .map(|n| put_later(&process, &volume, n, if n < 3 { 0 } else { 100 * MS }))
        .collect();
    // During the change to read-only: while the first commit is in flight, and the second.
    let late: Vec<_> =
        [300, 3000].map(|after| put_later(&process, &volume, 50 + after, after * MS)).into();
    let (closing, handle) = (Rc::clone(&volume), process.runtime.handle().clone());
    let (needles, used) = process.run(async move {
        handle.sleep_until(handle.now() + 200 * MS).await;
        assert_eq!(closing.volume().figures().needles, 0, "nothing is written yet");
        closing.set_read_only(true).await.unwrap();
        (closing.volume().figures().needles, closing.volume().figures().used)
    });
    assert_eq!(process.world.count("stall"), 2, "two commits were delayed");
    assert_eq!(needles, 40, "the change was answered before all admitted writes were durable");
    let image = process.image();
    let handle = process.runtime.handle().clone();
    process.run(async move { handle.sleep_until(handle.now() + 10_000 * MS).await });
    assert!(before.iter().all(|outcome| outcome.get() == Some(Ok(()))));
    assert!(late.iter().all(|outcome| outcome.get() == Some(Err(Refusal::ReadOnly))));
    let log = |image: &Image| image.bytes(FILE).split_off(65_536);
    assert_eq!(volume.volume().figures().used, used, "written after the change was answered");
    assert!(log(&process.image()) == log(&image), "written after the change was answered");
}

/// A volume that a power cut leaves read-only must not contain writes acknowledged during the change to
/// writable.
#[test]
fn writes_are_refused_until_the_writable_state_is_durable() {
    let (mut process, volume) = started();
    set(&mut process, &volume, true).unwrap();
    // Each of the three superblock copies takes 1 s.
    for n in 0..3 {
        process.world.fail(n, Fault::Stall(1000 * MS));
    }
    let early: Vec<_> = (0..15).map(|n| put_later(&process, &volume, n, n * 200 * MS)).collect();
    let (opening, handle) = (Rc::clone(&volume), process.runtime.handle().clone());
    let began = process.world.now();
    process.run(async move { opening.set_read_only(false).await }).unwrap();
    assert!(process.world.now() - began > 3000 * MS, "the change took as long as its writes");
    assert!(early.iter().all(|outcome| outcome.get() == Some(Err(Refusal::ReadOnly))));
    process.run(async move { handle.sleep_until(handle.now() + MS).await });
    process.put(&volume, A, b"now").unwrap();

    // If the change fails, writes are refused, too.
    for n in 0..3 {
        let (mut process, volume) = started();
        set(&mut process, &volume, true).unwrap();
        process.world.fail(n, Fault::Errno(5));
        assert!(matches!(set(&mut process, &volume, false), Err(StateError::Failed(_))));
        assert!(!volume.volume().writable());
        assert!(process.put(&volume, A, b"now").is_err());
    }
}

/// The copy with the highest revision is valid.
#[test]
fn state_changes_increment_the_revision_of_every_copy() {
    let (mut process, volume) = started();
    for (revision, read_only) in (2..).zip([true, false, true, false]) {
        set(&mut process, &volume, read_only).unwrap();
        let file = process.image().bytes(FILE);
        for at in superblock_offsets(SIZE) {
            let copy = Superblock::decode(&file[usize::try_from(at).unwrap()..]).unwrap();
            assert_eq!((copy.revision, copy.state), (revision, volume.volume().superblock_state()));
        }
    }
}

#[test]
fn sealed_volume_cannot_be_made_writable() {
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    let handle = process.runtime.handle().clone();
    let created = process.run(async move {
        let superblock = Superblock { state: SuperblockState::Sealed, ..common::superblock(SIZE) };
        volume::create(&handle, DirId(0), &superblock, Preallocation::Reserve, |_| ()).await
    });
    created.unwrap();
    let volume = process.open().unwrap();
    assert_eq!(set(&mut process, &volume, false), Err(StateError::Sealed));
    assert_eq!(set(&mut process, &volume, true), Ok(()));
    assert_eq!(
        (volume.volume().superblock_state(), volume.volume().writable()),
        (SuperblockState::Sealed, false)
    );
    assert_eq!(process.put(&volume, A, b"x"), Err(Refusal::ReadOnly));
}

#[test]
fn set_read_only_waits_for_a_slow_commit() {
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
        closing.volume().figures().needles
    });
    assert_eq!(
        (needles, process.world.count("stall")),
        (1, 1),
        "the change was answered before the commit completed"
    );
}

#[test]
fn power_cut_during_a_state_change_leaves_the_old_or_new_state() {
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
                let volume = process.open().expect("a power cut leaves a valid superblock copy");
                assert_eq!(process.get(&volume, A).unwrap(), b"before");
                let is_new =
                    (volume.volume().superblock_state() == SuperblockState::ReadOnly) == read_only;
                assert!(is_new || !done, "the change was answered and then lost");
                *(if is_new { &mut new } else { &mut old }) += 1;
            }
        }
        assert!(old > 0 && new > 0, "{old} {new}");
    }
}

#[test]
fn failed_state_write_poisons_and_the_volume_recovers_on_restart() {
    for n in 0..3 {
        for fault in [Fault::Errno(5), Fault::Short(512)] {
            let (mut process, volume) = started();
            process.put(&volume, A, b"before").unwrap();
            // Waits for the tail hint of an idle volume.
            let handle = process.runtime.handle().clone();
            process.run(async move { handle.sleep_until(handle.now() + 3_000_000_000).await });
            process.world.fail(n, fault);
            let failed = set(&mut process, &volume, true).unwrap_err();
            assert!(matches!(failed, StateError::Failed(_)), "{failed}");
            assert!(volume.volume().poisoned() && !volume.volume().writable());
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
fn fenced_volume_serves_reads_and_acknowledges_no_write() {
    let (mut process, volume) = started();
    process.put(&volume, A, b"before").unwrap();
    let handle = process.runtime.handle().clone();
    let draft = draft(handle.pool(), b"in flight");
    let (writer, outcome) = (Rc::clone(&volume), Rc::new(RefCell::new(None)));
    let sink = Rc::clone(&outcome);
    handle.spawn(async move {
        let stored = writer.put(B, COOKIE, draft, None).await;
        *sink.borrow_mut() = Some(stored.map(drop));
    });
    let waiting = handle.clone();
    process.run(async move { waiting.yield_now().await });
    volume.volume().fence();
    process.run(async move { handle.sleep_until(handle.now() + 3_000_000_000).await });
    let refused = outcome.take().expect("the write is answered").unwrap_err();
    assert!(matches!(refused, Refusal::Failed(_) | Refusal::Poisoned), "{refused}");
    assert_eq!(process.put(&volume, B, b"x"), Err(Refusal::Poisoned));
    assert_eq!(process.get(&volume, A).unwrap(), b"before");
    // A state change is refused, since a restart would not find it.
    let image = process.image();
    assert_eq!(set(&mut process, &volume, true), Err(StateError::Poisoned));
    process.close(&volume);
    assert!(process.image() == image, "something was written");
}

/// A tail hint that is due is not written, because the file may be on a missing disk.
#[test]
fn fenced_volume_is_not_written() {
    let (mut process, volume) = started();
    process.put(&volume, A, b"a hint is due").unwrap();
    let handle = process.runtime.handle().clone();
    // The committer already waits for the time of the hint.
    let waiting = handle.clone();
    process.run(async move { waiting.sleep_until(waiting.now() + 100 * MS).await });
    volume.volume().fence();
    let image = process.image();
    process.run(async move { handle.sleep_until(handle.now() + 10_000 * MS).await });
    process.close(&volume);
    assert!(process.image() == image, "something was written");
}

#[test]
fn removed_volume_is_gone_and_open_readers_finish() {
    let (mut process, volume) = started();
    process.put(&volume, A, b"before").unwrap();
    let handle = process.runtime.handle().clone();
    let removed =
        process.run(async move { volume::remove(&handle, DirId(0), VolumeId(1), 0).await });
    assert_eq!(removed, Ok(()));
    assert_eq!(process.get(&volume, A).unwrap(), b"before", "open readers may finish");
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
    let again = process.run(async move { volume::remove(&handle, DirId(0), VolumeId(1), 0).await });
    assert_eq!(again, Err(NotRemoved::Kept(IoError::Errno(2))));
}

#[test]
fn failed_create_leaves_no_file() {
    let steps = |how: Preallocation, errors: u64| {
        let mut steps: Vec<&'static str> = Vec::new();
        let succeeded = (0..30).map(|n| {
            let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
            let handle = process.runtime.handle().clone();
            process.world.fail(n, Fault::Errno(28));
            let created = process.run(async move {
                volume::create(&handle, DirId(0), &common::superblock(SIZE), how, |_| ()).await
            });
            let Err((during, error)) = created else { return true };
            assert_eq!(error, IoError::Errno(28));
            assert_eq!(process.world.names(), [""; 0], "{during}");
            if steps.last() != Some(&during) {
                steps.push(during);
            }
            false
        });
        let failed = succeeded.filter(|has_succeeded| !has_succeeded).count() as u64;
        assert_eq!(failed, errors, "{steps:?}");
        steps
    };
    let first = ["create the file", "reserve space for the file"];
    let last = ["write the superblock", "sync the file", "name the file", "sync the directory"];
    assert_eq!(steps(Preallocation::Reserve, 8), [&first[..], &last].concat());
    let zeroed = [&first[..], &["zero the file"], &last].concat();
    assert_eq!(steps(Preallocation::Zeroed, 9), zeroed);
}

/// Without this, no volume of this number could be made before the next start.
#[test]
fn volume_can_be_created_after_a_create_that_failed_at_any_step() {
    for n in 0..9 {
        let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
        process.world.fail(n, Fault::Errno(5));
        let handle = process.runtime.handle().clone();
        let create = async move || {
            let how = Preallocation::Reserve;
            volume::create(&handle, DirId(0), &common::superblock(SIZE), how, |_| ()).await
        };
        let (first, second) = process.run(async move { (create().await, create().await) });
        let exists = Err(("name the file", IoError::Errno(17)));
        assert_eq!(second, if first.is_ok() { exists } else { Ok(()) }, "{n}: {first:?}");
    }
}

#[test]
fn zeroing_a_new_file_reports_progress() {
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    let handle = process.runtime.handle().clone();
    let reported = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&reported);
    let created = process.run(async move {
        let superblock = common::superblock(3 << 20);
        let progress = |done| sink.borrow_mut().push(done);
        volume::create(&handle, DirId(0), &superblock, Preallocation::Zeroed, progress).await
    });
    assert_eq!(created, Ok(()));
    assert_eq!(reported.take(), [1 << 20, 2 << 20, 3 << 20]);

    // A size that is not a multiple of the write size.
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    let handle = process.runtime.handle().clone();
    let sink = Rc::clone(&reported);
    let created = process.run(async move {
        let superblock = common::superblock((1 << 20) + 8192);
        let progress = |done| sink.borrow_mut().push(done);
        volume::create(&handle, DirId(0), &superblock, Preallocation::Zeroed, progress).await
    });
    assert_eq!(created, Ok(()));
    assert_eq!(reported.take(), [1 << 20, (1 << 20) + 8192]);
}
