//! The older file: when it is removed, and when it is kept.

use std::cell::RefCell;
use std::rc::Rc;

use hayloft::runtime::sim::disk::{Disk, Image};
use hayloft::runtime::sim::{Fault, World};
use hayloft::volume::SuperblockState::{Building, Live};
use hayloft::volume::WriteState;

use super::{assert_serves, cut, decidable, images, record, two};
use crate::common::{Process, pool};
use crate::generation_states::{A, B, Found, content, get, name, put, start, start_in, start_with};

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
