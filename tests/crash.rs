//! Small scope, exhaustively: all histories of up to two operations and many of three, one after the
//! other and at once, cut off at every event, with the subsets of sectors that a power cut can leave
//! behind; and cut off again at every event of the recovery. The recovered state must be one the
//! model allows, recovering again must change nothing, and the volume must go on taking writes.
//! Multi-writes and large bodies too take effect whole or not at all.
//!
//! `cargo xtask crash-states` goes through all histories of three, and on.

mod common;
mod crash_states;

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use common::{Process, pool};
use crash_states::explore::{Explorer, state_of};
use crash_states::history::{Course, run_history};
use crash_states::model::{Action, FIRST, IDS, histories, multi_histories, triples, value_bytes};
use hayloft::runtime::sim::World;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::split_mix;

/// Distinct states of histories of three that the suite looks at.
const STATES: usize = 200_000;
/// Asks for another number of them.
const VARIABLE: &str = "HAYLOFT_CRASH_STATES";
const THREADS: usize = 2;

fn explore(histories: &[Vec<Action>], course: Course, least: usize) -> [u64; 2] {
    let mut explorer = Explorer::new();
    for history in histories {
        explorer.history(history, course);
    }
    let (states, seconds) = (explorer.states(), explorer.seconds());
    println!(
        "{states} crash states at {} points, {} of them of a cut into the recovery; {seconds:.1} s, \
         {:.0} a second",
        explorer.points,
        explorer.during_recovery,
        states as f64 / seconds
    );
    assert!(states >= least, "only {states} states: the test does not test");
    assert!(explorer.during_recovery > 0);
    explorer.full
}

#[test]
fn one_after_the_other() {
    explore(&histories(2), Course::default(), 2500);
}

#[test]
fn one_after_the_other_with_hints() {
    explore(&histories(2), Course { wait: true, ..Course::default() }, 2500);
}

#[test]
fn at_once() {
    explore(&histories(2), Course { at_once: true, ..Course::default() }, 2500);
}

#[test]
fn at_once_over_what_is_there() {
    explore(&histories(2), Course { preset: true, at_once: true, ..Course::default() }, 2500);
}

#[test]
fn with_checkpoints() {
    let course = Course { checkpoints: true, preset: true, ..Course::default() };
    explore(&histories(2), course, 1000);
}

#[test]
fn at_once_with_checkpoints() {
    let course = Course { checkpoints: true, preset: true, at_once: true, ..Course::default() };
    explore(&histories(2), course, 1000);
}

/// Sizes of logs (blocks of 4 KiB). In the smallest one hardly anything fits.
const BLOCKS: std::ops::Range<u64> = 3..7;

#[test]
fn at_the_very_end_of_a_volume() {
    let mut full = [0; 2];
    for blocks in BLOCKS {
        for preset in [false, true] {
            let course = Course { blocks: Some(blocks), preset, ..Course::default() };
            // What is there must fit.
            if preset && blocks < 5 {
                continue;
            }
            for at_once in [false, true] {
                let found = explore(&histories(2), Course { at_once, ..course }, 10);
                full.iter_mut().zip(found).for_each(|(all, found)| *all += found);
            }
        }
    }
    assert!(full.iter().all(|full| *full > 200), "the end was met too seldom: {full:?}");
}

#[test]
fn at_once_on_unwritten_extents() {
    explore(&histories(2), Course { at_once: true, unwritten: true, ..Course::default() }, 100);
}

#[test]
fn batches_and_bodies_one_after_the_other() {
    explore(&multi_histories(), Course { large: true, ..Course::default() }, 2500);
}

#[test]
fn batches_and_bodies_at_once_over_what_is_there() {
    let course = Course { preset: true, at_once: true, large: true, ..Course::default() };
    explore(&multi_histories(), course, 2500);
}

/// The courses that histories of three take, in one round after the other.
fn courses(round: u64) -> [Course; 4] {
    let plain = Course { round, ..Course::default() };
    let at_once = Course { at_once: true, ..plain };
    [plain, Course { wait: true, ..plain }, at_once, Course { preset: true, ..at_once }]
}

