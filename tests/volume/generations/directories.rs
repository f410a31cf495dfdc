//! Files in several data directories, some of which are away.

use std::rc::Rc;

use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::SuperblockState::{Building, Live};
use hayloft::volume::{self, StateError, Undecided};

use super::{assert_undecided, cut, images, record, two};
use crate::common::{Process, pool};
use crate::generation_states::{
    A, C, Found, name, put, set_copies, start, start_with, superblock_of, with_file,
};

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
