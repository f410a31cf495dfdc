//! Several generations of one volume: which of them counts and what becomes of the others, for every state of
//! their superblocks, at every power cut and with every operation failing. The files are made by hand.

mod common;
mod generation_states;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Process, pool};
use generation_states::{
    A, B, C, Found, SIZE, Started, close, content, expected, get, incarnation, name, put,
    set_copies, start, start_in, start_with, superblock_of, with_file,
};
use hayloft::base::types::VolumeId;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::op::{DirId, Op};
use hayloft::runtime::sim::disk::{Disk, Image, Wreck};
use hayloft::runtime::sim::{Fault, World};
use hayloft::volume::format::superblock_offsets;
use hayloft::volume::{self, StateError, Superblock, SuperblockState, Undecided, WriteState};

use SuperblockState::{Building, Live, ReadOnly, Sealed};

const FINISHED: [SuperblockState; 3] = [Live, ReadOnly, Sealed];

/// Generation 0 in directory 0, and generation 1 in this state in `directory`. Generation 0 is moving, if
/// that is another one.
fn two(directory: u32, higher: SuperblockState, pool: &Pool) -> Image {
    let lower = superblock_of(0, Live).with_moving(directory != 0);
    let image = with_file(&Image::default(), 0, &lower, pool);
    with_file(&image, directory, &superblock_of(1, higher), pool)
}

/// Asserts that a start serves this generation and leaves no other file.
fn assert_serves(mut started: Started, directory: u32, n: u64, what: &str) {
    assert_eq!(started.found, Found::Serves(n), "{what}");
    assert!(started.left.is_empty(), "{what}");
    let names = started.names();
    let volumes: Vec<_> = names.iter().filter(|name| name.ends_with(".vol")).collect();
    assert_eq!(volumes, [&name(directory, n)], "{what}");
    let checkpoint = name(directory, n).replace(".vol", ".ckpt");
    assert!(names.iter().all(|name| name.ends_with(".vol") || *name == checkpoint), "{names:?}");
    assert_eq!(started.content(), n, "{what}");
}

/// Asserts that a start serves nothing, for this reason, and changes no file.
fn assert_undecided(image: &Image, all_directories: bool, pool: &Pool, why: &Undecided) {
    let started = start_with(image, pool, all_directories, |_| ());
    assert_eq!(started.undecided.as_ref(), Some(why), "{:?}", started.found);
    assert!(started.process.image() == *image, "{why}: a file was changed");
}

fn unusable(started: &Started) -> (u64, &str) {
    match &started.undecided {
        Some(Undecided::Unusable { generation, why }) => (*generation, why),
        _ => panic!("{:?}", started.found),
    }
}

#[test]
fn newest_finished_generation_counts_and_the_older_one_is_removed() {
    let pool = pool(8 << 20);
    for directory in [0, 1] {
        for state in FINISHED {
            let what = format!("directory {directory}, {state:?}");
            let started = start(&two(directory, state, &pool), &pool);
            let volume = started.volume.clone().expect("it serves");
            assert_eq!(volume.volume().superblock_state(), state);
            assert_serves(started, directory, 1, &what);
        }
    }
}

#[test]
fn unfinished_generation_is_removed_also_when_it_is_alone() {
    let pool = pool(8 << 20);
    for directory in [0, 1] {
        let mut image = two(directory, Building, &pool);
        let started = start(&image, &pool);
        let volume = started.volume.clone().expect("it serves");
        assert!(!volume.volume().is_moving(), "the move has ended");
        assert_serves(started, 0, 0, "unfinished");
        image.files.remove(&name(0, 0));
        image.files.remove("1.0.ckpt");
        let started = start(&image, &pool);
        assert_eq!((&started.found, started.left.len()), (&Found::Nothing, 0));
        assert_eq!(started.names(), [""; 0]);
    }
}

