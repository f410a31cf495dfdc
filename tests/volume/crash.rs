//! Exhaustive small-scope crash tests: all histories of up to two operations and many of three, sequential
//! and concurrent, cut off at every event with the subsets of sectors that a power cut can leave, and cut off
//! again at every event of the recovery. The recovered state must be one that the model allows, a second
//! recovery must change nothing, and the volume must accept writes. Batch puts, multi-deletes and multipart
//! objects take effect completely or not at all.
//!
//! `cargo xtask crash-states` explores all histories of three operations, and further variants.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use hayloft::runtime::sim::World;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::split_mix;

use crate::common::{Process, pool};
use crate::crash_states::explore::{Explorer, state_of};
use crate::crash_states::history::{Variant, run_history};
use crate::crash_states::model::{
    Action, FIRST, IDS, histories, multi_delete_histories, multi_histories, triples, value_bytes,
};

/// Number of distinct states of histories of three operations explored in the suite.
const STATES: usize = 200_000;
/// Environment variable that overrides `STATES`.
const VARIABLE: &str = "HAYLOFT_CRASH_STATES";
const THREADS: usize = 2;

fn explore(histories: &[Vec<Action>], variant: Variant, least: usize) -> [u64; 2] {
    let mut explorer = Explorer::new();
    for history in histories {
        explorer.history(history, variant);
    }
    let (states, seconds) = (explorer.states(), explorer.seconds());
    println!(
        "{states} crash states at {} points, {} of them of a cut into the recovery; {seconds:.1} s, \
         {:.0} a second",
        explorer.points,
        explorer.during_recovery,
        states as f64 / seconds
    );
    assert!(states >= least, "only {states} states were explored");
    assert!(explorer.during_recovery > 0);
    explorer.full
}

#[test]
fn sequential_operations() {
    explore(&histories(2), Variant::default(), 2500);
}

#[test]
fn sequential_operations_with_tail_hints() {
    explore(&histories(2), Variant { wait: true, ..Variant::default() }, 2500);
}

#[test]
fn concurrent_operations() {
    explore(&histories(2), Variant { concurrent: true, ..Variant::default() }, 2500);
}

#[test]
fn concurrent_operations_on_existing_needles() {
    explore(&histories(2), Variant { preset: true, concurrent: true, ..Variant::default() }, 2500);
}

#[test]
fn sequential_operations_with_checkpoints() {
    let variant = Variant { checkpoints: true, preset: true, ..Variant::default() };
    explore(&histories(2), variant, 1000);
}

#[test]
fn concurrent_operations_with_checkpoints() {
    let variant =
        Variant { checkpoints: true, preset: true, concurrent: true, ..Variant::default() };
    explore(&histories(2), variant, 1000);
}

#[test]
fn multipart_objects_with_checkpoints() {
    let variant =
        Variant { checkpoints: true, concurrent: true, large: true, ..Variant::default() };
    let histories = [[Action::PutBody(0), Action::PutBody(1)], [Action::PutBody(0); 2]];
    explore(&histories.map(Vec::from), variant, 100);
}

/// Log sizes (blocks of 4 KiB); the smallest holds almost nothing.
const BLOCKS: std::ops::Range<u64> = 3..7;

#[test]
fn operations_at_the_end_of_the_log() {
    let mut full = [0; 2];
    for blocks in BLOCKS {
        for preset in [false, true] {
            let variant = Variant { blocks: Some(blocks), preset, ..Variant::default() };
            // The existing needles must fit.
            if preset && blocks < 5 {
                continue;
            }
            for concurrent in [false, true] {
                let found = explore(&histories(2), Variant { concurrent, ..variant }, 10);
                full.iter_mut().zip(found).for_each(|(all, found)| *all += found);
            }
        }
    }
    assert!(
        full.iter().all(|full| *full > 200),
        "the end of the log was reached too rarely: {full:?}"
    );
}

#[test]
fn concurrent_operations_on_unwritten_extents() {
    explore(
        &histories(2),
        Variant { concurrent: true, unwritten: true, ..Variant::default() },
        100,
    );
}

#[test]
fn sequential_batches_and_multipart_objects() {
    explore(&multi_histories(), Variant { large: true, ..Variant::default() }, 2500);
}

#[test]
fn concurrent_batches_and_multipart_objects_on_existing_needles() {
    let variant = Variant { preset: true, concurrent: true, large: true, ..Variant::default() };
    explore(&multi_histories(), variant, 2500);
}

#[test]
fn sequential_multi_deletes() {
    let variant = Variant { preset: true, large: true, ..Variant::default() };
    explore(&multi_delete_histories(), variant, 1000);
}

#[test]
fn concurrent_multi_deletes() {
    let variant = Variant { preset: true, concurrent: true, large: true, ..Variant::default() };
    explore(&multi_delete_histories(), variant, 1000);
}

#[test]
fn multi_deletes_with_checkpoints() {
    let variant =
        Variant { checkpoints: true, preset: true, concurrent: true, ..Variant::default() };
    let histories = [Action::PutSmall(0), Action::Delete(1), Action::MultiDelete(2)];
    let histories = histories.map(|other| vec![Action::MultiDelete(2), other]);
    explore(&histories, variant, 100);
}

#[test]
fn concurrent_operations_on_a_volume_of_a_cluster() {
    let variant =
        Variant { cluster: true, checkpoints: true, concurrent: true, ..Variant::default() };
    explore(&histories(2), variant, 1000);
}

/// Variants in which histories of three operations run in a round.
fn variants(round: u64) -> [Variant; 4] {
    let plain = Variant { round, ..Variant::default() };
    let concurrent = Variant { concurrent: true, ..plain };
    [plain, Variant { wait: true, ..plain }, concurrent, Variant { preset: true, ..concurrent }]
}

/// Explores histories of three operations that begin with every `THREADS`-th action from `part` on, until
/// there are `least` states: first all of them in a seeded random order, then again in other variants.
fn explore_triples(part: usize, least: usize) -> Explorer {
    let mut explorer = Explorer::new();
    for round in 0.. {
        let first = (part..FIRST).step_by(THREADS);
        let histories = first.flat_map(triples);
        let mut all: Vec<_> = histories
            .flat_map(|history| variants(round).map(|variant| (history, variant)))
            .collect();
        let mut seed = round + 1;
        for n in (1..all.len()).rev() {
            all.swap(n, usize::try_from(split_mix(&mut seed) % (n as u64 + 1)).unwrap());
        }
        for (n, (history, variant)) in all.iter().enumerate() {
            explorer.history(history, *variant);
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
    // States found by both parts count once: 2.5 % of four million.
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
fn volume_creation_is_complete_or_absent() {
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
                    let volume = process.open().expect("a file under its final name is complete");
                    process.put(&volume, IDS[0], b"works").unwrap();
                }
            }
        }
    }
    assert!(whole > 0);
}

#[test]
fn recovered_state_survives_a_second_power_cut() {
    // A kill leaves completed but unflushed writes in the device's cache; what recovery builds
    // upon must survive the power cut that follows.
    let pool = pool(8 << 20);
    let large = Variant { large: true, ..Variant::default() };
    let variants = histories(2).into_iter().map(|history| (history, Variant::default()));
    let multi = multi_histories().into_iter().map(|history| (history, large));
    let deleting = Variant { preset: true, ..large };
    let deletes = multi_delete_histories().into_iter().map(|history| (history, deleting));
    for (history, variant) in variants.chain(multi).chain(deletes) {
        for point in run_history(&history, variant, &pool) {
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
