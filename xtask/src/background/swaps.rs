//! The part `swaps`: swaps of a volume's file under load.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, SystemTime};

use hayloft_bench_stats::{Estimate, estimate};
use serde_json::json;

use super::admin::Admin;
use super::latencies::{Second, seconds};
use super::load::{Load, Run};
use super::outcome::Outcome;
use super::scene::Scene;
use crate::process::Failed;

/// Number of swaps, and in a trial run.
const SWAPS: (usize, usize) = (20, 2);
/// Number of photos of 8 KiB in the volume: copied in four seconds at the default floor of the pace.
const OBJECTS: u64 = 2000;
/// Size of the volume (MiB).
const MIB: u64 = 1024;
/// Seconds of a load; another one begins when there were too few swaps.
const SECONDS: (f64, f64) = (60.0, 15.0);
/// Largest number of loads.
const LOADS: u64 = 6;
/// Requests per second.
const RATE: f64 = 400.0;
/// Seconds of a block: the longest waits with and without a swap are compared in each.
const BLOCK: f64 = 8.0;
/// Longest additional wait in seconds with a swap (milliseconds).
const ALLOWED_MS: f64 = 10.0;
/// Number of blocks, and in a trial run.
const BLOCKS: (usize, usize) = (15, 1);
/// Time between two compactions.
const PAUSE: Duration = Duration::from_millis(1500);
/// Interval of polling: each second that a swap touches is counted as one with a swap.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Phases before the swap.
const BEFORE: [&str; 4] = ["waiting", "copying", "catching_up", "verifying"];

/// A swap.
struct Swap {
    /// Time in which it was (seconds since 1970).
    from: f64,
    to: f64,
    gate_closed_ms: f64,
    /// Seconds of its compaction.
    seconds: f64,
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("the clock is after 1970").as_secs_f64()
}

/// Measures the waits at swaps.
///
/// # Errors
/// When a load or a compaction fails.
pub fn swaps(scene: &Scene) -> Result<Outcome, Failed> {
    let (wanted, length) = (scene.choose(SWAPS.0, SWAPS.1), scene.choose(SECONDS.0, SECONDS.1));
    let blocks = scene.choose(BLOCKS.0, BLOCKS.1);
    let mut outcome = Outcome::measured(format!(
        "One shard and one volume with {OBJECTS} photos of 8 KiB. {RATE} requests/s, half GETs, half PUTs \
         that replace photos, at times from a Poisson process, while the volume is compacted again and again \
         at the default pace. A second counts as one with a swap if the swap, the removal of the old file \
         included, touched it. The longest waits of seconds with and of those without are compared in each \
         block of {BLOCK} s that has both. The gate is the daemon's own figure."
    ));
    let node = scene.new_node("0", MIB, &["--shard-ports", &port()?])?;
    let admin = Admin::of(&node);
    let load = Load::new(scene, &node, "1", (1, OBJECTS));
    load.fill()?;
    let mix = "get=50,put=50";
    let log = scene.work.join("swaps.hlog");
    let (mut swaps, mut all) = (Vec::new(), Vec::new());
    for stream in 1..=LOADS {
        let run = Run { mix, seconds: length, rate: Some(RATE), stream, log: Some(&log) };
        let stop = AtomicBool::new(false);
        let more = thread::scope(|scope| {
            let swapper = scope.spawn(|| swap_until(admin, &stop));
            let loaded = load.run(&run);
            stop.store(true, Ordering::Relaxed);
            let swaps = swapper.join().expect("the swapper does not panic");
            loaded.and(swaps)
        })?;
        swaps.extend(more);
        all.extend(seconds(&log)?);
        let compared = compared(&swaps, &all, "put").len();
        eprintln!("  {} of {wanted} swaps, {compared} of {blocks} blocks", swaps.len());
        if swaps.len() >= wanted && compared >= blocks {
            break;
        }
    }
    let compared = compared(&swaps, &all, "put").len();
    if swaps.len() < wanted || compared < blocks {
        let swaps = swaps.len();
        return Err(Failed(format!(
            "only {swaps} of {wanted} swaps, and {compared} of {blocks} blocks"
        )));
    }
    report(&mut outcome, &swaps, &all)?;
    Ok(outcome)
}

fn port() -> Result<String, Failed> {
    crate::node::free_address().map(|address| address.port().to_string())
}

/// Compacts volume 1 until `stop` is set.
fn swap_until(admin: Admin, stop: &AtomicBool) -> Result<Vec<Swap>, Failed> {
    let mut swaps = Vec::new();
    sleep(PAUSE);
    while !stop.load(Ordering::Relaxed) {
        let mut from = now();
        let ended = admin.compact_watched(1, POLL_INTERVAL, |volume| {
            if stop.load(Ordering::Relaxed) {
                admin.cancel(1)?;
            }
            if volume.compaction.as_ref().is_some_and(|it| BEFORE.contains(&it.phase.as_str())) {
                from = now() - POLL_INTERVAL.as_secs_f64();
            }
            Ok(())
        });
        if stop.load(Ordering::Relaxed) {
            // It ended without a load.
            break;
        }
        let ended = ended?;
        let (gate_closed_ms, seconds) = (ended.gate_closed_ms, ended.seconds);
        swaps.push(Swap { from, to: now(), gate_closed_ms, seconds });
        sleep(PAUSE);
    }
    Ok(swaps)
}