#[test]
fn chain_of_three_generations_is_reduced_to_the_newest_finished_one() {
    let pool = pool(8 << 20);
    for (last, newest) in [(Live, 2), (Building, 1)] {
        let image = with_file(&two(0, Live, &pool), 0, &superblock_of(2, last), &pool);
        assert_serves(start(&image, &pool), 0, newest, "three");
    }
}

/// Every combination of the copies of both generations: the old state, the new one, or damaged.
#[test]
fn every_combination_of_superblock_copies_is_decided_without_loss() {
    let pool = pool(8 << 20);
    let image = two(0, Building, &pool);
    let lower = superblock_of(0, Live);
    let building = superblock_of(1, Building);
    let live = Superblock { revision: 2, ..superblock_of(1, Live) };
    let kinds = [Some(&building), Some(&live), None];
    let (mut old, mut new, mut undecided) = (0, 0, 0);
    for n in 0..27 {
        let copies = [n % 3, n / 3 % 3, n / 9].map(|kind| kinds[kind]);
        for damaged in 0..8 {
            let mut image = image.clone();
            set_copies(&mut image, &name(0, 1), copies);
            let kept = [0, 1, 2].map(|copy| (damaged >> copy & 1 == 0).then_some(&lower));
            set_copies(&mut image, &name(0, 0), kept);
            let what = format!("generation 1: {n}, generation 0: {damaged:#b}");
            let started = start(&image, &pool);
            let has = |kind: Option<&Superblock>| copies.contains(&kind);
            if damaged == 7 {
                assert_eq!(unusable(&started).0, 0, "{what}");
            } else if has(Some(&live)) {
                new += 1;
                assert_serves(started, 0, 1, &what);
                continue;
            } else if !has(None) {
                old += 1;
                assert_serves(started, 0, 0, &what);
                continue;
            } else if has(Some(&building)) {
                let why = Some(Undecided::PartlyUnfinished(1));
                assert_eq!(started.undecided, why, "{what}: it may be the finished one");
            } else {
                assert_eq!(unusable(&started).0, 1, "{what}");
            }
            undecided += 1;
            assert!(started.process.image() == image, "{what}: a file was changed");
        }
    }
    assert_eq!((old, new, undecided), (7, 19 * 7, 27 + 7 * 7), "27 * 8 combinations");
}

#[test]
fn lone_unfinished_generation_with_a_damaged_copy_is_kept() {
    let pool = pool(8 << 20);
    let building = superblock_of(1, Building);
    for damaged in 0..3 {
        let mut image = with_file(&Image::default(), 0, &building, &pool);
        let copies = [0, 1, 2].map(|copy| (copy != damaged).then_some(&building));
        set_copies(&mut image, &name(0, 1), copies);
        assert_undecided(&image, true, &pool, &Undecided::PartlyUnfinished(1));
    }
}

#[test]
fn files_that_were_not_left_by_a_crash_are_all_kept() {
    let pool = pool(8 << 20);
    let first = with_file(&Image::default(), 0, &superblock_of(0, Live), &pool);
    let add = |image: &Image, directory: u32, superblock: &Superblock| {
        with_file(image, directory, superblock, &pool)
    };
    let parent = |n, state, parent| Superblock { parent, ..superblock_of(n, state) };
    let no_parent = |generation, parent| Undecided::NoParent { generation, parent };

    let stranger = add(&first, 0, &parent(1, Live, 7));
    assert_undecided(&stranger, true, &pool, &no_parent(1, 0));
    let stranger = add(&first, 0, &parent(1, Building, 7));
    assert_undecided(&stranger, true, &pool, &no_parent(1, 0));
    let orphan = add(&first, 0, &parent(1, Live, 0));
    assert_undecided(&orphan, true, &pool, &no_parent(1, 0));
    // Not made from the generation before, although from one that is there.
    let skipped = add(&two(0, Live, &pool), 0, &parent(2, Live, incarnation(0)));
    assert_undecided(&skipped, true, &pool, &no_parent(2, 1));
    let below = with_file(&Image::default(), 0, &superblock_of(0, Building), &pool);
    assert_undecided(&add(&below, 0, &superblock_of(1, Live)), true, &pool, &no_parent(1, 0));
    let twice = add(&first, 1, &superblock_of(0, Live));
    assert_undecided(&twice, true, &pool, &Undecided::Twice(0));
    let twice = add(&two(0, Live, &pool), 1, &superblock_of(1, Live));
    assert_undecided(&twice, true, &pool, &Undecided::Twice(1));
    let both = add(&two(0, Building, &pool), 0, &superblock_of(2, Building));
    assert_undecided(&both, true, &pool, &no_parent(2, 0));
    let unfinished = with_file(&Image::default(), 0, &superblock_of(1, Building), &pool);
    let alone = add(&unfinished, 1, &superblock_of(1, Building));
    assert_undecided(&alone, true, &pool, &Undecided::UnfinishedTwice(1));
    let diverged = Undecided::Diverged { generation: 1, parent: 0 };
    assert_undecided(&add(&first, 1, &superblock_of(1, Live)), true, &pool, &diverged);
}

