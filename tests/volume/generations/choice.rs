//! The choice of the generation that counts.

use SuperblockState::{Building, Live, ReadOnly, Sealed};
use hayloft::base::types::VolumeId;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::superblock_offsets;
use hayloft::volume::{Superblock, SuperblockState, Undecided};

use super::{assert_serves, assert_undecided, two};
use crate::common::pool;
use crate::generation_states::{
    Found, SIZE, Started, incarnation, name, set_copies, start, superblock_of, with_file,
};

const FINISHED: [SuperblockState; 3] = [Live, ReadOnly, Sealed];

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