/// Explores histories of three that begin with every so many-th action until there are so many states:
/// all of them in an order that a seed decides, then all again in other ways.
fn explore_triples(part: usize, least: usize) -> Explorer {
    let mut explorer = Explorer::new();
    for round in 0.. {
        let first = (part..FIRST).step_by(THREADS);
        let histories = first.flat_map(triples);
        let mut all: Vec<_> =
            histories.flat_map(|history| courses(round).map(|course| (history, course))).collect();
        let mut seed = round + 1;
        for n in (1..all.len()).rev() {
            all.swap(n, usize::try_from(split_mix(&mut seed) % (n as u64 + 1)).unwrap());
        }
        for (n, (history, course)) in all.iter().enumerate() {
            explorer.history(history, *course);
            if explorer.states() >= least {
                println!("part {part}: round {round}, {} of {} histories", n + 1, all.len());
                return explorer;
            }
        }
    }
    unreachable!("there is always another round")
}

#[test]
fn three_operations() {
    let wanted = std::env::var(VARIABLE).map_or(STATES, |wanted| wanted.parse().expect(VARIABLE));
    // What two parts have in common counts once: 2.5 % of four million.
    let least = (wanted + wanted / 10).div_ceil(THREADS) + 1000;
    let threads: Vec<_> = (0..THREADS)
        .map(|part| {
            std::thread::spawn(move || {
                let explorer = explore_triples(part, least);
                let (points, seconds) = (explorer.points, explorer.seconds());
                (explorer.seen, points, explorer.during_recovery, seconds)
            })
        })
        .collect();
    let (mut seen, mut points, mut again, mut seconds) = (HashSet::new(), 0, 0, 0.0);
    for thread in threads {
        let part = thread.join().unwrap();
        seen.extend(part.0);
        points += part.1;
        again += part.2;
        seconds += part.3;
    }
    let states = seen.len();
    println!(
        "three operations: {states} states at {points} points, {again} of them of a cut into the \
         recovery; {seconds:.1} s, {:.0} a second",
        states as f64 / seconds
    );
    assert!(states >= wanted, "only {states} states");
}

#[test]
fn creation_is_whole_or_absent() {
    let pool = pool(8 << 20);
    let mut process = Process::start(3, &Image::default(), &pool);
    let points = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&points);
    process.world.on_event(move |snapshot| sink.borrow_mut().push(snapshot.wreck()));
    process.create(160 * 1024);
    let mut whole = 0;
    for wreck in points.take() {
        for changes in 0..=wreck.changes() {
            for survive in [true, false] {
                let image = wreck.image(|_| survive, changes);
                if image.files.contains_key("1.0.vol") {
                    whole += 1;
                    let mut process = Process::start(5, &image, &pool);
                    let volume = process.open().expect("a file under its name is whole");
                    process.put(&volume, IDS[0], b"works").unwrap();
                }
            }
        }
    }
    assert!(whole > 0);
}

#[test]
fn what_was_read_before_a_second_power_cut_stays() {
    // A kill leaves completed but unflushed writes in the device's cache; what recovery builds
    // upon must survive the power cut that follows.
    let pool = pool(8 << 20);
    let large = Course { large: true, ..Course::default() };
    let courses = histories(2).into_iter().map(|history| (history, Course::default()));
    let multi = multi_histories().into_iter().map(|history| (history, large));
    for (history, course) in courses.chain(multi) {
        for point in run_history(&history, course, &pool) {
            let world = World::after_kill(19, &point.wreck);
            let mut process = Process::start_in(world, 19, &pool);
            let volume = process.open().unwrap();
            let state = state_of(&mut process, &volume);
            process.put(&volume, IDS[1], value_bytes(5)).unwrap();
            let wreck = process.world.look(|snapshot| snapshot.wreck());
            let image = wreck.image(|_| false, 0);
            let mut restarted = Process::start(23, &image, &pool);
            let volume = restarted.open().unwrap();
            assert_eq!(state_of(&mut restarted, &volume), [state[0], Some(5), state[2]]);
        }
    }
}