#[test]
fn generation_that_cannot_be_used_keeps_all_files() {
    let pool = pool(8 << 20);
    let image = two(0, Live, &pool);
    let newer_format = |bytes: &mut Vec<u8>| {
        bytes[8] = 2;
        let sum = hayloft::volume::format::checksum(&bytes[..504], 0x4841_594c_4f46_5400);
        bytes[504..512].copy_from_slice(&sum.to_le_bytes());
    };
    for n in [0, 1] {
        let with = |change: &dyn Fn(Superblock) -> Superblock| {
            let mut image = image.clone();
            let changed = change(superblock_of(n, Live));
            set_copies(&mut image, &name(0, n), [Some(&changed); 3]);
            image
        };
        let edited = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut image = image.clone();
            image.edit(&name(0, n), change);
            image
        };
        let unreadable = {
            let mut image = image.clone();
            let sectors = superblock_offsets(SIZE).map(|at| usize::try_from(at / 512).unwrap());
            image.bad.extend(sectors.map(|sector| (name(0, n), sector)));
            image
        };
        for (what, image) in [
            ("belongs to store", with(&|copy| Superblock { store: [9; 16], ..copy })),
            ("says it is volume 2", with(&|copy| Superblock { volume: VolumeId(2), ..copy })),
            ("says it is generation 9", with(&|copy| Superblock { generation: 9, ..copy })),
            ("format version 2", edited(&newer_format)),
            ("bytes long and should be", edited(&|bytes| bytes.truncate(128 * 1024))),
            ("no valid superblock", edited(&|bytes| bytes.fill(0))),
            ("no valid superblock", edited(&Vec::clear)),
            ("no valid superblock", unreadable),
        ] {
            let started = start(&image, &pool);
            let (generation, why) = unusable(&started);
            assert_eq!(generation, n, "{what}");
            assert!(why.contains(what), "{why}");
            assert!(started.process.image() == image, "{what}: a file was changed");
        }
    }
}

/// A newer generation that cannot be opened does not make the older one count.
#[test]
fn older_generation_stays_while_the_newer_one_cannot_be_opened() {
    let pool = pool(8 << 20);
    let image = two(0, Live, &pool);
    let operations = {
        let started = start(&image, &pool);
        started.process.world.operations()
    };
    let (mut failed, mut poisoned) = (0, 0);
    for sticky in [false, true] {
        for n in 0..operations {
            let what = format!("operation {n}, sticky: {sticky}");
            let fail = |process: &Process| match sticky {
                true => process.world.fail_from(n, Fault::Errno(5)),
                false => process.world.fail(n, Fault::Errno(5)),
            };
            let started = start_with(&image, &pool, true, fail);
            let names = started.names();
            assert!(names.contains(&name(0, 1)), "{what}");
            let has_lower = names.contains(&name(0, 0));
            match &started.volume {
                None => {
                    failed += 1;
                    assert!(has_lower, "{what}: {:?}", started.found);
                    assert!(started.names().contains(&"1.0.ckpt".to_owned()), "{what}");
                }
                Some(volume) => {
                    assert_eq!(volume.volume().generation(), 1, "{what}");
                    if volume.volume().poisoned() {
                        poisoned += 1;
                        assert!(has_lower && started.left.len() == 1, "{what}");
                    }
                    assert!(!has_lower || !started.left.is_empty(), "{what}");
                }
            }
            for mut image in [started.process.image(), cut(&started.process, 0)] {
                if !image.files.contains_key(&name(0, 0)) {
                    // Left by a failed removal, and never used.
                    image.files.remove("1.0.ckpt");
                }
                assert_serves(start(&image, &pool), 0, 1, &what);
            }
        }
    }
    assert!(failed > 10 && poisoned > 2, "{failed} {poisoned}");
}

