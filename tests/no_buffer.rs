//! When the pool has no buffer: each operation says so, nothing is changed or lost by it, no file stays open
//! and no buffer stays taken, and once there are buffers again it works.

mod common;

use std::rc::Rc;

use common::{COOKIE, ON_DEMAND, Process, draft, expected, pool, superblock};
use hayloft::base::types::NeedleId;
use hayloft::runtime::buffer::{Buf, Pool};
use hayloft::runtime::op::{DirId, Op};
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::{
    self, Expected, GetError, IoError, NewNeedle, NotWritten, OpenError, Preallocation, Refusal,
    StateError, SuperblockState, Volume,
};
use nix::libc::{EEXIST, EIO, ENOBUFS, ENOENT};

const FILE: &str = "1.0.vol";
const UNFINISHED: &str = "1.0.vol.tmp";
const SIZE: u64 = 1 << 20;
const A: NeedleId = NeedleId::new(1, 0);
const B: NeedleId = NeedleId::new(2, 0);

/// Takes all that is left of a pool.
fn exhaust(pool: &Pool) -> Vec<Buf> {
    std::iter::from_fn(|| pool.alloc(1)).collect()
}

/// A volume in which A is stored.
fn started(pool: &Pool) -> (Process, Rc<Volume>) {
    let mut process = Process::start(1, &Image::default(), pool);
    process.create(SIZE);
    let volume = process
        .open_as(Expected { hash_bits: None, checkpoints: Some(ON_DEMAND), ..expected() })
        .unwrap();
    process.put(&volume, A, b"before").unwrap();
    (process, volume)
}

/// The same after a clean stop.
fn closed(pool: &Pool) -> Image {
    let (mut process, volume) = started(pool);
    process.close(&volume);
    process.image()
}

fn set(process: &mut Process, volume: &Rc<Volume>, read_only: bool) -> Result<(), StateError> {
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
fn a_volume_is_opened_when_there_is_room_for_all_that_it_needs() {
    let image = closed(&pool(16 << 20));
    let mut outcomes = [0; 2];
    // So many pages are free.
    for free in (0..16).chain([100, 300]).chain(380..400) {
        let pool = pool(4 << 20);
        let mut held = exhaust(&pool);
        let page = held[0].len();
        let few = 1024 - free;
        held.truncate(few);
        let used = pool.used();
        assert_eq!(used, few * page);
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
                assert_eq!(pool.used(), used, "{free} pages: some stay taken");
                assert!(process.image() == image, "{free} pages: the file was changed");
            }
        }
        assert_eq!(process.world.open_files().len(), 0, "{free} pages");
    }
    assert!(outcomes.iter().all(|count| *count > 10), "{outcomes:?}");
}

/// Clients take the buffers while the file is being opened.
#[test]
fn a_volume_whose_head_finds_no_buffer_is_not_opened() {
    let image = closed(&pool(16 << 20));
    let mut refused = 0;
    // A damaged copy of the superblock is repaired with the buffer that it was read with.
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
                    assert!(volume.writable(), "operation {operation}");
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
fn a_change_of_the_state_without_a_buffer_changes_nothing() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    for (before, read_only) in [(SuperblockState::Live, true), (SuperblockState::ReadOnly, false)] {
        let image = process.image();
        let held = exhaust(&pool);
        assert_eq!(set(&mut process, &volume, read_only), Err(StateError::NoBuffer));
        assert_eq!(volume.superblock_state(), before);
        assert_eq!(volume.writable(), before == SuperblockState::Live);
        drop(held);
        assert!(process.image() == image, "something was written");
        let put = process.put(&volume, B, b"as before");
        assert_eq!(put.err(), (before == SuperblockState::ReadOnly).then_some(Refusal::ReadOnly));
        set(&mut process, &volume, read_only).unwrap();
        assert_ne!(volume.superblock_state(), before);
    }
    process.put(&volume, B, b"writable again").unwrap();
}

