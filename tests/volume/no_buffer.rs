//! Operations on an exhausted buffer pool: each fails with a "no buffer" error, changes and loses nothing,
//! leaks no file and no buffer, and succeeds once buffers are free again.

use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::runtime::buffer::{Buf, Pool};
use hayloft::runtime::op::{DirId, Op};
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::{
    self, Expected, GetError, IoError, NewNeedle, NotWritten, OpenError, Preallocation, Refusal,
    Slot, StateError, SuperblockState,
};
use nix::libc::{EEXIST, EIO, ENOBUFS, ENOENT};

use crate::common::{COOKIE, ON_DEMAND, Process, draft, expected, pool, superblock};

const FILE: &str = "1.0.vol";
const UNFINISHED: &str = "1.0.vol.tmp";
const SIZE: u64 = 1 << 20;
const A: NeedleId = NeedleId::new(1, 0);
const B: NeedleId = NeedleId::new(2, 0);

/// Allocates all free buffers of a pool.
fn exhaust(pool: &Pool) -> Vec<Buf> {
    std::iter::from_fn(|| pool.alloc(1)).collect()
}

/// A volume that contains needle A.
fn started(pool: &Pool) -> (Process, Rc<Slot>) {
    let mut process = Process::start(1, &Image::default(), pool);
    process.create(SIZE);
    let volume = process
        .open_as(Expected { hash_bits: None, checkpoints: Some(ON_DEMAND), ..expected() })
        .unwrap();
    process.put(&volume, A, b"before").unwrap();
    (process, volume)
}

/// Image of such a volume after a clean stop.
fn closed(pool: &Pool) -> Image {
    let (mut process, volume) = started(pool);
    process.close(&volume);
    process.image()
}

fn set(process: &mut Process, volume: &Rc<Slot>, read_only: bool) -> Result<(), StateError> {
    let volume = Rc::clone(volume);
    process.run(async move { volume.set_read_only(read_only).await })
}

fn create(
    process: &mut Process,
    preallocation: Preallocation,
) -> Result<(), (&'static str, IoError)> {
    let handle = process.runtime.handle().clone();
    process.run(async move {
        handle.submit(Op::OpenDir { path: "data".into() }).await;
        volume::create(&handle, DirId(0), &superblock(SIZE), preallocation, |_| ()).await
    })
}

#[test]
fn open_succeeds_or_fails_with_no_buffer_for_every_pool_size() {
    let image = closed(&pool(16 << 20));
    let mut outcomes = [0; 2];
    // Number of free pages.
    for free in (0..16).chain([100, 300]).chain(380..400) {
        let pool = pool(4 << 20);
        let mut held = exhaust(&pool);
        let page = held[0].len();
        let held_pages = 1024 - free;
        held.truncate(held_pages);
        let used = pool.used();
        assert_eq!(used, held_pages * page);
        let mut process = Process::start(2, &image, &pool);
        let opened = process.open();
        match opened {
            Ok(volume) => {
                outcomes[0] += 1;
                drop(held);
                assert_eq!(process.get(&volume, A).unwrap(), b"before");
                process.put(&volume, B, b"after").unwrap();
                process.close(&volume);
            }
            Err(error) => {
                outcomes[1] += 1;
                assert!(matches!(error, OpenError::NoBuffer), "{free} pages: {error}");
                assert_eq!(pool.used(), used, "{free} pages: buffers were leaked");
                assert!(process.image() == image, "{free} pages: the file was changed");
            }
        }
        assert_eq!(process.world.open_files().len(), 0, "{free} pages");
    }
    assert!(outcomes.iter().all(|count| *count > 10), "{outcomes:?}");
}