/// The image after a power cut that loses everything unflushed and keeps `changes` of the changes of names.
fn cut(process: &Process, changes: usize) -> Image {
    let wreck = process.world.look(|snapshot| snapshot.wreck());
    wreck.image(|_| false, changes.min(wreck.changes()))
}

/// Which of the unflushed pieces survive a power cut.
const SUBSETS: [fn(usize) -> bool; 4] = [|_| true, |_| false, |n| n % 2 == 0, |n| n % 2 == 1];

/// Images that a power cut can leave: some subsets of what was not flushed, and every number of durable
/// names.
fn images(wreck: &Wreck) -> Vec<Image> {
    let subsets = if wreck.loose() == 0 { &SUBSETS[..1] } else { &SUBSETS[..] };
    let all = (0..=wreck.changes()).flat_map(|changes| subsets.iter().map(move |of| (of, changes)));
    all.map(|(subset, changes)| wreck.image(subset, changes)).collect()
}

/// Records the crash states at every event from now on.
fn record(process: &Process) -> Rc<RefCell<Vec<Wreck>>> {
    let wrecks = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&wrecks);
    process.world.on_event(move |snapshot| sink.borrow_mut().push(snapshot.wreck().trimmed()));
    wrecks
}

/// Images from which a start decides something, with the directory and generation that it serves.
fn decidable(pool: &Pool) -> Vec<(Image, u32, u64)> {
    let mut all = Vec::new();
    for directory in [0, 1] {
        all.push((two(directory, Live, pool), directory, 1));
        all.push((two(directory, Building, pool), 0, 0));
        // The first copy is written already.
        let mut image = two(directory, Building, pool);
        let live = Superblock { revision: 2, ..superblock_of(1, Live) };
        let building = superblock_of(1, Building);
        let copies = [Some(&live), Some(&building), Some(&building)];
        set_copies(&mut image, &name(directory, 1), copies);
        all.push((image, directory, 1));
    }
    for (last, newest) in [(Live, 2), (Building, 1)] {
        let image = with_file(&two(0, Live, pool), 0, &superblock_of(2, last), pool);
        all.push((image, 0, newest));
    }
    all
}

#[test]
fn start_interrupted_at_any_event_decides_the_same_again() {
    let pool = pool(8 << 20);
    let mut restarts = 0;
    for (image, directory, newest) in decidable(&pool) {
        let wrecks = Rc::new(RefCell::new(Rc::default()));
        let sink = Rc::clone(&wrecks);
        let started =
            start_with(&image, &pool, true, move |process| *sink.borrow_mut() = record(process));
        let wrecks = Rc::clone(&wrecks.borrow());
        assert_serves(started, directory, newest, "uninterrupted");
        let mut last = None;
        for (n, wreck) in wrecks.take().into_iter().enumerate() {
            for image in images(&wreck) {
                if last.as_ref() == Some(&image) {
                    continue;
                }
                restarts += 1;
                let what = format!("generation {newest} in {directory}, event {n}");
                assert_serves(start(&image, &pool), directory, newest, &what);
                last = Some(image);
            }
        }
    }
    assert!(restarts > 100, "{restarts}");
}

