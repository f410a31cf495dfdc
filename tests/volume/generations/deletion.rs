//! The deletion of a volume with several files.

use std::cell::RefCell;
use std::rc::Rc;

use hayloft::base::types::VolumeId;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::op::{DirId, Op};
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume;

use super::{cut, decidable, images, record};
use crate::common::{Process, pool};
use crate::generation_states::{Found, close, expected, name, start, start_with};

/// The outcome of a start after an interrupted deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deleted {
    No,
    Yes,
}

/// Asserts that an image has all of the volume in its newest state, or nothing of it after a start.
fn deleted(image: &Image, newest: u64, pool: &Pool, what: &str) -> Deleted {
    if !image.files.keys().any(|name| name.ends_with(".vol")) {
        return Deleted::Yes;
    }
    let mut started = start(image, pool);
    match started.found {
        Found::Nothing => {
            let names = started.names();
            assert!(!names.iter().any(|name| name.ends_with(".vol")), "{what}: {names:?}");
            Deleted::Yes
        }
        Found::Serves(n) => {
            assert_eq!((n, started.content()), (newest, newest), "{what}");
            Deleted::No
        }
        Found::Failed(why) => panic!("{what}: {why}"),
    }
}

/// Opens a volume without removing its other files, and deletes it. `fail` is called before the deletion.
fn delete(image: &Image, newest: u64, pool: &Pool, fail: impl FnOnce(&Process)) -> (Process, bool) {
    // The other files are kept, as when their removal has failed.
    let mut started = start_with(image, pool, true, |_| ());
    let volume = started.volume.take().expect("it serves");
    close(&mut started.process, &volume);
    drop(volume);
    let mut process = Process::start(5, image, pool);
    let handle = process.runtime.handle().clone();
    process.run(async move {
        for path in ["data", "second"] {
            handle.submit(Op::OpenDir { path: path.into() }).await;
        }
    });
    fail(&process);
    let file = |n: u64, directory: u32| (DirId(directory), n);
    let present = |n: u64| [0, 1].into_iter().find(|at| image.files.contains_key(&name(*at, n)));
    let files: Vec<_> = (0..3).filter_map(|n| Some(file(n, present(n)?))).collect();
    let (dir, _) = *files.iter().find(|(_, n)| *n == newest).expect("it is there");
    let others = files.into_iter().filter(|(_, n)| *n != newest);
    let mut others: Vec<_> =
        others.map(|(dir, n)| volume::GenerationFile { dir, expected: expected(n) }).collect();
    let handle = process.runtime.handle().clone();
    let done = process.run(async move {
        volume::remove_all(&handle, &mut others, (dir, VolumeId(1), newest)).await.is_ok()
    });
    (process, done)
}

#[test]
fn interrupted_deletion_leaves_the_newest_state_or_nothing() {
    let pool = pool(8 << 20);
    let (mut no, mut yes) = (0, 0);
    for (image, directory, newest) in decidable(&pool) {
        let wrecks = Rc::new(RefCell::new(Rc::default()));
        let sink = Rc::clone(&wrecks);
        let (process, done) =
            delete(&image, newest, &pool, move |process| *sink.borrow_mut() = record(process));
        assert!(done);
        assert_eq!(process.world.names(), [""; 0], "everything is removed");
        assert_eq!(cut(&process, 0).files.len(), 0, "durably");
        let wrecks = Rc::clone(&wrecks.borrow());
        for (n, wreck) in wrecks.take().into_iter().enumerate() {
            let what = format!("generation {newest} in {directory}, event {n}");
            for image in images(&wreck) {
                match deleted(&image, newest, &pool, &what) {
                    Deleted::No => no += 1,
                    Deleted::Yes => yes += 1,
                }
            }
        }
    }
    assert!(no > 50 && yes > 8, "{no} {yes}");
}

#[test]
fn deletion_with_a_failing_operation_leaves_the_newest_state_or_nothing() {
    let pool = pool(8 << 20);
    for (image, directory, newest) in decidable(&pool) {
        let mut failed = 0;
        for n in 0..30 {
            let what = format!("generation {newest} in {directory}, operation {n}");
            let fail = |process: &Process| process.world.fail(n, Fault::Errno(5));
            let (process, done) = delete(&image, newest, &pool, fail);
            failed += u64::from(!done);
            for image in [process.image(), cut(&process, 0)] {
                let deleted = deleted(&image, newest, &pool, &what);
                assert!(!done || deleted == Deleted::Yes, "{what}: answered and then back");
            }
        }
        assert!(failed >= 4, "unlink and sync of two files");
    }
}
