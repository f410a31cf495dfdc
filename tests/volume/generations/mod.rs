//! Generations by subject, and what the tests share.

mod choice;
mod deletion;
mod directories;
mod older_file;

use std::cell::RefCell;
use std::rc::Rc;

use SuperblockState::{Building, Live};
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::disk::{Image, Wreck};
use hayloft::volume::{Superblock, SuperblockState, Undecided};

use crate::common::Process;
use crate::generation_states::{
    Found, Started, name, set_copies, start_with, superblock_of, with_file,
};

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