/// A file whose name is not durable yet, as after a copy by hand and a kill, counts like any other.
#[test]
fn older_file_is_removed_only_when_the_name_of_the_newer_one_is_durable() {
    let pool = pool(8 << 20);
    for directory in [0, 1] {
        let image = two(directory, Live, &pool);
        let mut older = image.clone();
        older.files.retain(|file, _| *file == name(0, 0));
        let mut disk = Disk::from_image(&older);
        let inode = disk.create(&name(directory, 1)).expect("a new name");
        disk.write(inode, 0, &image.bytes(&name(directory, 1)), false);
        let world = World::with_disk(7, disk);
        let mut started = start_in(Process::start_in(world, 7, &pool), true, |_| ());
        assert_eq!((started.found.clone(), started.content()), (Found::Serves(1), 1));
        assert!(!started.names().contains(&name(0, 0)));
        assert_serves(start(&cut(&started.process, 0), &pool), directory, 1, "after a power cut");
    }
}

/// What is stored after the choice is found again, whatever became of the removal of the older file.
#[test]
fn writes_after_the_choice_survive_although_the_older_file_comes_back() {
    let pool = pool(8 << 20);
    for directory in [0, 1] {
        let image = two(directory, Live, &pool);
        // Every removal fails, so that the volume serves beside the older file.
        let refused = |process: &Process| {
            let operations = start(&image, &pool).process.world.operations();
            (0..operations).for_each(|n| {
                if n + 4 >= operations - process.world.operations() {
                    process.world.fail(n, Fault::Errno(5));
                }
            });
        };
        for removal_fails in [false, true] {
            let mut started = if removal_fails {
                start_with(&image, &pool, true, refused)
            } else {
                start(&image, &pool)
            };
            assert_eq!(started.found, Found::Serves(1));
            assert_eq!(started.left.len(), usize::from(removal_fails));
            let volume = started.volume.clone().expect("it serves");
            put(&mut started.process, &volume, A, b"acknowledged").unwrap();
            // All names that a power cut could bring back are back.
            let mut image = cut(&started.process, 0);
            for (name, file) in two(directory, Live, &pool).files {
                image.files.entry(name).or_insert(file);
            }
            let mut again = start(&image, &pool);
            assert_eq!((&again.found, again.left.len()), (&Found::Serves(1), 0));
            let volume = again.volume.clone().expect("it serves");
            let got = get(&mut again.process, &volume, A);
            assert_eq!(got.as_deref(), Some(&b"acknowledged"[..]));
        }
    }
}

#[test]
fn older_generation_is_kept_while_the_newer_one_is_damaged() {
    let pool = pool(8 << 20);
    let damage = |image: &mut Image, file: &str| {
        image.files.remove(&file.replace(".vol", ".ckpt"));
        image.edit(file, |bytes| {
            let at = bytes.windows(10).position(|window| window == b"generation").unwrap();
            let needle = at / 512 * 512;
            // In the header of the needle.
            bytes[needle + 20] ^= 1;
        });
    };
    let mut image = two(0, Live, &pool);
    damage(&mut image, &name(0, 1));
    let mut started = start(&image, &pool);
    let volume = started.volume.clone().expect("it serves");
    assert_eq!((volume.volume().generation(), volume.volume().damage().len()), (1, 1));
    assert_eq!((started.left.len(), volume.volume().writable()), (1, true));
    assert_eq!(get(&mut started.process, &volume, B), content(1)[1].1);
    assert!(started.names().contains(&name(0, 0)));
    assert!(started.names().contains(&"1.0.ckpt".to_owned()));

    // Damage of the generation that counts is no reason to keep one that was not finished.
    let mut image = two(0, Building, &pool);
    damage(&mut image, &name(0, 0));
    let started = start(&image, &pool);
    assert_eq!((&started.found, started.left.len()), (&Found::Serves(0), 0));
    assert!(!started.names().contains(&name(0, 1)));
}