#[test]
fn writes_without_a_buffer_are_refused_and_leave_what_was_there() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    let new = |id, data: &[u8]| NewNeedle { id, cookie: COOKIE, draft: draft(&pool, data) };
    let before = volume.figures();
    let (one, batch) = (draft(&pool, b"one"), vec![new(B, b"two"), new(A, b"three")]);
    let (to_delete, to_batch, to_ask) =
        (Rc::clone(&volume), Rc::clone(&volume), Rc::clone(&volume));
    let to_put = Rc::clone(&volume);
    let mut held = exhaust(&pool);
    let no_buffer = Err(Refusal::NoBuffer);
    let put = process.run(async move { to_put.put(A, COOKIE, one, None).await.map(drop) });
    assert_eq!(put, no_buffer, "what is there must be looked at");
    // Its own buffer is free again.
    held.extend(exhaust(&pool));
    let put = process.run(async move { to_batch.put_batch(batch, None).await.map(drop) });
    assert_eq!(put, no_buffer);
    held.extend(exhaust(&pool));
    assert_eq!(process.run(async move { to_ask.may_put(A, COOKIE, None).await }), no_buffer);
    assert_eq!(process.run(async move { to_delete.delete(A, COOKIE, None).await }), no_buffer);
    assert!(volume.walk().is_none());
    let reading = Rc::clone(&volume);
    let got = process.run(async move { reading.get(A, COOKIE, |_| None).await.map(drop) });
    assert!(matches!(got, Err(GetError::NeedBuffer(len)) if len > 512), "{got:?}");
    drop(held);
    assert_eq!(volume.figures(), before);
    assert_eq!(process.get(&volume, A).unwrap(), b"before");
    assert_eq!(process.get(&volume, B), Err(GetError::NotFound));
    process.put(&volume, B, b"after").unwrap();
    process.delete(&volume, A).unwrap();
}

/// The header of what is there is read; the buffer for the tombstone is missing then.
#[test]
fn a_tombstone_without_a_buffer_is_none() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    let (deleting, before) = (Rc::clone(&volume), volume.figures());
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
    assert_eq!(taken.borrow().len(), 1, "the buffer of the header was free again");
    taken.borrow_mut().clear();
    drop(held);
    assert_eq!(volume.figures(), before);
    assert_eq!(process.get(&volume, A).unwrap(), b"before");
    process.delete(&volume, A).unwrap();
}

#[test]
fn a_checkpoint_without_a_buffer_is_not_written_and_the_next_one_is() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    let files: Vec<String> = process.image().files.keys().cloned().collect();
    let held = exhaust(&pool);
    let began = process.world.now();
    let saving = Rc::clone(&volume);
    let saved = process.run(async move { saving.checkpoint().await });
    assert_eq!(saved, Err(NotWritten::NoBuffer));
    assert!(process.world.now() - began < 5_000_000_000, "it does not wait for long");
    drop(held);
    let figures = volume.figures().checkpoint;
    assert_eq!((figures.failed, figures.written), (1, 0));
    assert_eq!(process.image().files.keys().cloned().collect::<Vec<_>>(), files);
    let saving = Rc::clone(&volume);
    assert_eq!(process.run(async move { saving.checkpoint().await }), Ok(true));
    assert_eq!(process.world.open_files().len(), 1, "the volume's");
}

/// Buffers that clients will want are not taken, though some are free.
#[test]
fn a_checkpoint_leaves_half_of_the_buffers_to_clients() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    let held = pool.alloc(pool.capacity() / 2).unwrap();
    let saving = Rc::clone(&volume);
    let saved = process.run(async move { saving.checkpoint().await });
    assert_eq!(saved, Err(NotWritten::NoBuffer));
    drop(held);
}

#[test]
fn a_volume_is_not_created_without_buffers_and_leaves_nothing() {
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
fn a_volume_that_is_there_is_not_created_again() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    process.close(&volume);
    let image = process.image();
    let created = create(&mut process, Preallocation::Reserve);
    assert_eq!(created, Err(("name the file", IoError::Errno(EEXIST))));
    assert!(process.image() == image, "what is there stays, and nothing beside it");
    assert_eq!(process.world.open_files().len(), 0);
    let volume = process.open().unwrap();
    assert_eq!(process.get(&volume, A).unwrap(), b"before");
}

/// A creation that was killed left its file; who starts the store removes those.
#[test]
fn a_creation_does_not_write_to_what_another_one_left() {
    let pool = pool(8 << 20);
    let left = Image::of(UNFINISHED, b"left");
    let mut process = Process::start(1, &left, &pool);
    let created = create(&mut process, Preallocation::Reserve);
    assert_eq!(created, Err(("create the file", IoError::Errno(EEXIST))));
    assert!(process.image() == left);
    assert_eq!(process.world.open_files().len(), 0);
}

/// Each operation of a creation fails in turn: no file stays open, and what is left has its whole name or
/// none.
#[test]
fn a_creation_that_fails_leaves_nothing_open_and_nothing_half_done() {
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
                // A directory is not opened by the engine, and what a close says is of no interest.
                Ok(()) => assert_eq!(names, [FILE]),
                Err((what, error)) => {
                    failures += 1;
                    assert_eq!(error, IoError::Errno(EIO));
                    let named = if what == "sync the directory" { &[FILE][..] } else { &[] };
                    assert_eq!(names, named, "operation {n}: {what}");
                }
            }
            assert_eq!((process.world.open_files().len(), pool.used()), (0, 0), "operation {n}");
        }
        assert_eq!(failures, operations - 2, "all but opening the directory and closing the file");
    }
}

/// The file cannot be opened, or is none: nothing stays open.
#[test]
fn an_opening_that_fails_leaves_nothing_open() {
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
