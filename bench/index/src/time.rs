//! CPU time of index operations.

use std::hint::black_box;

use hashbrown::HashTable;
use hayloft::base::types::NeedleId;
use hayloft::volume::Location;
use hayloft::volume::index::{Hasher, IdHash, Index, PREFETCHED};
use hdrhistogram::Histogram;
use nix::time::{ClockId, clock_gettime};

use crate::names::{ORDERS, SEED, VOLUME, location};

/// Lookups per round.
const LOOKUPS: u64 = 2_000_000;

/// Entry of the hash table that the index replaced: hash, unit, length.
type Entry = (u64, u64, u16);

/// CPU time of this thread so far (nanoseconds).
pub fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .expect("the thread CPU clock always exists");
    // Exact: a thread runs for less than 2^53 ns.
    now.tv_sec() as f64 * 1e9 + now.tv_nsec() as f64
}

/// CPU time per operation of `work`, which does `count` of them (nanoseconds).
fn each(count: u64, work: impl FnOnce()) -> f64 {
    let began = cpu_ns();
    work();
    (cpu_ns() - began) / count as f64
}

/// Median over 9 rounds of the CPU time per lookup (nanoseconds). The median, since other processes share the
/// memory bandwidth; `work` does [`LOOKUPS`] lookups.
fn lookup(mut work: impl FnMut()) -> f64 {
    let mut rounds: [f64; 9] = std::array::from_fn(|_| each(LOOKUPS, &mut work));
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// Hashes of random needles from `first` on, computed in advance so that hashing is not measured.
fn picked(hasher: &Hasher, first: u64, entries: u64) -> Vec<IdHash> {
    let pick = |n: u64| first + (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % entries;
    (0..LOOKUPS).map(|n| hasher.hash(NeedleId::new(pick(n), 0))).collect()
}

/// Prints the time table for `entries` needles.
pub fn table(entries: u64) {
    let hasher = Hasher::new(SEED);
    println!("| CPU time with {} M needles | index | hashbrown, 24 B |", entries / 1_000_000);
    println!("| --- | --- | --- |");
    let hash_of = hash_numbers();
    let mut old: HashTable<Entry> = HashTable::new();
    let old_insert = each(entries, || {
        for n in 0..entries {
            black_box(hasher.hash(NeedleId::new(n, 0)));
            let (number, unit) = (hash_of(n), location(n).offset / 512);
            old.insert_unique(number, (number, unit, 1), |entry| entry.0);
        }
    });
    let numbers: Vec<u64> = (0..LOOKUPS)
        .map(|n| hash_of((n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % entries))
        .collect();
    let old_hit = lookup(|| {
        for number in &numbers {
            black_box(old.find(*number, |entry| entry.0 == *number));
        }
    });
    let absent: Vec<u64> = (0..LOOKUPS).map(|n| hash_of(entries + n)).collect();
    let old_miss = lookup(|| {
        for number in &absent {
            black_box(old.find(*number, |entry| entry.0 == *number));
        }
    });
    drop(old);

    let mut index = Index::for_volume(VOLUME);
    let insert = each(entries, || {
        for n in 0..entries {
            index.insert(hasher.hash(NeedleId::new(n, 0)), location(n));
        }
    });
    println!("| insert, with the hash | {insert:.0} ns | {old_insert:.0} ns |");
    drop(index);
    let mut index = Index::for_volume(VOLUME);
    // With prefetching, as commits and recovery insert.
    let insert = each(entries, || {
        for first in (0..entries).step_by(PREFETCHED) {
            let group = first..entries.min(first + PREFETCHED as u64);
            for n in group.clone() {
                index.prefetch(hasher.hash(NeedleId::new(n, 0)));
            }
            for n in group {
                index.insert(hasher.hash(NeedleId::new(n, 0)), location(n));
            }
        }
    });
    println!("| insert, with the hash, 16 prefetched | {insert:.0} ns | |");
    for (what, first, old) in [("hit", 0, old_hit), ("miss", entries, old_miss)] {
        let hashes = picked(&hasher, first, entries);
        let look = |hash: &IdHash| {
            black_box(index.newest_below(*hash, u64::MAX));
        };
        let one = lookup(|| hashes.iter().for_each(look));
        println!("| {what} | {one:.0} ns | {old:.0} ns |");
        let many = lookup(|| {
            for group in hashes.chunks(PREFETCHED) {
                group.iter().for_each(|hash| index.prefetch(*hash));
                group.iter().for_each(look);
            }
        });
        println!("| {what}, 16 prefetched | {many:.0} ns | |");
    }
    drop(index);
    growth(entries);
}

/// Mixing function in place of the hash of an id, since hashbrown uses the top and bottom bits.
fn hash_numbers() -> impl Fn(u64) -> u64 {
    |n| {
        let n = (n ^ n >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ n >> 31
    }
}

/// Prints a histogram of nanoseconds as a table row.
pub fn row(what: &str, times: &Histogram<u64>, count: u64) {
    let micros = |part: f64| times.value_at_quantile(part) as f64 / 1000.0;
    println!(
        "| {what} | {:.2} us | {:.2} us | {:.1} us | {:.1} us | {:.0} us | {count} |",
        micros(0.5),
        micros(0.99),
        micros(0.999),
        micros(0.9999),
        times.max() as f64 / 1000.0,
    );
}

/// Prints the latency of single inserts while the index grows, and of those inserts that include a growth
/// step.
fn growth(entries: u64) {
    println!("\n| one insert while it grows | p50 | p99 | p99.9 | p99.99 | longest | how many |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (order, name) in ORDERS {
        let hasher = Hasher::new(SEED);
        let mut index = Index::for_volume(VOLUME);
        let times = || Histogram::<u64>::new(3).expect("3 significant digits are valid");
        let (mut all, mut growing, mut steps) = (times(), times(), 0);
        for n in 0..entries {
            let (hash, at): (IdHash, Location) = (hasher.hash(name(n)), location(n));
            let began = cpu_ns();
            index.insert(hash, at);
            let time = (cpu_ns() - began) as u64;
            all += time;
            let steps_now = index.figures().steps;
            if steps_now > steps {
                growing += time;
                steps = steps_now;
            }
        }
        let figures = index.figures();
        assert_eq!((figures.needles, figures.overflow), (entries, 0));
        row(order, &all, entries);
        row(&format!("{order}, with a step of growth"), &growing, growing.len());
    }
    println!(
        "\nCPU time, including {:.2} us to read the clock. A growth step moves at most 8,100 entries.",
        each(100_000, || {
            for _ in 0..100_000 {
                black_box(cpu_ns());
            }
        }) / 1000.0
    );
}