#[test]
fn other_files_are_kept_until_the_volume_is_opened_in_full() {
    let pool = pool(8 << 20);
    for (state, newest, other) in [(Live, 1, 0), (Building, 0, 1)] {
        let mut image = two(0, state, &pool);
        image.files.retain(|name, _| name.ends_with(".vol"));
        let whole = image.clone();
        // A sector in the log of the generation that counts.
        image.bad.insert((name(0, newest), 65_536 / 512 + 1));
        let started = start(&image, &pool);
        assert_eq!((&started.found, started.left.len()), (&Found::Serves(newest), 1));
        let volume = started.volume.clone().expect("it serves");
        assert!(matches!(volume.volume().write_state(), WriteState::Poisoned(_)));
        assert!(started.names().contains(&name(0, other)), "it may have what cannot be read");
        assert_serves(start(&whole, &pool), 0, newest, "readable again");
    }
}

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

#[test]
fn missing_data_directory_decides_nothing_that_it_could_contradict() {
    let pool = pool(8 << 20);
    let missing = |image: &Image, why: Option<&Undecided>| match why {
        Some(why) => assert_undecided(image, false, &pool, why),
        None => {
            let found = start_with(image, &pool, false, |_| ()).found;
            assert!(matches!(found, Found::Serves(_)), "{found:?}");
        }
    };
    let without = |image: &Image, directory: u32| {
        let mut image = image.clone();
        image.files.retain(|name, _| name.starts_with("1/") == (directory == 0));
        image
    };
    // A volume that does not move is served: nothing newer can be elsewhere.
    missing(&with_file(&Image::default(), 0, &superblock_of(0, Live), &pool), None);
    missing(&two(0, Live, &pool), None);
    missing(&two(0, Building, &pool), None);
    // The newer generation of a move may be on the missing disk, and count or not.
    for state in [Live, Building] {
        let may_have_moved = Undecided::MayHaveMoved(0);
        missing(&without(&two(1, state, &pool), 1), Some(&may_have_moved));
    }
    // It counts, whatever is on the missing disk.
    missing(&without(&two(1, Live, &pool), 0), None);
    // The only copy of what was copied so far.
    let parent_missing = Undecided::ParentMissing(1);
    missing(&without(&two(1, Building, &pool), 0), Some(&parent_missing));
}

/// Regression, found by the simulation: a data directory was not in use after a move into it was interrupted,
/// the volume was compacted meanwhile, and was not served when that directory was back.
#[test]
fn unfinished_generation_of_a_directory_that_was_away_is_removed() {
    let pool = pool(8 << 20);
    let interrupted = superblock_of(1, Building);
    let moved = |image: &Image| with_file(image, 1, &interrupted, &pool);
    let second = with_file(&Image::default(), 0, &superblock_of(2, Live), &pool);
    let cases = [(two(0, Live, &pool), 1), (two(0, Building, &pool), 0), (second, 2)];
    for (image, counts) in cases {
        let mut started = start(&moved(&image), &pool);
        assert_eq!((started.found.clone(), started.content()), (Found::Serves(counts), counts));
        let mut left: Vec<String> = started.process.image().files.into_keys().collect();
        left.retain(|name| name.ends_with(".vol"));
        assert_eq!(left, [name(0, counts)]);
    }
    // A damaged copy of its superblock may be the one that finished it.
    let mut image = moved(&two(0, Live, &pool));
    let copies = [0, 1, 2].map(|copy| (copy != 1).then_some(&interrupted));
    set_copies(&mut image, &name(1, 1), copies);
    assert_undecided(&image, true, &pool, &Undecided::PartlyUnfinished(1));
}