/// Clients allocate all buffers after a varying number of operations of the open.
#[test]
fn open_fails_cleanly_when_buffers_run_out_at_any_operation() {
    let image = closed(&pool(16 << 20));
    let mut refused = 0;
    // A damaged superblock copy is repaired from the buffer of the read.
    let mut damaged = image.clone();
    damaged.file(FILE).flip(4096 + 30, 1);
    for image in [image, damaged] {
        for operation in 0..40 {
            let pool = pool(4 << 20);
            let mut process = Process::start(2, &image, &pool);
            let (clients, held) = (pool.clone(), Rc::new(std::cell::RefCell::new(Vec::new())));
            let (sink, first) = (Rc::clone(&held), process.world.operations());
            let world = process.world.clone();
            let count = std::cell::Cell::new(first);
            process.world.on_event(move |_| {
                count.set(count.get() + 1);
                if count.get() == first + operation {
                    sink.borrow_mut().extend(std::iter::from_fn(|| clients.alloc(1)));
                }
            });
            let opened = process.open();
            process.world.on_event(|_| ());
            held.borrow_mut().clear();
            match opened {
                Ok(volume) => {
                    assert!(volume.volume().writable(), "operation {operation}");
                    assert_eq!(process.get(&volume, A).unwrap(), b"before");
                    process.close(&volume);
                }
                Err(error) => {
                    refused += 1;
                    assert!(matches!(error, OpenError::NoBuffer), "operation {operation}: {error}");
                }
            }
            assert_eq!(world.open_files().len(), 0, "operation {operation}");
            let mut again = Process::start(3, &process.image(), &pool);
            let volume = again.open().unwrap();
            assert_eq!(again.get(&volume, A).unwrap(), b"before");
            again.put(&volume, B, b"after").unwrap();
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn state_change_without_a_buffer_changes_nothing() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    for (before, read_only) in [(SuperblockState::Live, true), (SuperblockState::ReadOnly, false)] {
        let image = process.image();
        let held = exhaust(&pool);
        assert_eq!(set(&mut process, &volume, read_only), Err(StateError::NoBuffer));
        assert_eq!(volume.volume().superblock_state(), before);
        assert_eq!(volume.volume().writable(), before == SuperblockState::Live);
        drop(held);
        assert!(process.image() == image, "something was written");
        let put = process.put(&volume, B, b"as before");
        assert_eq!(put.err(), (before == SuperblockState::ReadOnly).then_some(Refusal::ReadOnly));
        set(&mut process, &volume, read_only).unwrap();
        assert_ne!(volume.volume().superblock_state(), before);
    }
    process.put(&volume, B, b"writable again").unwrap();
}

#[test]
fn writes_without_a_buffer_are_refused_and_change_nothing() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    let new = |id, data: &[u8]| NewNeedle { id, cookie: COOKIE, draft: draft(&pool, data) };
    let before = volume.volume().figures();
    let (one, batch) = (draft(&pool, b"one"), vec![new(B, b"two"), new(A, b"three")]);
    let (to_delete, to_batch, to_ask) =
        (Rc::clone(&volume), Rc::clone(&volume), Rc::clone(&volume));
    let to_put = Rc::clone(&volume);
    let mut held = exhaust(&pool);
    let no_buffer = Err(Refusal::NoBuffer);
    let put = process.run(async move { to_put.put(A, COOKIE, one, None).await.map(drop) });
    assert_eq!(put, no_buffer, "the existing needle must be read");
    // The buffer of the draft is free again.
    held.extend(exhaust(&pool));
    let put = process.run(async move { to_batch.put_batch(batch, None).await.map(drop) });
    assert_eq!(put, no_buffer);
    held.extend(exhaust(&pool));
    assert_eq!(process.run(async move { to_ask.may_put(A, COOKIE, None).await }), no_buffer);
    assert_eq!(process.run(async move { to_delete.delete(A, COOKIE, None).await }), no_buffer);
    assert!(volume.volume().walk().is_none());
    let reading = Rc::clone(&volume);
    let got = process.run(async move { reading.get(A, COOKIE, |_| None).await.map(drop) });
    assert!(matches!(got, Err(GetError::NeedBuffer(len)) if len > 512), "{got:?}");
    drop(held);
    assert_eq!(volume.volume().figures(), before);
    assert_eq!(process.get(&volume, A).unwrap(), b"before");
    assert_eq!(process.get(&volume, B), Err(GetError::NotFound));
    process.put(&volume, B, b"after").unwrap();
    process.delete(&volume, A).unwrap();
}

/// One buffer is free: it reads the existing header; none is left for the tombstone.
#[test]
fn delete_without_a_buffer_for_its_tombstone_changes_nothing() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    let (deleting, before) = (Rc::clone(&volume), volume.volume().figures());
    let mut held = exhaust(&pool);
    held.pop();
    let clients = pool.clone();
    let taken = Rc::new(std::cell::RefCell::new(Vec::new()));
    let sink = Rc::clone(&taken);
    let deleted = process.run(async move {
        let take = |_: Option<&volume::Existing>| {
            sink.borrow_mut().extend(std::iter::from_fn(|| clients.alloc(1)));
            true
        };
        deleting.delete(A, COOKIE, Some(&take)).await
    });
    assert_eq!(deleted, Err(Refusal::NoBuffer));
    assert_eq!(taken.borrow().len(), 1, "the buffer of the header was released");
    taken.borrow_mut().clear();
    drop(held);
    assert_eq!(volume.volume().figures(), before);
    assert_eq!(process.get(&volume, A).unwrap(), b"before");
    process.delete(&volume, A).unwrap();
}