/// Whether a swap touched a second.
fn is_touched(second: &Second, swaps: &[Swap]) -> bool {
    swaps.iter().any(|swap| swap.from < second.began + 1.0 && second.began < swap.to)
}

/// The longest waits of each block (milliseconds): of seconds with a swap and of those without, if it has
/// both.
fn compared(swaps: &[Swap], all: &[Second], kind: &str) -> Vec<(f64, f64)> {
    let mut blocks: BTreeMap<u64, [Option<f64>; 2]> = BTreeMap::new();
    for second in all.iter().filter(|second| second.kind == kind) {
        let [without, with] = blocks.entry((second.began / BLOCK) as u64).or_default();
        let longest = if is_touched(second, swaps) { with } else { without };
        *longest = Some(longest.unwrap_or(0.0).max(second.max_ms));
    }
    blocks.into_values().filter_map(|[without, with]| Some((with?, without?))).collect()
}

fn report(outcome: &mut Outcome, swaps: &[Swap], all: &[Second]) -> Result<(), Failed> {
    let gate = swaps.iter().map(|swap| swap.gate_closed_ms).fold(0.0, f64::max);
    outcome.at_most(
        &format!("longest time that the gate was closed, of {} swaps", swaps.len()),
        (gate, 10.0),
        (2, " ms"),
    );
    for kind in ["put", "get"] {
        compare(outcome, kind, &compared(swaps, all, kind))?;
    }
    for swap in swaps {
        outcome.rounds.push(json!({
            "from": swap.from, "to": swap.to, "gate_closed_ms": swap.gate_closed_ms,
            "compaction_seconds": swap.seconds,
        }));
    }
    for second in all {
        let (kind, began, max_ms) = (&second.kind, second.began, second.max_ms);
        let with_swap = is_touched(second, swaps);
        outcome
            .rounds
            .push(json!({"kind": kind, "second": began, "max_ms": max_ms, "with_swap": with_swap}));
    }
    Ok(())
}

/// Adds the difference of the longest waits of one kind of request.
fn compare(outcome: &mut Outcome, kind: &str, blocks: &[(f64, f64)]) -> Result<(), Failed> {
    let kind = kind.to_uppercase();
    let differences: Vec<f64> = blocks.iter().map(|(with, without)| with - without).collect();
    let Some(Estimate { median, low, high, .. }) = estimate(&differences) else {
        return Err(Failed(format!("no block has {kind}s with and without a swap")));
    };
    let count = blocks.len();
    let what = format!(
        "longest {kind} with a swap less that without: median of {count} blocks ({low:.1} to {high:.1} ms)"
    );
    outcome.at_most(&what, (median, ALLOWED_MS), (1, " ms"));
    let longest = |of: fn(&(f64, f64)) -> f64| blocks.iter().map(of).fold(0.0, f64::max);
    let (with, without) = (longest(|it| it.0), longest(|it| it.1));
    outcome.show(
        &format!("longest {kind} of all blocks"),
        format!("{with:.1} ms with a swap, {without:.1} ms without"),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_that_a_swap_touches_are_told_from_others() {
        let second =
            |kind: &str, began: f64, max_ms: f64| Second { kind: kind.to_owned(), began, max_ms };
        let all = [
            second("put", 100.0, 5.0),
            second("put", 101.0, 30.0),
            second("put", 102.0, 7.0),
            second("get", 101.0, 2.0),
            second("get", 102.0, 1.0),
            second("get", 103.0, 3.0),
        ];
        let swap = Swap { from: 101.9, to: 102.1, gate_closed_ms: 3.0, seconds: 1.0 };
        let mut outcome = Outcome::measured(String::new());
        report(&mut outcome, &[swap], &all).unwrap();
        assert!(report(&mut outcome.clone(), &[], &all).is_err(), "no second has a swap");
        let values: Vec<&str> = outcome.figures.iter().map(|it| it.value.as_str()).collect();
        let shown = ["3.00 ms", "25.0 ms", "30.0 ms with a swap, 5.0 ms without"];
        assert_eq!(values[..3], shown);
        assert_eq!(values[3], "-1.0 ms");
    }

    #[test]
    fn blocks_without_a_swap_are_not_compared() {
        let put = |began: f64, max_ms: f64| Second { kind: "put".to_owned(), began, max_ms };
        let swap = Swap { from: 8.5, to: 8.6, gate_closed_ms: 3.0, seconds: 1.0 };
        let all = [put(0.0, 90.0), put(8.0, 4.0), put(9.0, 3.0), put(10.0, 2.0), put(16.0, 80.0)];
        assert_eq!(compared(&[swap], &all, "put"), [(4.0, 3.0)]);
    }
}