/// Regression, found by the simulation: the data directory from which a volume moved was not in use before
/// the old file was removed, and the volume was compacted meanwhile.
#[test]
fn generation_of_a_directory_from_which_the_volume_moved_is_removed() {
    let pool = pool(8 << 20);
    let left_behind = |is_moving: bool| {
        let mut image = with_file(&Image::default(), 1, &superblock_of(0, Live), &pool);
        if is_moving {
            let alone = start(&image, &pool);
            let (mut process, volume) = (alone.process, alone.volume.expect("it serves"));
            begin_move(&mut process, &volume).unwrap();
            image = process.image();
        }
        with_file(&image, 0, &superblock_of(2, Live), &pool)
    };
    let mut started = start(&left_behind(true), &pool);
    assert_eq!((started.found.clone(), started.content()), (Found::Serves(2), 2));
    let mut left: Vec<String> = started.process.image().files.into_keys().collect();
    left.retain(|name| name.ends_with(".vol"));
    assert_eq!(left, [name(0, 2)]);
    let no_parent = Undecided::NoParent { generation: 2, parent: 0 };
    assert_undecided(&left_behind(false), true, &pool, &no_parent);
}

/// A data directory with the newer generation was taken out of the configuration, and is back.
#[test]
fn generation_that_was_served_meanwhile_is_not_superseded() {
    let pool = pool(8 << 20);
    let image = two(1, Live, &pool);
    let mut alone = image.clone();
    alone.files.retain(|name, _| !name.starts_with("1/"));
    let mut started = start(&alone, &pool);
    assert_eq!((started.found.clone(), started.content()), (Found::Serves(0), 0));
    let volume = started.volume.clone().expect("it serves");
    assert!(!volume.volume().is_moving());
    put(&mut started.process, &volume, C, b"acknowledged").unwrap();
    for mut both in [started.process.image(), cut(&started.process, 0)] {
        both.files.insert(name(1, 1), image.files[&name(1, 1)].clone());
        let diverged = Undecided::Diverged { generation: 1, parent: 0 };
        assert_undecided(&both, true, &pool, &diverged);
    }
}

fn begin_move(process: &mut Process, volume: &Rc<volume::Slot>) -> Result<(), StateError> {
    let volume = Rc::clone(volume);
    process.run(async move { volume.volume().begin_move().await })
}

#[test]
fn mark_of_a_move_is_durable_when_answered_and_survives_state_changes() {
    let pool = pool(8 << 20);
    let image = with_file(&Image::default(), 0, &superblock_of(0, Live), &pool);
    let mut started = start(&image, &pool);
    let volume = started.volume.clone().expect("it serves");
    let wrecks = record(&started.process);
    begin_move(&mut started.process, &volume).unwrap();
    assert!(volume.volume().is_moving());
    let marked = |image: &Image| {
        let found = start_with(image, &pool, false, |_| ());
        match found.undecided {
            Some(Undecided::MayHaveMoved(0)) => true,
            None => found.found != Found::Serves(0),
            Some(other) => panic!("{other}"),
        }
    };
    for wreck in wrecks.take() {
        for image in images(&wreck) {
            // Either state; it is decided without a panic.
            let _ = marked(&image);
        }
    }
    assert!(marked(&cut(&started.process, 0)), "it was answered");
    for read_only in [true, false] {
        let changing = Rc::clone(&volume);
        started.process.run(async move { changing.set_read_only(read_only).await }).unwrap();
        assert!(marked(&cut(&started.process, 0)), "read-only: {read_only}");
    }
    put(&mut started.process, &volume, A, b"writes go on").unwrap();
    volume.volume().fence();
    let refused = begin_move(&mut started.process, &volume);
    assert_eq!(refused, Err(StateError::Poisoned));
}

#[test]
fn start_that_cannot_remove_the_mark_of_a_move_takes_no_writes() {
    let pool = pool(8 << 20);
    let lower = superblock_of(0, Live).with_moving(true);
    let image = with_file(&Image::default(), 0, &lower, &pool);
    let mut refused = 0;
    for n in 0..20 {
        let fail = |process: &Process| process.world.fail(n, Fault::Dropped);
        let started = start_with(&image, &pool, true, fail);
        let Some(volume) = &started.volume else { continue };
        if volume.volume().poisoned() {
            refused += 1;
        } else {
            let moving = start_with(&cut(&started.process, 0), &pool, false, |_| ()).undecided;
            assert_eq!(moving, None, "operation {n}: it takes writes and is still marked");
        }
    }
    assert!(refused >= 3, "three copies");
}