#[test]
fn checkpoint_without_a_buffer_is_skipped_and_the_next_written() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    let files: Vec<String> = process.image().files.keys().cloned().collect();
    let held = exhaust(&pool);
    let began = process.world.now();
    let saving = Rc::clone(&volume);
    let saved = process.run(async move { saving.volume().checkpoint().await });
    assert_eq!(saved, Err(NotWritten::NoBuffer));
    assert!(process.world.now() - began < 5_000_000_000, "the wait for a buffer is short");
    drop(held);
    let figures = volume.volume().figures().checkpoint;
    assert_eq!((figures.failed, figures.written), (1, 0));
    assert_eq!(process.image().files.keys().cloned().collect::<Vec<_>>(), files);
    let saving = Rc::clone(&volume);
    assert_eq!(process.run(async move { saving.volume().checkpoint().await }), Ok(true));
    assert_eq!(process.world.open_files().len(), 1, "only the file of the volume");
}

/// A checkpoint is not written while half of the pool is in use.
#[test]
fn checkpoint_leaves_half_of_the_buffers_to_clients() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    let held = pool.alloc(pool.capacity() / 2).unwrap();
    let saving = Rc::clone(&volume);
    let saved = process.run(async move { saving.volume().checkpoint().await });
    assert_eq!(saved, Err(NotWritten::NoBuffer));
    drop(held);
}

#[test]
fn create_without_buffers_fails_and_leaves_no_file() {
    for (preallocation, during) in
        [(Preallocation::Reserve, "get a buffer"), (Preallocation::Zeroed, "zero the file")]
    {
        let pool = pool(8 << 20);
        let mut process = Process::start(1, &Image::default(), &pool);
        let held = exhaust(&pool);
        let created = create(&mut process, preallocation);
        assert_eq!(created, Err((during, IoError::Errno(ENOBUFS))));
        assert!(process.image().files.is_empty());
        assert_eq!(process.world.open_files().len(), 0);
        drop(held);
        assert_eq!(create(&mut process, preallocation), Ok(()));
        assert_eq!((process.world.open_files().len(), pool.used()), (0, 0));
    }
}

#[test]
fn create_does_not_replace_an_existing_volume() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    process.close(&volume);
    let image = process.image();
    let created = create(&mut process, Preallocation::Reserve);
    assert_eq!(created, Err(("name the file", IoError::Errno(EEXIST))));
    assert!(process.image() == image, "the existing file is unchanged and the only one");
    assert_eq!(process.world.open_files().len(), 0);
    let volume = process.open().unwrap();
    assert_eq!(process.get(&volume, A).unwrap(), b"before");
}

/// A killed creation leaves its temporary file, which the daemon removes at start.
#[test]
fn create_does_not_touch_an_unfinished_file() {
    let pool = pool(8 << 20);
    let left = Image::of(UNFINISHED, b"left");
    let mut process = Process::start(1, &left, &pool);
    let created = create(&mut process, Preallocation::Reserve);
    assert_eq!(created, Err(("create the file", IoError::Errno(EEXIST))));
    assert!(process.image() == left);
    assert_eq!(process.world.open_files().len(), 0);
}

/// Fails each operation of a creation in turn: no file stays open, and none is left, under any name.
#[test]
fn failed_create_leaves_no_file() {
    for preallocation in [Preallocation::Reserve, Preallocation::Zeroed] {
        let pool = pool(8 << 20);
        let mut process = Process::start(1, &Image::default(), &pool);
        create(&mut process, preallocation).unwrap();
        let operations = process.world.operations();
        let mut failures = 0;
        for n in 0..operations {
            let mut process = Process::start(1, &Image::default(), &pool);
            process.world.fail(n, Fault::Errno(EIO));
            let created = create(&mut process, preallocation);
            let names: Vec<String> = process.image().files.into_keys().collect();
            match created {
                // The test opens the directory, and the result of a close is ignored.
                Ok(()) => assert_eq!(names, [FILE]),
                Err((what, error)) => {
                    failures += 1;
                    assert_eq!(error, IoError::Errno(EIO));
                    assert_eq!(names, [""; 0], "operation {n}: {what}");
                }
            }
            assert_eq!((process.world.open_files().len(), pool.used()), (0, 0), "operation {n}");
        }
        assert_eq!(failures, operations - 2, "all but opening the directory and closing the file");
    }
}

#[test]
fn failed_open_leaves_no_open_file_or_buffer() {
    let pool = pool(8 << 20);
    let image = closed(&pool);
    let absent = Process::start(2, &Image::default(), &pool).open().err();
    assert!(matches!(absent, Some(OpenError::Io("open the file", IoError::Errno(ENOENT)))));
    let mut failures = 0;
    for n in 0..60 {
        let mut process = Process::start(2, &image, &pool);
        process.world.fail_from(n, Fault::Errno(EIO));
        if process.open().is_err() {
            failures += 1;
            assert_eq!((process.world.open_files().len(), pool.used()), (0, 0), "operation {n}");
        }
    }
    assert!(failures > 3, "{failures}");
}
