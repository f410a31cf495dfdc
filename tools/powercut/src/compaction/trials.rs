//! The trials with compactions, for each configuration of the daemon.

use std::time::Instant;

use faultdisk::random::split_mix;

use super::interruption::{self, Interruption};
use super::phase::{Phase, PhaseCounts};
use super::recording::CompactionRecording;
use crate::cli::Cli;
use crate::cuts;
use crate::daemon::Setup;
use crate::error::Error;
use crate::report::Row;
use crate::total::Total;
use crate::trials::{IGNORED_FLUSHES, Trials, clear, report};

/// Size of the volumes (MiB): little of it lives, and a file is written soon.
const VOLUME_MIB: u64 = 32;
/// Cuts of the negative control, before they are limited.
const CONTROL_CUTS: u64 = 12;

/// Runs all trials that the command line asks for: with one volume, and with two that also move between two
/// data directories. Each of them makes half of the trials.
///
/// # Errors
/// If a trial cannot be carried out. Violations are results, not errors.
pub fn run_all(cli: &Cli) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    let wanted = |setup: &Setup| cli.shards.is_none_or(|shards| shards == setup.shards);
    let setups: Vec<Setup> = setups(cli).into_iter().filter(wanted).collect();
    let of = setups.len() as u64;
    for (n, setup) in (0..).zip(setups) {
        let part = |count| part(count, n, of);
        let name = format!("{} shards, {}, compactions", setup.shards, setup.prealloc);
        let seed = cli.seed.wrapping_add(u64::from(setup.shards) << 40);
        let mut trials = Trials { cli, setup, name, seed, rows: Vec::new() };
        if cli.cuts > 0 {
            power_cuts(&mut trials, part(cli.cuts))?;
        }
        let kills = part(cli.kills);
        interruptions(&mut trials, "SIGKILL", |_| Interruption::Kill, kills)?;
        let what = "XFS shut down, with its log or without";
        let shutdown = |round| Interruption::Shutdown { flush: (round + n) % 2 == 1 };
        interruptions(&mut trials, what, shutdown, part(cli.shutdowns))?;
        rows.extend(trials.rows);
    }
    clear(cli)?;
    Ok(rows)
}

/// The two configurations. A compaction keeps the records of all deletions, or of none.
fn setups(cli: &Cli) -> [Setup; 2] {
    let one = Setup {
        program: cli.daemon.clone(),
        shards: 1,
        prealloc: "fallocate",
        volume_mib: VOLUME_MIB,
        data_dirs: 1,
        compacts: true,
        tombstone_keep: "30d",
    };
    let two =
        Setup { shards: 2, prealloc: "zeroed", data_dirs: 2, tombstone_keep: "0s", ..one.clone() };
    [one, two]
}

/// Number of `count` trials that configuration `n` of `of` makes.
fn part(count: u64, n: u64, of: u64) -> u64 {
    count / of + u64::from(n < count % of)
}

fn power_cuts(trials: &mut Trials<'_>, count: u64) -> Result<(), Error> {
    let (dir, since, cli) = (trials.dir()?, Instant::now(), trials.cli);
    let made = CompactionRecording::make(&trials.setup, &dir, cli.seconds, &mut trials.seed)?;
    let recording = &made.recording;
    println!(
        "{}: seed {}: {} writes acknowledged, {} requests, {}",
        trials.name,
        cli.seed,
        recording.acknowledged,
        recording.log.entries().len(),
        made.compactions.text()
    );
    let cuts = made.choose(count, &mut trials.seed);
    let (setup, seed) = (&trials.setup, &mut trials.seed);
    let total = cuts::cut(setup, recording, &dir, (&cuts, cli.states, 0), seed, report)?;
    let is_bad = !total.is_clean();
    trials.push("power cuts", total, false, since, made.phases(&cuts));
    if is_bad {
        trials.keep(&dir);
        return Ok(());
    }
    // Negative control: with ignored flushes before each cut, something must be missing.
    let since = Instant::now();
    let mut cuts = made.choose(CONTROL_CUTS, &mut trials.seed);
    cuts.truncate(if cli.short { 2 } else { 6 });
    let (setup, seed) = (&trials.setup, &mut trials.seed);
    let total = cuts::cut(setup, recording, &dir, (&cuts, 1, IGNORED_FLUSHES), seed, |_, _| ())?;
    let what = format!("CONTROL: the last {IGNORED_FLUSHES} flushes did nothing");
    trials.push(&what, total, true, since, made.phases(&cuts));
    Ok(())
}

/// Phase in which interruption `n` is made: every second one while the new file takes the place of the old
/// one, every sixth while the old one is removed, the others at any time.
fn wanted_phase(n: u64) -> Option<Phase> {
    match n % 6 {
        0 | 2 | 4 => Some(Phase::Swapping),
        3 => Some(Phase::Removing),
        _ => None,
    }
}

fn interruptions(
    trials: &mut Trials<'_>,
    what: &str,
    interruption: impl Fn(u64) -> Interruption,
    count: u64,
) -> Result<(), Error> {
    let (since, mut total, mut phases) = (Instant::now(), Total::default(), PhaseCounts::new());
    for n in 0..count {
        let dir = trials.dir()?;
        let mut seed = split_mix(&mut trials.seed);
        let (kind, wanted) = (interruption(n), wanted_phase(n));
        let (findings, phase) = interruption::round(&trials.setup, &dir, kind, wanted, &mut seed)?;
        report(&format!("{kind:?} {n}, {}", phase.name()), &findings);
        total.cuts += 1;
        total.add(&findings);
        *phases.entry(phase).or_default() += 1;
        if !findings.is_clean() {
            trials.keep(&dir);
        }
    }
    if count > 0 {
        trials.push(what, total, false, since, phases);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_are_divided_between_the_configurations() {
        assert_eq!(
            [(7, 0, 2), (7, 1, 2), (0, 1, 2), (7, 0, 1)].map(|(c, n, of)| part(c, n, of)),
            [4, 3, 0, 7]
        );
    }

    #[test]
    fn half_of_the_interruptions_hit_the_swap() {
        let hits = (0..20).filter(|n| wanted_phase(*n) == Some(Phase::Swapping)).count();
        assert_eq!(hits, 10);
    }
}
